/**
 * One random run: a service under a parent that misbehaves by chance, callers who use it meanwhile, a parent that
 * behaves again, and then the accounts: nothing leaked, nothing forged, nothing lost, and everybody is served.
 */

import { globSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { entropyToMnemonic, mnemonicToSeedSync } from "@scure/bip39";
import { wordlist } from "@scure/bip39/wordlists/english.js";
import { REQUEST_PORT, type Wallet } from "../../../protocol/index.ts";
import { createRandom } from "../../../simulator/hostile-parent/random.ts";
import type { HostileParent, Seen } from "../../../simulator/hostile-parent.ts";
import { type Simulator, SimulatorError, startSimulator } from "../../../simulator/index.ts";
import { Canaries } from "./canaries.ts";
import { checkAccepted, checkDone, givenAnswers } from "./invariants.ts";
import { type OpenedState, openState, secretsIn } from "./open-state.ts";
import { randomScript, vandalScript } from "./parent-script.ts";
import { ProcessOutput } from "./process-output.ts";
import { GaveUp, Workload } from "./workload.ts";

/** Callers at once. */
const AT_ONCE = 8;
/** Of all requests, after the accounts of the others were settled: under a parent that destroys too. */
const VANDAL_PART = 0.15;
const MAX_BOOT_ATTACK_MS = 20_000;
/** Longer than what the enclave and the parent wait for answers that were taken from them. */
const RECOVERY_TIMEOUT_MS = 45_000;
const PROGRESS_EVERY = 200;

export interface RunOptions {
  readonly seed: string;
  readonly requests: number;
  readonly say: (line: string) => void;
}

export interface RunSummary {
  /** One sentence each; none: all invariants hold. */
  readonly violations: readonly string[];
  readonly misdeeds: ReadonlyMap<string, number>;
  readonly outcomes: ReadonlyMap<string, number>;
  /** Results that the enclave gave. */
  readonly results: number;
  readonly wallets: number;
  readonly canaries: number;
  /** Bytes that were searched for them. */
  readonly searchedBytes: number;
  /** From the moment when the parent behaves to the moment when everybody is served, milliseconds. */
  readonly recoveredInMs: number;
}

export async function runHostile(options: RunOptions): Promise<RunSummary> {
  const { seed, requests, say } = options;
  const stateFolder = await mkdtemp(join(tmpdir(), "cl-hostile-"));
  const output = new ProcessOutput();
  const lines: string[] = [];
  const simulator = await startSimulator({
    stateFolder,
    hostileParent: { script: randomScript(`${seed}/boot`) },
    waitForReady: false,
    log: (line) => lines.push(line),
  });
  try {
    const hostile = simulator.hostileParent;
    if (hostile === null) throw new Error("no hostile parent");
    await boot(simulator, hostile, options);
    const workload = new Workload(simulator, createRandom(`${seed}/workload`));
    const violations: string[] = [];

    hostile.hooks.script = undefined;
    await workload.prepare();
    hostile.hooks.script = randomScript(seed);
    await work(workload, Math.ceil(requests * (1 - VANDAL_PART)), say);
    hostile.hooks.script = undefined;
    const behavesSince = performance.now();
    violations.push(...(await checkEverybodyIsServed(workload)));
    const recoveredInMs = Math.round(performance.now() - behavesSince);
    say(`the parent behaves: everybody is served after ${recoveredInMs} ms`);

    await simulator.killEnclave();
    await simulator.startEnclave();
    violations.push(...(await checkEverybodyIsServed(workload)).map((why) => `after a restart: ${why}`));

    hostile.hooks.script = vandalScript(`${seed}/vandal`);
    await work(workload, Math.floor(requests * VANDAL_PART), say);
    hostile.hooks.script = undefined;
    const processes = processFiles([simulator.enclavePid, simulator.parentPid]);
    await simulator.stop();

    const given = givenAnswers(hostile.record);
    violations.push(...checkAccepted(workload.ledger, given), ...(await checkDone(workload.ledger, given)));
    const opened = await openState(stateFolder);
    const searched = await search({ workload, hostile, opened, stateFolder, output, lines, processes });
    violations.push(...searched.violations);
    return {
      violations,
      misdeeds: countBy(hostile.done.map(({ port, misdeed }) => `${port} ${misdeed}`)),
      outcomes: workload.ledger.outcomes,
      results: given.filter(({ status }) => status === 200).length,
      wallets: [...workload.ledger.wallets.values()].flat().length,
      canaries: searched.canaries,
      searchedBytes: searched.bytes,
      recoveredInMs,
    };
  } finally {
    output.stop();
    await simulator.stop();
    await rm(stateFolder, { recursive: true, force: true });
  }
}

/** The start as well is under attack, for a while; one that failed for good is made anew, as an operator would. */
async function boot(simulator: Simulator, hostile: HostileParent, options: RunOptions): Promise<void> {
  const attackMs = Math.min(MAX_BOOT_ATTACK_MS, options.requests * 20);
  const timer = setTimeout(() => {
    hostile.hooks.script = undefined;
  }, attackMs);
  try {
    const { event, code } = await outcome(simulator);
    options.say(`boot under attack: ${event}${code === undefined ? "" : ` (${String(code)})`}`);
    if (event === "ready") return;
    hostile.hooks.script = undefined;
    await simulator.killEnclave();
    await simulator.startEnclave();
  } finally {
    clearTimeout(timer);
  }
}

/** Answers that were taken from it cost an enclave ten seconds each, so it is asked more than once. */
async function outcome(simulator: Simulator): Promise<Awaited<ReturnType<Simulator["enclaveOutcome"]>>> {
  try {
    return await simulator.enclaveOutcome();
  } catch (error) {
    if (!(error instanceof SimulatorError) || error.code !== "PROCESS_TIMEOUT") throw error;
    return await simulator.enclaveOutcome();
  }
}

async function work(workload: Workload, requests: number, say: (line: string) => void): Promise<void> {
  let started = 0;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (started < requests) {
        started += 1;
        if (started % PROGRESS_EVERY === 0) say(`${started} of ${requests} requests`);
        await workload.step();
      }
    }),
  );
}

/** Everybody logs in, finds every wallet that was ever acknowledged, and only own ones, and signs with each. */
async function checkEverybodyIsServed(workload: Workload): Promise<string[]> {
  const deadline = performance.now() + RECOVERY_TIMEOUT_MS;
  const violations: string[] = [];
  for (const actor of workload.actors) {
    const acknowledged = workload.ledger.wallets.get(actor.owner) ?? [];
    const listed = await untilServed(deadline, async () => {
      await workload.logIn(actor);
      return workload.listWallets(actor);
    });
    if (listed === undefined) {
      violations.push(`${actor.owner} is not served although the parent behaves`);
      continue;
    }
    for (const wallet of acknowledged) {
      const found = listed.find(({ walletId }) => walletId === wallet.walletId);
      if (JSON.stringify(found) !== JSON.stringify(wallet)) {
        violations.push(`${actor.owner}: wallet ${wallet.walletId} was acknowledged and is lost or another`);
      }
    }
    violations.push(...foreign(workload, actor.owner, listed));
    for (const wallet of acknowledged) {
      const signed = await untilServed(deadline, async () => {
        await workload.signTransaction(actor, wallet);
        return true;
      });
      if (signed === undefined) violations.push(`${actor.owner}: wallet ${wallet.walletId} signs no more`);
    }
  }
  return violations;
}

function foreign(workload: Workload, owner: string, listed: readonly Wallet[]): string[] {
  const others = [...workload.ledger.wallets].filter(([other]) => other !== owner).flatMap(([, wallets]) => wallets);
  const theirs = new Set(others.map(({ walletId }) => walletId));
  return listed.filter(({ walletId }) => theirs.has(walletId)).map(({ walletId }) => `${owner} is shown ${walletId}`);
}

async function untilServed<Value>(deadline: number, call: () => Promise<Value>): Promise<Value | undefined> {
  while (performance.now() < deadline) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof GaveUp)) throw error;
    }
  }
  return undefined;
}

async function search(run: {
  readonly workload: Workload;
  readonly hostile: HostileParent;
  readonly opened: OpenedState;
  readonly stateFolder: string;
  readonly output: ProcessOutput;
  readonly lines: readonly string[];
  readonly processes: Uint8Array;
}): Promise<{ violations: string[]; canaries: number; bytes: number }> {
  const { workload, hostile, opened, stateFolder, output, lines, processes } = run;
  const keys = canariesOf(opened);
  const tokens = new Canaries();
  for (const token of new Set(workload.ledger.tokens)) tokens.addText("token or subject", token);

  const fromEnclave = hostile.record.filter(({ direction }) => direction === "to-parent");
  const toEnclave = hostile.record.filter(({ direction }) => direction === "to-enclave");
  // Callers' tokens travel to the enclave in requests, bound to their keys; they have no business anywhere else.
  const requests = toEnclave.filter(({ port }) => port === REQUEST_PORT);
  const others = toEnclave.filter(({ port }) => port !== REQUEST_PORT);
  const files = globSync(join(stateFolder, "records.sqlite*")).map((file) => readFile(file));
  const everywhere: [string, Uint8Array][] = [
    ["what the enclave sent", bytesOf(fromEnclave)],
    ["what the parent sent", bytesOf(others)],
    [
      "HTTP answers",
      Buffer.concat(workload.observed.answers.flatMap(({ body, headers }) => [body, Buffer.from(headers)])),
    ],
    ["logs", Buffer.from(lines.join("\n"))],
    ["standard output and error", output.bytes],
    ["arguments and environment", processes],
    ["the records file", Buffer.concat(await Promise.all(files))],
  ];
  const found = [
    ...everywhere.flatMap(([where, bytes]) => [...keys.search(where, bytes), ...tokens.search(where, bytes)]),
    ...keys.search("requests", bytesOf(requests)),
  ];
  return {
    violations: found.map(({ name, form, where }) => `${where} hold ${name}, as ${form}`),
    canaries: keys.count + tokens.count,
    bytes: everywhere.reduce((sum, [, bytes]) => sum + bytes.length, bytesOf(requests).length),
  };
}

export function canariesOf(opened: OpenedState): Canaries {
  const canaries = new Canaries();
  for (const [generation, secret] of opened.vaultSecrets) canaries.addBytes(`vault secret ${generation}`, secret);
  for (const { name, bytes } of secretsIn(opened)) {
    canaries.addBytes(name, bytes);
    if (!name.endsWith(" entropy")) continue;
    const words = entropyToMnemonic(bytes, wordlist);
    canaries.addText(`${name}, mnemonic`, words);
    canaries.addBytes(`${name}, seed`, mnemonicToSeedSync(words));
  }
  return canaries;
}

function bytesOf(record: readonly Seen[]): Buffer {
  return Buffer.concat(record.map((seen) => ("payload" in seen ? seen.payload : seen.bytes)));
}

/** Linux shows these of a process to everybody of the same user. */
function processFiles(pids: readonly number[]): Buffer {
  const parts = pids.flatMap((pid) =>
    ["cmdline", "environ", "comm", "status"].map((file) => {
      try {
        return readFileSync(`/proc/${pid}/${file}`);
      } catch {
        return Buffer.alloc(0);
      }
    }),
  );
  return Buffer.concat(parts);
}

function countBy(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return new Map([...counts].sort());
}
