/**
 * Keeps one enclave running: starts it, notices its end, and starts it again after a wait that grows. nitro-cli itself
 * starts and forgets; nothing on the host would notice that an enclave has ended.
 */
import { HostError } from "../errors.ts";
import type { RunningEnclave } from "../nitro-cli/describe-enclaves.ts";
import type { EnclaveConfig } from "../nitro-cli/enclave-config.ts";
import { differingPcrs, type Measurements } from "../nitro-cli/measurements.ts";
import { startTimeoutMs } from "../nitro-cli/sizing.ts";
import { backoffMs, STABLE_AFTER_MS } from "./backoff.ts";
import { checkImage, type MeasureImage } from "./check-image.ts";
import type { NitroCli } from "./nitro-cli-client.ts";

const POLL_MS = 5_000;
/** A nitro-cli that does not answer may be busy; one that never does watches nothing. */
const MAX_SILENT_POLLS = 6;

export interface Supervised {
  readonly config: EnclaveConfig;
  /** Goes to nitro-cli as it is. */
  readonly configFile: string;
  readonly expected: Measurements;
  readonly nitroCli: NitroCli;
  readonly measure: MeasureImage;
  readonly log: (line: string) => void;
  readonly nowMs: () => number;
  /** Ends early, without failing, when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

/**
 * Until the signal is aborted; then the enclave is terminated.
 *
 * @throws {@link HostError} where another try would end the same: `MEASUREMENTS_DIFFER`, `MEMORY_TOO_SMALL`,
 * `IMAGE_UNREADABLE`, `DEBUG_MODE`. No enclave is left running then.
 */
export async function superviseEnclave(options: Supervised, stopping: AbortSignal): Promise<void> {
  const { config, log, nowMs, sleep } = options;
  let failures = 0;
  try {
    while (!stopping.aborted) {
      const startedAtMs = nowMs();
      try {
        await terminateIfRunning(options);
        await start(options);
        await watch(options, stopping);
        if (stopping.aborted) break;
        log(`${config.name} has ended`);
      } catch (error) {
        if (!isWorthAnotherTry(error)) throw error;
        log((error as Error).message);
      }
      failures = nowMs() - startedAtMs >= STABLE_AFTER_MS ? 1 : failures + 1;
      const waitMs = backoffMs(failures);
      log(`starting again in ${waitMs / 1000} s (failure ${failures} in a row)`);
      await sleep(waitMs, stopping);
    }
  } finally {
    await terminateIfRunning(options).catch((error: unknown) => log((error as Error).message));
  }
}

/** Also what a supervisor that was killed has left behind. @throws {@link HostError} `NITRO_CLI_FAILED` */
export async function terminateIfRunning({
  config,
  nitroCli,
  log,
}: Pick<Supervised, "config" | "nitroCli" | "log">): Promise<void> {
  if ((await find(nitroCli, config.name)) === undefined) return;
  log(`terminating ${config.name}`);
  await nitroCli.terminate(config.name);
}

function isWorthAnotherTry(error: unknown): boolean {
  return error instanceof HostError && error.code === "NITRO_CLI_FAILED";
}

async function start({ config, configFile, expected, nitroCli, measure, log }: Supervised): Promise<void> {
  // Anew at each start: the file may have been replaced since the last.
  const image = await measure(config.eifPath);
  checkImage(image, expected, config);
  log(`starting ${config.name}: PCR0 ${image.measurements.PCR0}`);
  const { id, cid } = await nitroCli.launch(configFile, startTimeoutMs(image.sizeBytes, config.memoryMib) + 30_000);
  log(`${config.name} is ${id}, CID ${cid}`);
  const running = await find(nitroCli, config.name);
  if (running !== undefined) refuseWrongEnclave(running, expected);
}

async function watch({ config, nitroCli, log, sleep, expected }: Supervised, stopping: AbortSignal): Promise<void> {
  let silent = 0;
  while (!stopping.aborted) {
    await sleep(POLL_MS, stopping);
    try {
      const running = await find(nitroCli, config.name);
      silent = 0;
      if (running === undefined || running.state !== "RUNNING") return;
      refuseWrongEnclave(running, expected);
    } catch (error) {
      if (!isWorthAnotherTry(error)) throw error;
      silent += 1;
      if (silent >= MAX_SILENT_POLLS) throw error;
      log(`nitro-cli does not describe ${config.name}: ${(error as Error).message}`);
    }
  }
}

/** enclave.json says otherwise, so it was started by somebody else, or the file was changed in between. */
function refuseWrongEnclave({ isDebug, measurements }: RunningEnclave, expected: Measurements): void {
  if (isDebug) throw new HostError("DEBUG_MODE", "it runs in debug mode: its PCRs are zeros, and KMS refuses it");
  if (measurements === null) return;
  const differing = differingPcrs(measurements, expected);
  if (differing.length > 0) {
    throw new HostError("MEASUREMENTS_DIFFER", `the image that runs is not the one expected: ${differing.join(", ")}`);
  }
}

async function find(nitroCli: NitroCli, name: string): Promise<RunningEnclave | undefined> {
  return (await nitroCli.describe()).find((one) => one.name === name);
}
