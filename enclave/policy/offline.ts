/** Policies tried without an enclave, by the very code that decides in it. What limits have left, only an enclave knows. */
import { base58 } from "@scure/base";
import { decodeHex, type OpenSighashType, type Policy, RequestError } from "../../protocol/index.ts";
import { OwnKeys } from "../signing/bitcoin/own-keys.ts";
import { parsePsbt } from "../signing/bitcoin/psbt.ts";
import { understand } from "../signing/bitcoin/spend.ts";
import { parseTransaction } from "../signing/evm/transaction.ts";
import { transactionFacts } from "../signing/evm/transaction-facts.ts";
import { parseTypedData } from "../signing/evm/typed-data.ts";
import * as solana from "../signing/solana/transaction.ts";
import { transactionFacts as solanaFacts } from "../signing/solana/transaction-facts.ts";
import { compilePolicy } from "./compile.ts";
import { decide, type Level, type Verdict } from "./decide.ts";
import { Evaluation } from "./evaluation.ts";
import { explain, type Finding } from "./explain.ts";
import type { Facts } from "./facts.ts";
import type { PolicyRequest } from "./fields.ts";
import { type OfferedKeys, OfferedRing } from "./offered-ring.ts";

export type { Level, Verdict } from "./decide.ts";
export type { Facts } from "./facts.ts";
export { factsFromJson } from "./facts-json.ts";
export type { Caller, PolicyRequest } from "./fields.ts";
export { lintPolicy, type PolicyFinding } from "./lint.ts";
export type { OfferedKeys } from "./offered-ring.ts";

export interface Explained {
  readonly verdict: Verdict;
  readonly rules: readonly {
    readonly level: Level;
    readonly rule: string;
    readonly effect: "allow" | "deny";
    readonly findings: readonly Finding[];
  }[];
}

/** @throws {@link RequestError} `INVALID_PARAMS` for a document that does not compile */
export function tryPolicies(
  request: PolicyRequest,
  documents: readonly { readonly level: Level; readonly policy: Policy }[],
): Explained {
  const levels = documents.map(({ level, policy }) => ({ level, policy: compilePolicy(policy) }));
  const rules = documents.flatMap(({ level, policy }) =>
    policy.rules.map((rule) => ({
      level,
      rule: rule.id,
      effect: rule.effect,
      findings: explain(rule, new Evaluation(request)),
    })),
  );
  return { verdict: decide(new Evaluation(request), levels), rules };
}

/** @throws {@link RequestError} what the enclave's parser throws */
export function factsOfEvmTransaction(hex: string, from: string): Facts {
  return transactionFacts(from, parseTransaction(decodeHex(hex.replace(/^0x/, ""))));
}

/** @throws as {@link factsOfEvmTransaction} */
export function factsOfTypedData(json: Parameters<typeof parseTypedData>[0], from: string): Facts {
  const { domain, primaryType, message } = parseTypedData(json);
  return { kind: "evm-typed-data", from, domain, primaryType, message };
}

/**
 * @param bytes - In wire form, signed in part or not at all.
 * @param from - The account that is to sign, in base 58.
 * @throws {@link RequestError} `INVALID_PARAMS` for no account; and what the enclave's parser throws
 */
export function factsOfSolanaTransaction(bytes: Uint8Array, from: string): Facts {
  const transaction = solana.parseTransaction(bytes);
  solana.signerIndex(transaction.message, publicKeyOf(from));
  solana.checkSignatures(transaction);
  return solanaFacts(transaction.message, from);
}

/**
 * @param sighashTypes - As the request would name them.
 * @throws as {@link factsOfEvmTransaction}
 */
export function factsOfPsbt(bytes: Uint8Array, keys: OfferedKeys, sighashTypes: readonly OpenSighashType[]): Facts {
  const psbt = parsePsbt(bytes);
  return understand(psbt, new OwnKeys(new OfferedRing(psbt, keys), keys.network), sighashTypes).facts;
}

function publicKeyOf(address: string): Uint8Array {
  try {
    const bytes = base58.decode(address);
    if (bytes.length === 32) return bytes;
  } catch {
    // Said below.
  }
  throw new RequestError("INVALID_PARAMS", "no account of Solana: expected 32 bytes in base 58");
}
