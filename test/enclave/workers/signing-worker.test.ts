/** One worker whose thread ends as soon as it begins, and what becomes of it. */
import { expect, onTestFinished, test } from "vitest";
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
