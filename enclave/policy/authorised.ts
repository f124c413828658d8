import type { Facts } from "./facts.ts";

declare const authorised: unique symbol;

/**
 * That policies allow one thing to be signed by accounts of one wallet, this once. The policy engine alone makes it
 * (`authorise.ts`), and no wallet lends a key without it.
 */
export interface Authorised {
  readonly walletId: string;
  /** Of the accounts that may sign, hex: no other key signs under it. */
  readonly publicKeys: readonly string[];
  readonly facts: Facts;
  readonly [authorised]: true;
}
