/** What callers asked for and what they took for answers: written down by the test, and by nothing that it tests. */
import type { Params, Wallet } from "../../../protocol/index.ts";

export type Asked =
  | { readonly operation: "create_app" | "register_session" | "list_wallets" }
  | { readonly operation: "create_wallet"; readonly owner: string; readonly kind: Wallet["kind"] }
  | { readonly operation: "create_wallets"; readonly owner: string; readonly count: number }
  | {
      readonly operation: "sign_batch";
      /** In their order; those that policy forbids come with `mayBeDone` false. */
      readonly elements: readonly {
        readonly params: Params<"sign_transaction">;
        readonly address: string;
        readonly mayBeDone: boolean;
      }[];
    }
  | { readonly operation: "sign_transaction"; readonly params: Params<"sign_transaction">; readonly address: string }
  | { readonly operation: "sign_message"; readonly params: Params<"sign_message">; readonly address: string };

export type Entry = Asked & {
  readonly requestId: string;
  /** False: policy, ownership or the stamp forbids it, and it must be refused. */
  readonly mayBeDone: boolean;
  /** How often it was stamped, each time with a later date. */
  stamped: number;
  /** What the caller took for the enclave's answer, byte for byte. */
  accepted: { readonly status: number; readonly signature: string; readonly body: Uint8Array } | null;
};

export class Ledger {
  readonly entries = new Map<string, Entry>();
  /** Wallets whose creation was acknowledged, by owner. */
  readonly wallets = new Map<string, Wallet[]>();
  /** Tokens and subjects, which callers sent and nobody may send on. */
  readonly tokens: string[] = [];
  /** How calls went, by operation and outcome. */
  readonly outcomes = new Map<string, number>();

  open(requestId: string, asked: Asked, mayBeDone: boolean): Entry {
    const entry: Entry = { ...asked, requestId, mayBeDone, stamped: 0, accepted: null };
    this.entries.set(requestId, entry);
    return entry;
  }

  acknowledge(owner: string, wallet: Wallet): void {
    const before = this.wallets.get(owner) ?? [];
    if (before.some(({ walletId }) => walletId === wallet.walletId)) return;
    this.wallets.set(owner, [...before, wallet]);
  }

  count(what: string): void {
    this.outcomes.set(what, (this.outcomes.get(what) ?? 0) + 1);
  }
}
