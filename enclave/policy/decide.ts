/** What an app's wallets may sign. Nothing is allowed that a policy does not name. */
import { RequestError, type Scope, type SigningPolicy } from "../../protocol/index.ts";
import { checkChain } from "../auth/scope.ts";

/** What is to be signed, as far as a policy looks at it. */
export type SigningSubject =
  | { readonly kind: "evm-transaction"; readonly chainId: bigint }
  | { readonly kind: "evm-message" };

export type Decision =
  | { readonly kind: "allow" }
  | { readonly kind: "deny"; readonly reason: "CHAIN_NOT_ALLOWED"; readonly chainId: bigint }
  | { readonly kind: "deny"; readonly reason: "MESSAGES_NOT_ALLOWED" };

export function decide(subject: SigningSubject, policy: SigningPolicy): Decision {
  switch (subject.kind) {
    case "evm-transaction":
      return policy.evmChainIds.includes(subject.chainId.toString())
        ? { kind: "allow" }
        : { kind: "deny", reason: "CHAIN_NOT_ALLOWED", chainId: subject.chainId };
    case "evm-message":
      return policy.messages === "allow" ? { kind: "allow" } : { kind: "deny", reason: "MESSAGES_NOT_ALLOWED" };
  }
}

/**
 * @param scope - The caller's: what an app allows, not every session of it may do.
 * @throws {@link RequestError} `POLICY_DENIED`, with the reason; `OUT_OF_SCOPE`
 */
export function checkPolicy(subject: SigningSubject, policy: SigningPolicy, scope: Scope): void {
  // Of a chainless subject the operation's entry in the table of access has been judged already.
  if (subject.kind === "evm-transaction") checkChain(scope, `eip155:${subject.chainId}`);
  const decision = decide(subject, policy);
  if (decision.kind === "allow") return;
  switch (decision.reason) {
    case "CHAIN_NOT_ALLOWED":
      throw new RequestError("POLICY_DENIED", `the app's policy does not name chain ${decision.chainId}`);
    case "MESSAGES_NOT_ALLOWED":
      throw new RequestError("POLICY_DENIED", "the app's policy does not allow messages");
  }
}
