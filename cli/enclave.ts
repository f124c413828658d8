/** `cloister enclave`: keeps the enclave of this EC2 parent running. systemd starts it (deploy/systemd). */
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import {
  checkImage,
  HostError,
  NitroCli,
  parseEnclaveConfig,
  parseMeasurements,
  runCommand,
  superviseEnclave,
  terminateIfRunning,
} from "../host/index.ts";
import { UsageError } from "./command-io.ts";
import { parseOptions } from "./command-options.ts";
import { measureImage } from "./measure-image.ts";

const HELP = `Usage: cloister enclave <check|run|stop> [options]

  check   is the image the one expected, does it fit its memory, and is it not to run in debug mode?
  run     check, start it by nitro-cli, watch it, and start it again when it ends: after 1 s, 2 s, … 5 min.
          SIGTERM ends it
  stop    end it, whoever started it

  --config FILE         enclave.json, as nitro-cli run-enclave --config takes it; default /etc/cloister/enclave.json
  --measurements FILE   what the build of the image wrote; default /etc/cloister/measurements.json
  --lock FILE           held during a launch, which must be one at a time on a host;
                        default /run/nitro_enclaves/cloister-launch.lock
  --help                show this

Exit status: 0 done, 1 failed, 2 wrong usage, 78 the files are not right and trying again is no use.
`;

/** sysexits.h, EX_CONFIG. deploy/systemd names it in RestartPreventExitStatus. */
const EX_CONFIG = 78;

/** @returns The exit status. */
export async function run(args: readonly string[]): Promise<number> {
  try {
    const { values, positionals } = parse(args);
    if (values.help) {
      console.log(HELP);
      return 0;
    }
    const [command, ...more] = positionals;
    if (more.length > 0) throw new UsageError(`unexpected ${JSON.stringify(more[0])}`);
    // Before the files: whoever asks for nothing is not told what is wrong with them.
    if (command !== "check" && command !== "run" && command !== "stop") {
      throw new UsageError("expected check, run or stop");
    }
    const nitroCli = new NitroCli(runCommand, values.lock);
    const config = await parsed(values.config, parseEnclaveConfig);
    switch (command) {
      case "stop":
        await terminateIfRunning({ config, nitroCli, log });
        return 0;
      case "check":
      case "run": {
        const expected = await parsed(values.measurements, parseMeasurements);
        if (command === "check") {
          checkImage(await measureImage(config.eifPath), expected, config);
          return 0;
        }
        await superviseEnclave(
          { config, configFile: values.config, expected, nitroCli, measure: measureImage, log, nowMs, sleep },
          stopSignal(),
        );
        return 0;
      }
    }
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(`cloister enclave: ${error.message}; "cloister enclave --help" tells more`);
      return 2;
    }
    if (!(error instanceof HostError)) throw error;
    console.error(`cloister enclave: ${error.code}: ${error.message}`);
    return error.code === "NITRO_CLI_FAILED" ? 1 : EX_CONFIG;
  }
}

/** Lines go to the journal, which dates them. */
function log(line: string): void {
  console.error(`cloister enclave: ${line}`);
}

function nowMs(): number {
  return performance.now();
}

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  // An abort is a reason to look, not to fail.
  await delay(ms, undefined, { signal }).catch(() => undefined);
}

function stopSignal(): AbortSignal {
  const stopping = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => stopping.abort());
  return stopping.signal;
}

/** What is said of a file's content says of which file. */
async function parsed<Value>(path: string, parse: (bytes: Uint8Array) => Value): Promise<Value> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw new HostError("CONFIG_INVALID", `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
  try {
    return parse(bytes);
  } catch (cause) {
    if (!(cause instanceof HostError)) throw cause;
    throw new HostError(cause.code, `${path}: ${cause.message}`, { cause });
  }
}

function parse(args: readonly string[]) {
  return parseOptions(args, {
    config: { type: "string", default: "/etc/cloister/enclave.json" },
    measurements: { type: "string", default: "/etc/cloister/measurements.json" },
    lock: { type: "string", default: "/run/nitro_enclaves/cloister-launch.lock" },
    help: { type: "boolean", default: false },
  });
}
