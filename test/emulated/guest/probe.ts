/**
 * What runs in the enclave's place when a test wants to look at the guest from inside: the same kernel, init, Node and
 * addons, with this program over `/app/main.mjs`. It reports on the console, one line of JSON for each finding, runs the
 * suite of vsock streams, starts the enclave, and ends as an enclave must not.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { isMainThread } from "node:worker_threads";

/** What init must report. */
const EXIT_CODE = 7;

if (isMainThread) {
  const { lookAround, readSockets } = await import("./duties.ts");
  const { echoSizes, echoThroughEgress, waitForHost } = await import("./streams.ts");
  const parentCid = Number(process.argv[process.argv.indexOf("--parent-cid") + 1]);
  await report("duties", lookAround);
  await report("sizes", () => echoSizes(parentCid));
  await report("egress", () => echoThroughEgress(parentCid));
  const given = process.argv.splice(2);
  // The suite collects garbage by hand; init starts Node without the flag.
  setFlagsFromString("--expose-gc");
  Object.assign(globalThis, { gc: runInNewContext("gc") as () => void });
  await import("./vsock-suite.ts");
  process.argv.push(...given);
  // Not awaited: without a signed NSM it never becomes ready, but it listens.
  void import("../../../enclave/main.ts");
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  await report("sockets", readSockets);
  await waitForHost(parentCid);
  process.exit(EXIT_CODE);
} else {
  // A worker of the suite, which names this very bundle.
  await import("./vsock-suite.ts");
}

async function report(probe: string, look: () => Promise<object>): Promise<void> {
  try {
    process.stdout.write(`${JSON.stringify({ probe, found: await look() })}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ probe, error: (error as Error).stack })}\n`);
  }
}
