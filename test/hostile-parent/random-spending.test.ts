/** Limits, approvals, Solana, Bitcoin and split wallets under a parent that lies at random about what it keeps and relays. */
import { describe, expect, test } from "vitest";
import { connect } from "../../client/index.ts";
import { RECORDS_PORT, REQUEST_PORT, type RecordsAnswer, type RecordsCall } from "../../protocol/index.ts";
import { createRandom } from "../../simulator/hostile-parent/random.ts";
import type { Rule } from "../../simulator/hostile-parent.ts";
import { startSimulator } from "../../simulator/index.ts";
import { type GivenAnswer, givenAnswers } from "./random-run/invariants.ts";
import { RecordsLiar } from "./random-run/records-liar.ts";
import { LIMITS, Spending } from "./random-run/spending.ts";
import { type Asked, checkSpending, SpendingLedger } from "./random-run/spending-ledger.ts";

const AT_ONCE = 6;
/** For an answer that went to another caller. */
const PATIENCE_MS = 5_000;
/** Kinds of them. */
const LIES = 7;
const MESSAGES: readonly Rule[] = [
  { port: [RECORDS_PORT, REQUEST_PORT], probability: 0.03, misdeed: { kind: "reorder", past: 3 } },
  { port: [RECORDS_PORT, REQUEST_PORT], probability: 0.03, misdeed: { kind: "duplicate", copies: 1 } },
  { port: REQUEST_PORT, of: "operation", probability: 0.05, misdeed: { kind: "replay", place: "before", id: "own" } },
  {
    port: REQUEST_PORT,
    of: "operation",
    probability: 0.05,
    misdeed: { kind: "replay", place: "instead", id: "adopted" },
  },
  { port: REQUEST_PORT, of: "sealed", probability: 0.05, misdeed: { kind: "replay", place: "instead", id: "adopted" } },
  { port: REQUEST_PORT, of: "answer", probability: 0.03, misdeed: { kind: "replay", place: "instead", id: "adopted" } },
  { port: [RECORDS_PORT, REQUEST_PORT], probability: 0.02, misdeed: { kind: "swap-ids" } },
  { port: REQUEST_PORT, probability: 0.005, misdeed: { kind: "truncate", by: "cut" } },
];

async function run(seed: string, signingWorkers: number, steps: number) {
  const simulator = await startSimulator({ hostileParent: {}, signingWorkers });
  try {
    const { hostileParent: hostile, url, deployment, expected } = simulator;
    if (hostile === null) throw new Error("no hostile parent");
    const liar = new RecordsLiar(createRandom(`${seed}/records`));
    hostile.hooks.message = (port, direction, message) => {
      if (port !== RECORDS_PORT) return message;
      return direction === "to-parent" ? liar.call(message as RecordsCall) : liar.answer(message as RecordsAnswer);
    };
    const impatient: typeof fetch = (input, init) =>
      fetch(input, { ...init, signal: AbortSignal.timeout(PATIENCE_MS) });
    const nowMs = () => simulator.nowMs();
    const client = await connect({ url, deployment, expected, fetch: impatient, nowMs, attempts: 1 });
    const ledger = new SpendingLedger();
    const spending = await Spending.prepare(simulator, client, ledger, createRandom(`${seed}/people`));
    const work = async (count: number) => {
      let left = count;
      await Promise.all(
        Array.from({ length: AT_ONCE }, async () => {
          for (; left > 0; ) {
            left -= 1;
            await spending.step();
          }
        }),
      );
    };
    liar.probability = 0.12;
    await work(steps / 2);
    hostile.hooks.script = { seed, rules: MESSAGES };
    await work(steps / 4);
    liar.destroyed = 0.5;
    await work(steps / 4);
    const { violations, done } = await checkSpending(ledger, givenAnswers(hostile.record), LIMITS);
    return { violations: [...violations, ...spending.violations], done, liar, hostile, spending };
  } finally {
    await simulator.stop();
  }
}

test.each([
  ["one", 0],
  ["two", 2],
] as const)(
  "no signature that an honest run would not have given, and no limit spent twice: seed %s, %i signing workers",
  async (seed, signingWorkers) => {
    const { violations, done, liar, hostile, spending } = await run(seed, signingWorkers, 160);
    expect(violations).toEqual([]);
    // A run in which nothing was signed, or nothing was done to it, would prove nothing.
    for (const what of ["solana", "bitcoin", "approved"]) expect(done.get(what) ?? 0, what).toBeGreaterThan(0);
    expect(spending.splitSignatures).toBeGreaterThan(5);
    expect(liar.told.size).toBe(LIES);
    expect(hostile.done.length).toBeGreaterThan(30);
  },
  240_000,
);

describe("the accounts notice", () => {
  const one: Asked = {
    what: "solana",
    user: "alice",
    amount: 600,
    mayBeDone: true,
    approvalId: null,
    isRight: () => true,
  };
  const approved: Asked = { ...one, what: "approved", amount: 1, approvalId: "apr_1" };
  const ids = ["r1", "r2"] as const;
  const answers: GivenAnswer[] = ids.map((requestId) => ({
    ...{ status: 200, signature: "AAAA" },
    body: Buffer.from(JSON.stringify({ requestId, result: { signature: "0x00" } })),
  }));

  test.each<[string, readonly Partial<Asked>[], string]>([
    ["more than a limit", [one, one], "1200 signed, limit 1000"],
    ["what is forbidden", [one, { ...one, amount: 1, mayBeDone: false }], "forbidden"],
    [
      "another signature",
      [
        { ...one, isRight: () => false },
        { ...one, amount: 1 },
      ],
      "not the signature",
    ],
    ["what nobody asked for", [one], "nobody asked"],
    ["an approval that is collected twice", [approved, approved], "collected 2 times"],
    ["an approval that nobody gave", [approved, { ...approved, approvalId: "apr_2" }], "nobody has approved"],
  ])("%s", async (_name, asked, why) => {
    const ledger = new SpendingLedger();
    for (const [at, each] of asked.entries()) ledger.asked.set(ids[at] ?? "", each as Asked);
    ledger.approved.add("apr_1");
    expect((await checkSpending(ledger, answers, LIMITS)).violations).toEqual([expect.stringContaining(why)]);
  });

  test("nothing where all is well, however often it was answered", async () => {
    const ledger = new SpendingLedger();
    for (const id of ids) ledger.asked.set(id, { ...one, amount: 500 });
    expect((await checkSpending(ledger, [...answers, ...answers], LIMITS)).violations).toEqual([]);
  });
});
