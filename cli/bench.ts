/** `cloister bench`: load on a deployment, and what a caller sees of it. */
import { access, constants, readFile, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { AttestationError } from "../attestation/index.ts";
import {
  cautionsOf,
  compare,
  describePace,
  htmlReport,
  type Load,
  type Progress,
  parseReport,
  type Report,
  runLoad,
  thisMachine,
} from "../bench/index.ts";
import { ClientError, RefusedError } from "../client/index.ts";
import { isErrorCode } from "../protocol/index.ts";
import { SimulatorError } from "../simulator/index.ts";
import { type BenchOptions, HELP, readCompareOptions, readOptions } from "./bench-options.ts";
import { openTarget, type Target } from "./bench-target.ts";
import { type CommandIo, printable, processIo, UsageError } from "./command-io.ts";

/** Wallets under one stamp, and stamps at a time: as many as a deployment takes without being measured yet. */
const A_BATCH = 100;
const BATCHES_AT_ONCE = 4;
const BAR = 30;

/** @returns The exit status. */
export async function run(args: readonly string[], io: CommandIo = processIo): Promise<number> {
  try {
    if (args[0] === "compare") return await compareCommand(args.slice(1), io);
    const options = readOptions(args);
    if (options === null) {
      io.out(HELP);
      return 0;
    }
    // Read first: a run of an hour is not thrown away for a name that is wrong.
    const before = options.compareWith === undefined ? null : await readReport(options.compareWith);
    for (const file of [options.json, options.html]) if (file !== undefined) await expectWritable(file);
    const report = await measure(options, io);
    const isEnough = await write(report, before, options, io);
    const isWhole = report.loads.every(({ done, failed }) => done > 0 && Object.keys(failed).length === 0);
    return isEnough && isWhole ? 0 : 1;
  } catch (error) {
    return complain(error, io);
  }
}

async function measure(options: BenchOptions, io: CommandIo): Promise<Report> {
  const startedAt = new Date(io.nowMs()).toISOString();
  const stopping = new AbortController();
  const stop = () => stopping.abort(new Interrupted());
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, stop);
  try {
    await using target = await openTarget(options.target, options.chainId, stopping.signal, io);
    const walletIds = await makeWallets(options, target, stopping.signal, io);
    const { ask, connect, memoryMib } = target;
    const work = options.scenario.work({ ask, connect, walletIds, chainId: options.chainId });
    const loads: Load[] = [];
    for (const pace of options.paces) {
      announce(`${describePace(pace)}: ${options.warmUpS + options.durationS} s`, io);
      const load = await runLoad({
        ...{ work, pace, warmUpS: options.warmUpS, durationS: options.durationS, signal: stopping.signal },
        ...(memoryMib === null ? {} : { memoryMib }),
        onProgress: (progress) => showProgress(describePace(pace), progress, io),
      });
      clearProgress(io);
      loads.push(load);
    }
    return {
      ...{ kind: "cloister-bench", v: 1, startedAt, scenario: options.scenario.name, target: target.name },
      ...{ wallets: walletIds.length, machine: thisMachine(), loads },
    };
  } finally {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.removeListener(signal, stop);
    clearProgress(io);
  }
}

async function makeWallets(
  { scenario, wallets }: BenchOptions,
  { ask }: Target,
  signal: AbortSignal,
  io: CommandIo,
): Promise<readonly string[]> {
  const made: string[] = [];
  if (scenario.needsWallets) announce(`making wallets: ${wallets}`, io);
  while (scenario.needsWallets && made.length < wallets) {
    signal.throwIfAborted();
    const left = wallets - made.length;
    const batches = Array.from({ length: Math.min(BATCHES_AT_ONCE, Math.ceil(left / A_BATCH)) }, (_, at) =>
      ask("create_wallets", { wallets: Array(Math.min(A_BATCH, left - at * A_BATCH)).fill({ kind: "single-key" }) }),
    );
    for (const { results } of await Promise.all(batches)) {
      for (const each of results) {
        if ("error" in each) throw refused(each.error);
        made.push(each.wallet.walletId);
      }
    }
    const share = made.length / wallets;
    showProgress(
      `making wallets: ${made.length} of ${wallets}`,
      { share, isWarmUp: true, perSecond: 0, failed: 0 },
      io,
    );
  }
  return made;
}

/** What one of a batch was refused for. */
function refused({ code, message }: { readonly code: string; readonly message: string }): RefusedError {
  return new RefusedError(isErrorCode(code) ? code : "INTERNAL", message, { isFromEnclave: true });
}

/** @returns Whether the run is as good as was asked for, compared with the one before. */
async function write(report: Report, before: Report | null, options: BenchOptions, io: CommandIo): Promise<boolean> {
  const { scenario, target, machine } = report;
  io.out(
    printable(`${scenario} on ${target}; ${machine.cpu}, ${machine.cores} cores, Node ${machine.node}`).concat("\n\n"),
  );
  const heads = ["", "a second", "failed", "50% ms", "99% ms", "99.9% ms", "slowest"];
  const rows = report.loads.map(({ pace, perSecond, failed, latency }) => [
    describePace(pace),
    perSecond.toFixed(0),
    String(Object.values(failed).reduce((sum, each) => sum + each, 0)),
    ...[latency.p50Ms, latency.p99Ms, latency.p999Ms, latency.maxMs].map((ms) => ms.toFixed(2)),
  ]);
  io.out(tableOf([heads, ...rows]));
  const isEnough = before === null || writeComparison(before, report, options.atLeast, io);
  for (const caution of cautionsOf(report, null)) io.out(`! ${printable(caution)}\n`);
  if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(report, null, 1)}\n`);
  if (options.html !== undefined) await writeFile(options.html, htmlReport(report, before));
  return isEnough;
}

async function compareCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const options = readCompareOptions(args);
  if (options === null) {
    io.out(HELP);
    return 0;
  }
  const [before, after] = [await readReport(options.before), await readReport(options.after)];
  return writeComparison(before, after, options.atLeast, io) ? 0 : 1;
}

/** @returns False where a load has less than `atLeast` of the answers, or where that cannot be told. */
function writeComparison(before: Report, after: Report, atLeast: number | undefined, io: CommandIo): boolean {
  const { rows, cautions } = compare(before, after);
  const heads = ["after by before", "a second", "50%", "99%"];
  const cells = rows.map(({ pace, perSecond, p50, p99 }) => [
    pace,
    ...[perSecond, p50, p99].map((ratio) => `× ${ratio.toFixed(2)}`),
  ]);
  if (cells.length > 0) io.out(tableOf([heads, ...cells]));
  for (const caution of cautions) io.out(`! ${printable(caution)}\n`);
  if (rows.length === 0) io.out("! no load is in both runs: there is nothing to compare\n");
  if (atLeast === undefined) return true;
  // What cannot be divided is not enough either.
  const tooFew = rows.filter(({ perSecond }) => !(perSecond >= atLeast));
  for (const { pace, perSecond } of tooFew) {
    io.out(`! ${pace}: × ${perSecond.toFixed(2)} answers a second, asked for at least × ${atLeast.toFixed(2)}\n`);
  }
  return rows.length > 0 && tooFew.length === 0;
}

function tableOf(rows: readonly (readonly string[])[]): string {
  const lines = rows.map(([name = "", ...cells]) => name.padEnd(36) + cells.map((each) => each.padStart(11)).join(""));
  return `${lines.join("\n")}\n\n`;
}

/** What is there is left as it is, and nothing is left where nothing was. */
async function expectWritable(file: string): Promise<void> {
  try {
    await access(file, constants.W_OK).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
      await access(dirname(resolve(file)), constants.W_OK);
    });
  } catch (cause) {
    throw new UsageError(`${file} cannot be written`, { cause });
  }
}

async function readReport(file: string): Promise<Report> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    throw new UsageError(`${file} cannot be read`, { cause });
  }
  try {
    return parseReport(text);
  } catch (cause) {
    throw new UsageError(`${file}: not a report of this version of cloister bench`, { cause });
  }
}

/** Where no bar is drawn, as in the log of a CI job, a line says what takes its time. */
function announce(what: string, io: CommandIo): void {
  if (io.isErrTerminal !== true) io.err(`${what}\n`);
}

function showProgress(what: string, { share, isWarmUp, perSecond, failed }: Progress, io: CommandIo): void {
  if (io.isErrTerminal !== true) return;
  const full = Math.round(share * BAR);
  const bar = "█".repeat(full) + "░".repeat(BAR - full);
  const now = isWarmUp ? "" : `  ${perSecond.toFixed(0)} a second${failed === 0 ? "" : `, ${failed} failed`}`;
  io.err(`\r\u001b[K${bar} ${what}${now}`);
}

function clearProgress(io: CommandIo): void {
  if (io.isErrTerminal === true) io.err("\r\u001b[K");
}

class Interrupted extends Error {
  override readonly name = "Interrupted";

  constructor() {
    super("interrupted: nothing was written");
  }
}

function complain(error: unknown, io: CommandIo): number {
  if (error instanceof UsageError) {
    io.err(`cloister bench: ${error.message}; "cloister bench --help" tells more\n`);
    return 2;
  }
  if (error instanceof Interrupted || (error instanceof SimulatorError && error.code === "STOPPED")) {
    io.err(`cloister bench: ${new Interrupted().message}\n`);
    return 1;
  }
  const isExpected = [ClientError, RefusedError, SimulatorError, AttestationError].some(
    (kind) => error instanceof kind,
  );
  if (!isExpected) throw error;
  const { code, message } = error as ClientError;
  io.err(printable(`cloister bench: ${code}: ${message}`).concat("\n"));
  return 1;
}
