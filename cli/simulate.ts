/** `cloister simulate`: keeps a simulator running until Ctrl-C. */
import { parseArgs } from "node:util";
import { type Simulator, SimulatorError, startSimulator } from "../simulator/index.ts";
import { introduce, parsePort, stopSignal } from "./introduce.ts";

const HELP = `Usage: cloister simulate [--port N] [--state FOLDER] [--verbose]

Runs an enclave and its parent as processes on this machine, with a KMS, an NSM and a login issuer that refuse what the
real ones refuse. Its keys and its attestation root are its own: nothing that it signs or attests is worth anything
elsewhere.

  --port N         HTTP port on 127.0.0.1 (default 8080; 0 takes a free one)
  --state FOLDER   where wallets, KMS keys and the manifest are kept (default .cloister)
  --verbose        show what the enclave, the parent and KMS log
  --help           show this

Ctrl-C stops every process. Started again on the same folder, the same wallets sign again.
Exit status: 0 stopped, 1 failed, 2 wrong usage.
`;

/** @returns The exit status. */
export async function run(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  if (typeof options === "number") return options;
  const { port, state, verbose } = options;
  const stopped = stopSignal();
  let simulator: Simulator;
  try {
    simulator = await startSimulator({
      httpPort: port,
      stateFolder: state,
      ...(verbose ? { log: (line: string) => console.error(line) } : {}),
    });
  } catch (error) {
    if (!(error instanceof SimulatorError)) throw error;
    console.error(`cloister simulate: ${error.code}: ${error.message}`);
    return 1;
  }
  try {
    await introduce(simulator, state);
    await stopped;
    console.log("stopping");
  } finally {
    await simulator.stop();
  }
  return 0;
}

function readOptions(args: readonly string[]): { port: number; state: string; verbose: boolean } | number {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        port: { type: "string", default: "8080" },
        state: { type: "string", default: ".cloister" },
        verbose: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      console.log(HELP);
      return 0;
    }
    return { port: parsePort(values.port), state: values.state, verbose: values.verbose };
  } catch (error) {
    console.error(`cloister simulate: ${(error as Error).message}; "cloister simulate --help" tells more`);
    return 2;
  }
}
