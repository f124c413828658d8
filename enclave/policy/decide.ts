/** What an app's wallets may sign. Nothing is allowed that a policy does not name. */
import type { SigningPolicy } from "../../protocol/index.ts";
import type { Facts } from "./facts.ts";

export type Decision = { readonly kind: "allow" } | { readonly kind: "deny"; readonly reason: string };

export function decide(facts: Facts, policy: SigningPolicy): Decision {
  switch (facts.kind) {
    case "evm-transaction":
      return policy.evmChainIds.includes(facts.chainId.toString())
        ? { kind: "allow" }
        : { kind: "deny", reason: `the app's policy does not name chain ${facts.chainId}` };
    case "evm-message":
      return policy.messages === "allow"
        ? { kind: "allow" }
        : { kind: "deny", reason: "the app's policy does not allow messages" };
    default:
      return { kind: "deny", reason: `the app's policy does not allow ${facts.kind}` };
  }
}
