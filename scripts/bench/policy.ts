/** What policies cost a signature: the whole of judging one transaction by documents of 1, 100 and 1,000 rules. */
import { parseTransaction as parseWithViem, serializeTransaction } from "viem";
import { compilePolicy } from "../../enclave/policy/compile.ts";
import { decide } from "../../enclave/policy/decide.ts";
import { Evaluation } from "../../enclave/policy/evaluation.ts";
import type { PolicyRequest } from "../../enclave/policy/fields.ts";
import { parseTransaction } from "../../enclave/signing/evm/transaction.ts";
import { transactionFacts } from "../../enclave/signing/evm/transaction-facts.ts";
import { type Policy, policy, type Rule } from "../../protocol/index.ts";
import type { SigningRow } from "./signing-row.ts";

const FROM = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf";
const TOKEN = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48";
const RECIPIENT = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045";

const bytes = serializeTransaction({
  ...({ type: "eip1559", chainId: 1, nonce: 0, to: TOKEN, gas: 65_000n } as const),
  data: `0xa9059cbb${RECIPIENT.slice(2).toLowerCase().padStart(64, "0")}${25_000_000n.toString(16).padStart(64, "0")}`,
  ...{ maxFeePerGas: 30_000_000_000n, maxPriorityFeePerGas: 1_000_000_000n },
});

/** The one that allows it comes last, and half of the rules deny: all of them are asked. */
function documentOf(count: number): Policy {
  const to = (at: number) => `0x${at.toString(16).padStart(40, "0")}`;
  const others = Array.from({ length: count - 1 }, (_, at): Rule => {
    const moves = { some: "moves", is: [{ field: "move.recipient", in: [to(at)] }] } as const;
    return {
      id: `r${at}`,
      effect: at % 2 === 0 ? "deny" : "allow",
      when: [{ field: "chain", in: ["eip155:1"] }, moves],
    };
  });
  const is = [
    { field: "move.token", in: [TOKEN] },
    { field: "move.amount", atMost: "1000000000" },
  ] as const;
  return policy.parse({ v: 1, rules: [...others, { id: "z", effect: "allow", when: [{ every: "moves", is }] }] });
}

export function policyRows(): readonly SigningRow[] {
  const unsigned = Buffer.from(bytes.slice(2), "hex");
  const facts = transactionFacts(FROM, parseTransaction(unsigned));
  const caller = { kind: "session", userId: "usr", sessionId: "ses", loginId: "idn", publicKey: "02" } as const;
  const request: PolicyRequest = { caller, operation: "sign_transaction", walletId: "wal", facts, nowMs: Date.now() };
  return [1, 100, 1000].map((count) => {
    const levels = [{ level: "app", policy: compilePolicy(documentOf(count)) }] as const;
    return {
      name: `policy of ${count} rule${count === 1 ? "" : "s"}`,
      peer: "viem, parsing what is judged",
      ours: () => {
        if (decide(new Evaluation(request), levels).kind !== "open") throw new Error("denied");
      },
      theirs: () => parseWithViem(bytes),
    };
  });
}
