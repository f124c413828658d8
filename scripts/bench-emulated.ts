/**
 * Measures the image under emulation: where the time of a boot goes, how large its parts are, and the least memory in
 * which it serves 32 requests at once. Times are this machine's, which emulates the processor: compare them with each
 * other and not with hardware's.
 *
 *   npm run bench-emulated -- [--eif FILE] [--boots 3] [--no-memory]
 */
import { parseArgs } from "node:util";
import { readEif } from "../eif/index.ts";
import { type BootPhase, DEFAULT_EIF, type Emulation, startEmulation } from "../simulator/index.ts";
import { createApp, logIn } from "../test/support/app.ts";
import { usdcTransfer } from "../test/support/transactions.ts";

const IN_FLIGHT = 32;
const MEMORY = { leastMiB: 64, mostMiB: 512, stepMiB: 16 } as const;

const { values } = parseArgs({
  options: {
    eif: { type: "string", default: DEFAULT_EIF },
    boots: { type: "string", default: "3" },
    memory: { type: "boolean", default: true },
  },
  allowNegative: true,
});
const boots = Number(values.boots);
if (!Number.isInteger(boots) || boots < 1 || boots > 100) {
  console.error("--boots: expected 1 to 100");
  process.exit(2);
}

await printSizes();
await printPhases();
if (values.memory) await printLeastMemory();

async function printSizes(): Promise<void> {
  const { sections, sizeBytes } = await readEif(values.eif);
  console.log(`${values.eif}: ${megabytes(sizeBytes)}`);
  for (const section of sections) console.log(`  ${megabytes(section.sizeBytes).padStart(10)}  ${section.type}`);
}

/** The median of each phase over all boots: one that was disturbed does not count. */
async function printPhases(): Promise<void> {
  const taken = new Map<string, number[]>();
  for (let boot = 0; boot < boots; boot += 1) {
    await using emulation = await startEmulation({ eif: values.eif });
    for (const [name, ms] of durations(emulation.bootReport.phases)) taken.set(name, [...(taken.get(name) ?? []), ms]);
  }
  const medians = [...taken].map(([name, all]) => [name, median(all)] as const);
  const total = medians.reduce((sum, [, ms]) => sum + ms, 0);
  console.log(`\nboot, median of ${boots}: ${total.toFixed(0)} ms`);
  for (const [name, ms] of medians) {
    console.log(`  ${ms.toFixed(0).padStart(7)} ms  ${((100 * ms) / total).toFixed(0).padStart(3)} %  ${name}`);
  }
}

function durations(phases: readonly BootPhase[]): [string, number][] {
  const [first] = phases;
  if (first === undefined) return [];
  const names: Readonly<Record<string, string>> = {
    mounts: "kernel: devices, ramdisks unpacked, init's mounts",
    entropy: "init: entropy from the NSM",
    heartbeat: "init: heartbeat",
    node: "init: root read-only, Node started",
    starting: "Node: itself and the enclave's modules",
    attested: "enclave: keys, first attestation",
    ready: "enclave: KMS, vault",
  };
  const rows: [string, number][] = [["QEMU, firmware, kernel unpacks itself", first.hostMs - first.guestMs]];
  let before = 0;
  for (const { name, guestMs } of phases) {
    rows.push([names[name] ?? name, guestMs - before]);
    before = guestMs;
  }
  return rows;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

/** Halves the range until it is one step wide: six boots, of which those that have too little end early. */
async function printLeastMemory(): Promise<void> {
  console.log(`\nleast memory that boots and answers ${IN_FLIGHT} requests at once:`);
  let [fails, serves] = [MEMORY.leastMiB - MEMORY.stepMiB, MEMORY.mostMiB as number];
  while (serves - fails > MEMORY.stepMiB) {
    const memoryMiB = fails + Math.floor((serves - fails) / MEMORY.stepMiB / 2) * MEMORY.stepMiB;
    const why = await whyNotIn(memoryMiB);
    console.log(`  ${String(memoryMiB).padStart(4)} MiB: ${why ?? "serves"}`);
    if (why === null) serves = memoryMiB;
    else fails = memoryMiB;
  }
  console.log(`  ${serves} MiB`);
}

async function whyNotIn(memoryMiB: number): Promise<string | null> {
  try {
    await using emulation = await startEmulation({ eif: values.eif, memoryMiB });
    await serve(emulation);
    return null;
  } catch (error) {
    const lines = (error as Error).message.trim().split("\n");
    return lines.findLast((line) => /failed|panic|exited|ended by|memory/i.test(line)) ?? lines.at(-1) ?? "fails";
  }
}

async function serve(emulation: Emulation): Promise<void> {
  const client = await emulation.connect();
  const { session } = await logIn(emulation, client, await createApp(emulation, client), "alice");
  const { walletId } = await session.createWallet({ kind: "hd" });
  const sign = (nonce: number) =>
    session.signTransaction({ walletId, chainId: "1", unsignedTransaction: usdcTransfer({ nonce }) });
  for (let round = 0; round < 4; round += 1)
    await Promise.all(Array.from({ length: IN_FLIGHT }, (_, nonce) => sign(nonce)));
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(2)} MB`;
}
