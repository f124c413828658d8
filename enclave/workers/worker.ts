/** Where a signing worker begins, unless the image's bundle is its own beginning. */
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import type { WorkerSetup } from "./messages.ts";
import { workAsSigner } from "./work.ts";

if (isMainThread || parentPort === null) throw new Error("this is a worker's");
workAsSigner(parentPort, workerData as WorkerSetup);
