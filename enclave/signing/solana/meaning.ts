/** What one instruction of a known program does. */
import type { SolanaTransfer } from "../../policy/facts.ts";

/** One instruction, its accounts as addresses. */
export interface ProgramCall {
  /** Null for one that an address table holds. */
  readonly accounts: readonly (string | null)[];
  readonly data: Buffer;
  /** The address of the account that is to sign. */
  readonly own: string;
}

export type Meaning =
  /** Nothing of value moves, and nobody gets a say in anything. */
  | { readonly kind: "nothing" }
  | { readonly kind: "transfer"; readonly transfer: SolanaTransfer }
  /** The chain fails the transaction unless the account is the owner's own, of the same mint, afterwards. */
  | {
      readonly kind: "token-account";
      readonly account: string | null;
      readonly owner: string | null;
      readonly rent: SolanaTransfer;
    }
  | { readonly kind: "memo"; readonly text: string }
  | {
      readonly kind: "compute-budget";
      readonly setting: ComputeSetting;
      readonly value: bigint;
      /** False where something stands beside it that is not understood. */
      readonly isWhole: boolean;
    };

export type ComputeSetting = "heap" | "unit-limit" | "unit-price" | "loaded-data-limit";

export const NOTHING: Meaning = { kind: "nothing" };
/** Where an instruction names no amount: all that there is. */
export const ALL = 2n ** 64n - 1n;

/** What is not given here is not known, or not there. */
export function transfer(fields: Pick<SolanaTransfer, "asset" | "effect" | "amount"> & Partial<SolanaTransfer>): {
  readonly kind: "transfer";
  readonly transfer: SolanaTransfer;
} {
  const unknown = { mint: null, source: null, authority: null, destination: null, destinationOwner: null };
  return { kind: "transfer", transfer: { ...unknown, ...fields } };
}
