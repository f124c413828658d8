/** A part of what is measured. Each runs in a process of its own: none inherits another's heap or compiled code. */
import type { Section } from "./figures.ts";

export interface PartContext {
  /** Fewer rounds: to see that it works, or which way a change went. */
  readonly isQuick: boolean;
  /** What parts before this one measured in the same run. */
  readonly earlier: readonly Section[];
  /** Numbers that a part may be asked to take in place of its own: wallets, users. */
  readonly sizes: readonly number[] | null;
  readonly say: (line: string) => void;
}

export interface Part {
  readonly name: string;
  /** One is ended that takes longer. */
  readonly limitMs: number;
  readonly run: (context: PartContext) => Promise<readonly Section[]>;
}
