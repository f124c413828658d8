/** What somebody who can read all of the enclave's memory, as a core dump would hold it, finds of wallets' keys. */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { KEPT_IDLE_MS } from "../../enclave/wallets/wallet-cache.ts";
import { startSimulator } from "../../simulator/index.ts";
import { createApp, logIn } from "../support/app.ts";
import { usdcTransfer } from "../support/transactions.ts";
import { type OpenedState, openState, secretsIn } from "./random-run/open-state.ts";

const WALLETS = 30;
/** WebAssembly reserves address space by the gigabyte and has nothing in it. */
const MAX_REGION_BYTES = 512 * 1024 * 1024;

/** Every writable region of a process's memory (proc_pid_mem(5)). */
function memoryOf(pid: number): Buffer[] {
  const memory = openSync(`/proc/${pid}/mem`, "r");
  try {
    return readFileSync(`/proc/${pid}/maps`, "utf8")
      .split("\n")
      .flatMap((line) => {
        const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
        if (from === undefined || to === undefined) return [];
        const start = BigInt(`0x${from}`);
        const size = Number(BigInt(`0x${to}`) - start);
        return size > MAX_REGION_BYTES ? [] : readRegion(memory, start, size);
      });
  } finally {
    closeSync(memory);
  }
}

/** A region that has gone meanwhile, or cannot be read, holds nothing for a dump either. */
function readRegion(memory: number, start: bigint, size: number): Buffer[] {
  const bytes = Buffer.alloc(size);
  try {
    return [bytes.subarray(0, readSync(memory, bytes, 0, size, start))];
  } catch {
    return [];
  }
}

function holds(memory: readonly Buffer[], bytes: Uint8Array): boolean {
  return memory.some((region) => region.includes(Buffer.from(bytes)));
}

/** Keys, seeds and entropies of all wallets. */
function keysIn(state: OpenedState): readonly Uint8Array[] {
  const keys = secretsIn(state).filter(({ name }) => name.startsWith("wallet/"));
  expect(keys.length).toBeGreaterThanOrEqual(WALLETS);
  return keys.map(({ bytes }) => bytes);
}

async function startWithWallets(stateFolder: string, { signaturesEach }: { readonly signaturesEach: number }) {
  const simulator = await startSimulator({ stateFolder });
  const client = await simulator.connect();
  const appId = await createApp(simulator, client);
  const { session } = await logIn(simulator, client, appId, "alice");
  const signing = { chainId: "1", unsignedTransaction: usdcTransfer() };
  for (let made = 0; made < WALLETS; made += 1) {
    const { walletId } = await session.createWallet({ kind: made % 2 === 0 ? "hd" : "single-key" });
    for (let signed = 0; signed < signaturesEach; signed += 1) await session.signTransaction({ walletId, ...signing });
  }
  return { simulator, session };
}

test("few keys of wallets are left in memory once they have been used: they are wiped, as far as V8 lets us", {
  timeout: 120_000,
}, async () => {
  const stateFolder = await mkdtemp(join(tmpdir(), "cloister-test-"));
  try {
    const { simulator, session } = await startWithWallets(stateFolder, { signaturesEach: 1 });
    // Other work, which uses the same buffers again.
    for (let request = 0; request < 200; request += 1) await session.listWallets();
    const memory = memoryOf(simulator.enclavePid);
    await simulator.stop();

    const state = await openState(stateFolder);
    const keys = keysIn(state);
    // The search can find: what the enclave cannot do without is there.
    for (const secret of state.vaultSecrets.values()) expect(holds(memory, secret)).toBe(true);
    // Without wiping it was 42 of 60.
    expect(keys.filter((key) => holds(memory, key)).length).toBeLessThan(keys.length * 0.4);
  } finally {
    await rm(stateFolder, { recursive: true, force: true });
  }
});

test("wallets that sign again and again are in memory while they do, and for the most part not once they have stopped", {
  timeout: 120_000,
}, async () => {
  const stateFolder = await mkdtemp(join(tmpdir(), "cloister-test-"));
  try {
    const { simulator, session } = await startWithWallets(stateFolder, { signaturesEach: 3 });
    const inUse = memoryOf(simulator.enclavePid);
    await simulator.advanceClock(KEPT_IDLE_MS + 1);
    // They are looked through every ten seconds.
    await sleep(11_000);
    for (let request = 0; request < 200; request += 1) await session.listWallets();
    const afterwards = memoryOf(simulator.enclavePid);
    await simulator.stop();

    const keys = keysIn(await openState(stateFolder));
    const foundIn = (memory: readonly Buffer[]) => keys.filter((key) => holds(memory, key)).length;
    // What docs/threat-model.md says of them, and why the search can be believed when it finds few.
    expect(foundIn(inUse)).toBe(keys.length);
    // Without wiping it was 52 of 60. What is left was moved by V8's collector, or copied while it was encoded.
    expect(foundIn(afterwards)).toBeLessThan(keys.length * 0.6);
  } finally {
    await rm(stateFolder, { recursive: true, force: true });
  }
});
