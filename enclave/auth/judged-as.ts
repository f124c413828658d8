/** What a batch is, to whoever judges it: no right of its own, but those of what it holds. */
import type { AppOperation, SigningOperation } from "../../protocol/index.ts";

/** Its params have been parsed. */
export function judgedAs(operation: AppOperation, params: object): readonly AppOperation[] {
  switch (operation) {
    case "create_wallets":
      return ["create_wallet"];
    case "sign_batch": {
      const { requests } = params as { readonly requests: readonly { readonly operation: SigningOperation }[] };
      return [...new Set(requests.map((each) => each.operation))];
    }
    default:
      return [operation];
  }
}
