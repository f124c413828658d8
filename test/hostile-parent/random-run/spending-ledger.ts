/** What was asked to be spent, and what must hold of all that the enclave has signed: written by the test, and by nothing that it tests. */
import type { GivenAnswer } from "./invariants.ts";

export interface Asked {
  readonly what: "solana" | "bitcoin" | "approved";
  readonly user: string;
  /** Counted by the policy's limit on `what`, for each user. */
  readonly amount: number;
  /** False: no honest run would sign it, whenever it is asked. */
  readonly mayBeDone: boolean;
  /** What it collects. */
  readonly approvalId: string | null;
  /** Whether a result is the signature of this wallet over what was asked, and over nothing else. */
  readonly isRight: (result: SignedResult) => boolean | Promise<boolean>;
}

export interface SignedResult {
  readonly signature?: string;
  readonly signedTransaction?: string;
  readonly finalTransaction?: string;
  readonly psbt?: string;
}

export class SpendingLedger {
  readonly asked = new Map<string, Asked>();
  /** What an approver has stamped their approval of, answered or not. */
  readonly approved = new Set<string>();
}

/** One sentence for each violation. @param limits - What each user may spend. */
export async function checkSpending(
  ledger: SpendingLedger,
  given: readonly GivenAnswer[],
  limits: Readonly<Record<string, number>>,
): Promise<{ readonly violations: string[]; readonly done: ReadonlyMap<string, number> }> {
  const violations: string[] = [];
  const signed = new Set<string>();
  for (const { status, body } of given) {
    if (status !== 200) continue;
    const { requestId, result } = JSON.parse(Buffer.from(body).toString()) as {
      requestId: string;
      result: SignedResult;
    };
    if ((result.signature ?? result.signedTransaction ?? result.finalTransaction ?? result.psbt) === undefined)
      continue;
    const asked = ledger.asked.get(requestId);
    if (asked === undefined) violations.push(`${requestId}: signed, and nobody asked`);
    else if (!(await asked.isRight(result))) violations.push(`${requestId}: not the signature that was asked for`);
    signed.add(requestId);
  }
  const spent = new Map<string, number>();
  const collected = new Map<string, number>();
  const done = new Map<string, number>();
  for (const requestId of signed) {
    const asked = ledger.asked.get(requestId);
    if (asked === undefined) continue;
    const { what, user, amount, mayBeDone, approvalId } = asked;
    if (!mayBeDone) violations.push(`${requestId}: ${what} of ${user} signed although it is forbidden`);
    spent.set(`${what} of ${user}`, (spent.get(`${what} of ${user}`) ?? 0) + amount);
    done.set(what, (done.get(what) ?? 0) + 1);
    if (what !== "approved") continue;
    if (approvalId === null || !ledger.approved.has(approvalId))
      violations.push(`${requestId}: nobody has approved it`);
    else collected.set(approvalId, (collected.get(approvalId) ?? 0) + 1);
  }
  for (const [whose, sum] of spent) {
    const limit = limits[whose.split(" ")[0] ?? ""] ?? Number.POSITIVE_INFINITY;
    if (sum > limit) violations.push(`${whose}: ${sum} signed, limit ${limit}`);
  }
  for (const [approvalId, times] of collected) {
    if (times > 1) violations.push(`${approvalId}: collected ${times} times`);
  }
  return { violations, done };
}
