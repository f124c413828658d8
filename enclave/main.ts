/**
 * The enclave in its image: what init starts. The files it reads are measured, its one argument is init's, and nothing in
 * its environment counts. Its console is shown by debug enclaves only, and by them to the parent: phases and codes go
 * there, never what a caller, a record or KMS said.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import { guestAfVsock } from "../vsock/index.ts";
import { StartError } from "./errors.ts";
import { readImageFiles } from "./image-files.ts";
import { parseManifest } from "./manifest.ts";
import { openNsmDevice } from "./nsm/nsm-device.ts";
import type { Phase } from "./phase.ts";
import { startEnclave } from "./start-enclave.ts";
import type { WorkerSetup } from "./workers/messages.ts";
import { workAsSigner } from "./workers/work.ts";

/** linux/vm_sockets.h: VMADDR_CID_ANY. */
const NO_CID = 0xffffffff;
/** Of `/app/main.mjs`, that is `/`. */
const IMAGE_ROOT = new URL("..", import.meta.url);

if (isMainThread) await runEnclave();
// A signing worker begins with this same file: the image holds the code once.
else if (parentPort !== null) workAsSigner(parentPort, workerData as WorkerSetup);

async function runEnclave(): Promise<void> {
  process.on("uncaughtException", (error) => {
    // Its message may hold what it came from; where it came from is code, and that is public.
    const { name, code } = error as NodeJS.ErrnoException;
    const frames = (error.stack ?? "").split("\n").filter((line) => /^ +at /.test(line));
    say(`failed INTERNAL: uncaught ${name}${code === undefined ? "" : ` ${code}`}`);
    for (const frame of frames) process.stderr.write(`${frame}\n`);
    process.exit(1);
  });

  try {
    const parentCid = parseParentCid(process.argv.slice(2));
    say("starting");
    const { manifest, tlsRoots } = await readImageFiles(IMAGE_ROOT);
    const nsm = await openNsmDevice();
    const enclave = startEnclave({
      manifest,
      nsm,
      vsock: guestAfVsock({ parentCid }),
      tlsRoots,
      monotonicMs: () => performance.now(),
      signingWorkers: { count: workersFor(manifest), entry: new URL(import.meta.url) },
      onPhase: (phase) => say(describe(phase)),
    });
    process.once("SIGTERM", () => void enclave.close().finally(() => process.exit(0)));
    // A start that failed for good goes on telling the parent so: an enclave that is gone could not.
    await enclave.ready.catch(() => {});
  } catch (error) {
    // Before the vault is open there is no secret that a message could hold.
    const { code = "INTERNAL", message } = error as NodeJS.ErrnoException;
    say(`failed ${code}: ${message}`);
    process.exit(1);
  }
}

/** One for each processor; a second thread on a single one only costs. The manifest may say otherwise. */
function workersFor(manifest: Uint8Array): number {
  const processors = availableParallelism();
  return parseManifest(manifest).signingWorkers ?? (processors === 1 ? 0 : processors);
}

function parseParentCid(args: readonly string[]): number {
  const { values } = parseArgs({ args: [...args], options: { "parent-cid": { type: "string", default: "" } } });
  const cid = Number(values["parent-cid"]);
  if (/^[0-9]{1,10}$/.test(values["parent-cid"]) && cid >= 2 && cid < NO_CID) return cid;
  throw new StartError("USAGE", "expected --parent-cid and a number of 2 or more");
}

function describe(phase: Phase): string {
  switch (phase.name) {
    case "booting":
    case "ready":
      return phase.name;
    case "attested":
      return phase.waitingFor === null ? phase.name : `${phase.name}, waits for ${phase.waitingFor.code}`;
    case "failed":
      return `${phase.name} ${phase.failure.code}: ${phase.failure.message}`;
  }
}

/** Milliseconds since the kernel started. */
function say(line: string): void {
  process.stderr.write(`cloister: ${line} ${process.hrtime.bigint() / 1_000_000n}\n`);
}
