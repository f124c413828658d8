/** One worker as the main thread sees it: one whose thread ends as soon as it begins, and one that says several things at once. */
import { expect, onTestFinished, test } from "vitest";
import type { Seen } from "../../../enclave/vault/fresh-records.ts";
import { SigningWorker } from "../../../enclave/workers/signing-worker.ts";

const ENDS_AT_ONCE = new URL("data:text/javascript,process.exit(0)");

test("a thread that cannot even be made is a failure like any other: it is tried again", async () => {
  const failures: string[] = [];
  let starts = 0;
  const notHere = () => {
    throw new Error("not expected");
  };
  const worker = new SigningWorker({
    entry: ENDS_AT_ONCE,
    // As where the kernel gives no thread: `new Worker` throws then, in the same place.
    setup: () => {
      starts += 1;
      if (starts === 2) throw Object.assign(new Error("no thread"), { code: "ERR_WORKER_INIT_FAILED" });
      return {} as ReturnType<ConstructorParameters<typeof SigningWorker>[0]["setup"]>;
    },
    from: {} as ConstructorParameters<typeof SigningWorker>[0]["from"],
    ...{
      bootedAtMs: 0,
      nowMs: () => 1,
      refuse: notHere,
      writeLine: notHere,
      maxOldGenerationMb: 64,
      heartbeatMs: 1_000,
    },
    onFailure: (code) => failures.push(code),
  });
  onTestFinished(() => worker.close());
  await expect
    .poll(() => failures.slice(0, 3), { timeout: 10_000 })
    .toEqual(["WORKER_ENDED", "ERR_WORKER_INIT_FAILED", "WORKER_ENDED"]);
});

/** Holds three requests, then says in one message what it read and all three answers, each of whether it was the only one. */
const SAYS_ALL_AT_ONCE = new URL(
  `data:text/javascript,${encodeURIComponent(`
    import { parentPort } from "node:worker_threads";
    parentPort.postMessage([{ kind: "ready" }]);
    const answers = [];
    parentPort.on("message", (message) => {
      if (message.kind === "close") parentPort.close();
      if (message.kind !== "request") return;
      const [body, signature] = [Buffer.from(String(message.isSole)), new Uint8Array(64)];
      const answer = { status: 200, body: Uint8Array.from(body), signature };
      answers.push({ kind: "answer", id: message.id, answer, lines: ["line " + message.id] });
      if (answers.length % 3 !== 0) return;
      const seen = { version: answers.length, tag: "00", isDeleted: false, expiresAtMs: null };
      parentPort.postMessage([{ kind: "remember", name: "user/a", seen }, ...answers.slice(-3)]);
    });
  `)}`,
);

test("what it says in one message is taken in its order: what it read before any answer, and each answer is its asker's", async () => {
  const heard: string[] = [];
  const notHere = () => {
    throw new Error("not expected");
  };
  const worker = new SigningWorker({
    entry: SAYS_ALL_AT_ONCE,
    setup: () => ({}) as ReturnType<ConstructorParameters<typeof SigningWorker>[0]["setup"]>,
    from: {
      sealed: { remember: (name: string, { version }: Seen) => heard.push(`${name} ${version}`) },
    } as unknown as ConstructorParameters<typeof SigningWorker>[0]["from"],
    ...{ bootedAtMs: 0, nowMs: () => 1, refuse: notHere, maxOldGenerationMb: 64, heartbeatMs: 1_000 },
    writeLine: (line) => heard.push(line),
    onFailure: notHere,
  });
  onTestFinished(() => worker.close());
  await expect.poll(() => worker.isServing, { timeout: 10_000 }).toBe(true);
  const ask = async (name: string) => {
    const { body } = await worker.handle({ body: Buffer.from(name), stamps: [] });
    heard.push(`${name} sole: ${Buffer.from(body).toString("utf8")}`);
  };
  for (const [from, version] of [
    [1, 3],
    [4, 6],
  ] as const) {
    heard.length = 0;
    await Promise.all(["a", "b", "c"].map(ask));
    // The first finds none under way, again when all have been answered.
    expect(heard).toEqual([
      `user/a ${version}`,
      ...[0, 1, 2].map((at) => `line ${from + at}`),
      ...["a sole: true", "b sole: false", "c sole: false"],
    ]);
  }
});
