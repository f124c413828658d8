/** `cloister emulate`: boots an image in QEMU and keeps parent and simulated AWS around it until Ctrl-C. */
import { parseArgs } from "node:util";
import {
  type BootPhase,
  type BootReport,
  DEFAULT_EIF,
  DEFAULT_MEMORY_MIB,
  type Emulation,
  SimulatorError,
  startEmulation,
} from "../simulator/index.ts";
import { introduce, parsePort, stopSignal, withdraw } from "./introduce.ts";

const HELP = `Usage: cloister emulate [--eif FILE] [--memory MIB] [--port N] [--state FOLDER] [--as-is] [--console] [--verbose]

Boots the enclave's image in QEMU's Nitro Enclave machine ("make emulator" builds it) and runs the parent, a KMS and a
login issuer around it, as "cloister simulate" does around a process. KMS admits this very image: its key policy demands
the PCR0 that was computed from the file. QEMU's NSM signs under a root of this simulator's own.

  --eif FILE       the image (default ${DEFAULT_EIF}); it boots with one ramdisk more, which holds the manifest of the
                   simulated deployment and the root of its TLS certificates
  --as-is          boot FILE unchanged: it attests, but its own manifest names a KMS key that is not here
  --memory MIB     the machine's memory (default ${DEFAULT_MEMORY_MIB})
  --port N         HTTP port on 127.0.0.1 (default 8080; 0 takes a free one)
  --state FOLDER   where wallets, KMS keys and the manifest are kept (default .cloister)
  --console        show the machine's console
  --verbose        show what the parent, KMS, QEMU and its devices log
  --help           show this

Ctrl-C stops every process. Started again on the same folder, the same wallets sign again.
Exit status: 0 stopped, 1 failed or the enclave ended, 2 wrong usage.
`;

interface Options {
  readonly eif: string;
  readonly memoryMiB: number;
  readonly port: number;
  readonly state: string;
  readonly asIs: boolean;
  readonly showsConsole: boolean;
  readonly verbose: boolean;
}

/** @returns The exit status. */
export async function run(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  if (typeof options === "number") return options;
  const stopped = stopSignal();
  let emulation: Emulation;
  try {
    const signal = new AbortController();
    void stopped.then(() => signal.abort());
    emulation = await start(options, signal.signal);
  } catch (error) {
    if (!(error instanceof SimulatorError)) throw error;
    if (error.code === "STOPPED") return 0;
    console.error(`cloister emulate: ${error.code}: ${error.message}`);
    return 1;
  }
  try {
    await introduce(emulation, options.state);
    const end = await Promise.race([stopped, emulation.enclaveEnded()]);
    console.log(end === undefined ? "stopping" : `the enclave has ended. ${end}`);
    return end === undefined ? 0 : 1;
  } finally {
    await withdraw(options.state);
    await emulation.stop();
  }
}

function start({ asIs, port, state, verbose, ...options }: Options, signal: AbortSignal): Promise<Emulation> {
  return startEmulation({
    signal,
    ...{ eif: options.eif, memoryMiB: options.memoryMiB, asIs, httpPort: port, stateFolder: state },
    // An image that brings its own manifest cannot open a vault here.
    waitForReady: !asIs,
    ...(verbose ? { log: (line: string) => console.error(line) } : {}),
    ...(options.showsConsole ? { onConsole: (line: string) => console.error(`| ${line}`) } : {}),
    onBoot: printPhases,
    onHeartbeat: () => console.log("             heartbeat answered on port 9000"),
  });
}

/** Each phase with the time that it took, the machine's own beginnings first. */
function printPhases(report: BootReport): void {
  let beforeMs = 0;
  const print = (ms: number, what: string): void => console.log(`${ms.toFixed(0).padStart(8)} ms  ${what}`);
  report.onPhase = ({ name, guestMs, hostMs }: BootPhase) => {
    if (beforeMs === 0) {
      print(hostMs - guestMs, "QEMU, firmware, and the kernel that unpacks itself");
      print(guestMs, `kernel, to the end of init's "${name}"`);
    } else {
      print(hostMs - beforeMs, name);
    }
    beforeMs = hostMs;
  };
}

function readOptions(args: readonly string[]): Options | number {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        eif: { type: "string", default: DEFAULT_EIF },
        memory: { type: "string", default: String(DEFAULT_MEMORY_MIB) },
        port: { type: "string", default: "8080" },
        state: { type: "string", default: ".cloister" },
        "as-is": { type: "boolean", default: false },
        console: { type: "boolean", default: false },
        verbose: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      console.log(HELP);
      return 0;
    }
    if (!/^[1-9][0-9]{1,5}$/.test(values.memory)) throw new Error("--memory: expected MiB, 10 at least");
    const { eif, state, verbose, console: showsConsole, "as-is": asIs } = values;
    return { eif, state, verbose, showsConsole, asIs, memoryMiB: Number(values.memory), port: parsePort(values.port) };
  } catch (error) {
    console.error(`cloister emulate: ${(error as Error).message}; "cloister emulate --help" tells more`);
    return 2;
  }
}
