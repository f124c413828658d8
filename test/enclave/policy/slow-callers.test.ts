import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Policies } from "../../../enclave/policy/authorise.ts";
import { decide } from "../../../enclave/policy/decide.ts";
import { Evaluation } from "../../../enclave/policy/evaluation.ts";
import { SlowCallers } from "../../../enclave/policy/slow-callers.ts";
import { allow, compiled, deny, requestFor, SAMPLES, WALLET } from "./requests.ts";

const MANY = 2_000;

let turns: (() => void)[] = [];
let done: string[] = [];
let nowMs = 0;
let callers: SlowCallers;

/** All that can go on without another turn has gone on. */
async function turn(): Promise<void> {
  const [end] = turns.splice(0);
  end?.();
  await nextTurn();
}

const judge = (caller: string, steps = MANY - 1) =>
  callers.judge(caller, () => {
    done.push(caller);
    return { result: caller, steps };
  });

beforeEach(() => {
  turns = [];
  done = [];
  nowMs = 0;
  vi.spyOn(performance, "now").mockImplementation(() => nowMs);
  callers = new SlowCallers(() => new Promise<void>((resolve) => turns.push(resolve)));
});

afterEach(() => {
  vi.restoreAllMocks();
});

test("of what takes long, one is judged in each turn, and what does not is judged at once", async () => {
  await judge("slow", MANY);
  const waiting = [1, 2, 3].map(() => judge("slow", MANY));
  await judge("quick");
  expect(done).toEqual(["slow", "quick"]);
  for (const count of [2, 3, 4]) {
    await turn();
    expect(done.filter((each) => each === "slow")).toHaveLength(count);
    await judge("quick");
  }
  expect(await Promise.all(waiting)).toEqual(["slow", "slow", "slow"]);
});

test("several who take long share the turns, in the order in which they came", async () => {
  for (const caller of ["a", "b"]) await judge(caller, MANY);
  const waiting = ["b", "a", "b"].map((caller) => judge(caller, MANY));
  for (const _ of waiting) await turn();
  expect(done).toEqual(["a", "b", "b", "a", "b"]);
});

test("who is quick again waits no more", async () => {
  await judge("once", MANY);
  const again = judge("once");
  await turn();
  await again;
  await judge("slow", MANY);
  await judge("once");
  expect(done).toEqual(["once", "once", "slow", "once"]);
});

test("who has waited for a second is told BUSY, and nothing was judged", async () => {
  await judge("slow", MANY);
  const [late, later] = [judge("slow", MANY), judge("slow")];
  const refused = expect(later).rejects.toMatchObject({ code: "BUSY" });
  nowMs = 999;
  await turn();
  await late;
  nowMs = 1_000;
  await turn();
  await refused;
  expect(done).toEqual(["slow", "slow"]);
});

test("by the clock nobody is slow: 64 at once on a machine that stands still are all judged", async () => {
  await Promise.all(
    Array.from({ length: 64 }, () => {
      nowMs += 100;
      return judge("quick");
    }),
  );
  expect(done).toHaveLength(64);
});

test("a hundred that take longest to judge, all at once, hold up others by two of them at most", async () => {
  vi.restoreAllMocks();
  const hard = Array.from({ length: 1_000 }, (_, at) =>
    deny(`r${at}`, { some: "outputs", is: [{ field: "output.amount", in: [`${at + 2}`] }] }),
  );
  const documents = { app_slow: compiled(...hard), app_quick: compiled(allow("everything")) };
  const policies = new Policies({
    apps: { get: async (appId: string) => ({ policy: { digest: new Uint8Array(32), appId } }) },
    documents: { get: async (_: string, { appId }: { appId: keyof typeof documents }) => documents[appId] },
    nowMs: () => 0,
  } as unknown as ConstructorParameters<typeof Policies>[0]);
  const transaction = SAMPLES["bitcoin-transaction"];
  const outputs = Array.from({ length: 40 }, () => ({ ...transaction.outputs[0], amountSats: 1n }));
  const authorise = async (appId: string, facts: object) => {
    const actor = { kind: "api-key", appId, keyId: "key_1", scope: { chains: null } };
    const request = { actor, operation: "sign_psbt", envelope: {}, walletId: WALLET, accounts: [], facts };
    const authorised = policies.authorise(request as unknown as Parameters<Policies["authorise"]>[0]);
    if (appId === "app_quick") await authorised;
    else await expect(authorised).rejects.toMatchObject({ code: expect.stringMatching(/^(?:POLICY_DENIED|BUSY)$/) });
    done.push(appId);
  };
  const asked = Array.from({ length: 100 }, () => authorise("app_slow", { ...transaction, outputs }));
  // Nobody knew of the first one that it would be slow.
  await authorise("app_quick", transaction);
  expect(done.filter((each) => each === "app_slow").length).toBeLessThan(3);
  await Promise.all(asked);
  expect(done).toHaveLength(101);
});

test("what is looked at only to explain a denial counts as well", () => {
  const transaction = SAMPLES["bitcoin-transaction"];
  const outputs = Array.from({ length: 900 }, () => ({ ...transaction.outputs[0], amountSats: 1n }));
  const facts = { ...transaction, outputs } as typeof transaction;
  const isNever = { field: "kind", in: ["evm-message"] } as const;
  const isLong = { some: "outputs", is: [{ field: "output.amount", in: ["2"] }] } as const;
  // Each rule is left at its first condition, and four of them are explained to their last.
  const rules = Array.from({ length: 4 }, (_, at) => allow(`r${at}`, { not: { not: isNever } }, isLong));
  const evaluation = new Evaluation(requestFor(facts));
  const { kind } = decide(evaluation, [{ level: "app", policy: compiled(...rules) }]);
  expect(kind).toBe("denied");
  expect(evaluation.steps).toBeGreaterThan(4 * 900);
});
