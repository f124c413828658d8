/**
 * What a vsock stream must do, as a program for Node alone, since the guest has no vitest. `--address vsock` runs it over
 * the kernel's vsock loopback (CID 1), with the very addon and wrapper of the image; `--address unix:FOLDER --addon FILE`
 * over unix sockets, with the test build of the same C, on machines without a vsock device. One line of JSON for each
 * case, and a summary; exit status 0 only if all of them passed.
 */
import { parseArgs } from "node:util";
import { isMainThread, workerData } from "node:worker_threads";
import { type Address, unixAddress, vsockAddress } from "./vsock-suite/address.ts";
import { leakCases, runInWorker } from "./vsock-suite/leak-cases.ts";
import { listenerCases } from "./vsock-suite/listener-cases.ts";
import { streamCases } from "./vsock-suite/stream-cases.ts";

/** Emulated processors are slow, and ten thousand connections are many. */
const CASE_TIMEOUT_MS = 400_000;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { address: { type: "string", default: "vsock" }, addon: { type: "string" }, only: { type: "string" } },
  });
  const address = addressOf(values.address, values.addon);
  const cases = Object.entries({ ...streamCases, ...listenerCases, ...leakCases(import.meta.url) });
  let [passed, failed] = [0, 0];
  for (const [name, run] of cases) {
    if (values.only !== undefined && !new RegExp(values.only).test(name)) continue;
    const startedAt = performance.now();
    const error = await withDeadline(() => run(address));
    const ms = Math.round(performance.now() - startedAt);
    if (error === undefined) passed += 1;
    else failed += 1;
    print(error === undefined ? { case: name, ok: true, ms } : { case: name, ok: false, ms, error });
  }
  print({ summary: { address: values.address, passed, failed } });
  return failed === 0 && passed > 0 ? 0 : 1;
}

function addressOf(address: string, addon: string | undefined): Address {
  if (address === "vsock") return vsockAddress();
  const folder = /^unix:(.+)$/.exec(address)?.[1];
  if (folder === undefined || addon === undefined) throw new Error("--address vsock, or unix:FOLDER with --addon FILE");
  return unixAddress(folder, addon);
}

async function withDeadline(run: () => Promise<void>): Promise<string | undefined> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`not done in ${CASE_TIMEOUT_MS} ms`)), CASE_TIMEOUT_MS);
  try {
    await Promise.race([run(), late.promise]);
    return undefined;
  } catch (error) {
    const { stack, cause } = error as Error;
    return cause === undefined ? String(stack) : `${stack}\ncause: ${String(cause)}`;
  } finally {
    clearTimeout(timer);
  }
}

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

if (isMainThread) process.exitCode = await main();
else await runInWorker(addressOf(workerData.address, workerData.addon), workerData.firstPort);
