/** Whether something lies within a scope. A list that is there names everything that is allowed. */
import { ACCESS, type AppAccess, type AppOperation, RequestError, type Scope } from "../../protocol/index.ts";

/**
 * Judges an operation before it is carried out. What is signed is judged where it is known: {@link checkChain}.
 *
 * @throws {@link RequestError} `OUT_OF_SCOPE`
 */
export function checkScope(scope: Scope, operation: AppOperation, params: object): void {
  const { wallet, chain }: AppAccess = ACCESS[operation];
  if (scope.operations !== null && !scope.operations.includes(operation)) {
    throw outOfScope(`it does not name ${operation}`);
  }
  if (scope.wallets !== null && wallet === "any")
    throw outOfScope(`${operation} is not about the wallets that it names`);
  if (scope.wallets !== null && wallet === "named") {
    const walletId: unknown = "walletId" in params ? params.walletId : undefined;
    if (typeof walletId !== "string" || !scope.wallets.includes(walletId)) {
      throw outOfScope("it does not name this wallet");
    }
  }
  if (scope.chains !== null && chain === "chainless") {
    throw outOfScope("it names chains, and what is to be signed belongs to none");
  }
}

/**
 * Of the account as a whole, where an operation alone does not tell: a scope that lists wallets or chains has no say in it.
 *
 * @throws {@link RequestError} `OUT_OF_SCOPE`
 */
export function checkAccount(scope: Scope): void {
  if (scope.wallets !== null || scope.chains !== null) throw outOfScope("it does not cover the account as a whole");
}

/**
 * @param chain - CAIP-2, of what was parsed and will be signed, whatever the caller said of it.
 * @throws {@link RequestError} `OUT_OF_SCOPE`
 */
export function checkChain(scope: Scope, chain: string): void {
  if (scope.chains !== null && !scope.chains.includes(chain)) throw outOfScope(`it does not name chain ${chain}`);
}

function outOfScope(why: string): RequestError {
  return new RequestError("OUT_OF_SCOPE", `outside the scope: ${why}`);
}
