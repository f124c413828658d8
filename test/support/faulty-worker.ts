/** A signing worker that does as the message says which it is to sign: for tests of what its failure does to others. */
import { parentPort, workerData } from "node:worker_threads";
import type { ToWorker, WorkerSetup } from "../../enclave/workers/messages.ts";
import { workAsSigner } from "../../enclave/workers/work.ts";

if (parentPort === null) throw new Error("this is a worker's");
workAsSigner(parentPort, workerData as WorkerSetup);
parentPort.on("message", (message: ToWorker) => {
  if (message.kind !== "request") return;
  const hex = /"message":"0x([0-9a-f]*)"/.exec(Buffer.from(message.request.body).toString("utf8"))?.[1] ?? "";
  const told = Buffer.from(hex, "hex").toString("utf8");
  if (told === "throw") throw new Error("told to");
  if (told === "exit") process.exit(0);
  if (told === "work") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 55);
  while (told === "hang") {
    // Until it is ended.
  }
});
