/**
 * The enclave as a process: the one file that joins it with a simulated NSM and with TLS roots of a simulator's. The
 * enclave itself cannot import this folder, and the production image does not contain it.
 */
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { StartError, startEnclave, WORKER_ENTRY } from "../enclave/index.ts";
import { guestVsock } from "../vsock/index.ts";
import { connectNsm } from "./nsm/index.ts";

const { values } = parseArgs({
  options: {
    manifest: { type: "string", default: "" },
    nsm: { type: "string", default: "" },
    vsock: { type: "string", default: "" },
    "tls-root": { type: "string", default: "" },
    workers: { type: "string", default: "0" },
  },
});

const tlsRoot = await readFile(values["tls-root"], "utf8");
const enclave = startEnclave({
  manifest: await readFile(values.manifest),
  nsm: await connectNsm(values.nsm),
  vsock: guestVsock(values.vsock),
  tlsRoots: { kms: [tlsRoot], web: [tlsRoot] },
  monotonicMs: () => performance.now(),
  signingWorkers: { count: Number(values.workers), entry: WORKER_ENTRY },
});

const stop = () => {
  void enclave.close().finally(() => process.exit(0));
};
process.once("SIGTERM", stop);
process.stdin.once("end", stop).once("error", stop).resume();

try {
  await enclave.ready;
  say({ event: "ready" });
} catch (error) {
  const { code, message } = error instanceof StartError ? error : { code: "INTERNAL", message: String(error) };
  say({ event: "failed", code, message });
}

function say(event: object): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}
