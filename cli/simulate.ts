/** `cloister simulate`: keeps a simulator running until Ctrl-C. */
import { parseArgs } from "node:util";
import { SimulatorError, startCluster, startSimulator } from "../simulator/index.ts";
import { introduce, parsePort, stopSignal, withdraw } from "./introduce.ts";

const HELP = `Usage: cloister simulate [--port N] [--state FOLDER] [--enclaves N --database WHERE] [--workers N] [--verbose]

Runs an enclave and its parent as processes on this machine, with a KMS, an NSM and a login issuer that refuse what the
real ones refuse. Its keys and its attestation root are its own: nothing that it signs or attests is worth anything
elsewhere.

  --port N         HTTP port on 127.0.0.1 (default 8080; 0 takes a free one)
  --state FOLDER   where wallets, KMS keys and the manifest are kept (default .cloister)
  --enclaves N     so many enclaves, each with a parent of its own, behind one balancer (default 1)
  --database WHERE where several keep their records: postgres://user@127.0.0.1/database, or "local" for a PostgreSQL
                   server of its own, from this machine's binaries, whose records end with it
  --workers N      threads that sign beside the main one of each enclave (default 0; an image has one for each processor)
  --verbose        show what the enclave, the parent and KMS log
  --help           show this

Ctrl-C stops every process. Started again on the same folder, the same wallets sign again.
Exit status: 0 stopped, 1 failed, 2 wrong usage.
`;

/** @returns The exit status. */
export async function run(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  if (typeof options === "number") return options;
  const { state } = options;
  const stopped = stopSignal();
  const stopping = new AbortController();
  void stopped.then(() => stopping.abort());
  let simulator: Awaited<ReturnType<typeof start>>;
  try {
    simulator = await start(options, stopping.signal);
  } catch (error) {
    if (!(error instanceof SimulatorError)) throw error;
    if (error.code === "STOPPED") return 0;
    if (error.code === "DATABASE_INVALID") return complain(`--database: ${error.message}`);
    console.error(`cloister simulate: ${error.code}: ${error.message}`);
    return 1;
  }
  try {
    await introduce(simulator, state);
    await stopped;
    console.log("stopping");
  } finally {
    await withdraw(state);
    await simulator.stop();
  }
  return 0;
}

interface Options {
  readonly port: number;
  readonly state: string;
  readonly verbose: boolean;
  readonly enclaves: number;
  /** Null for one enclave alone, on SQLite. */
  readonly database: string | null;
  readonly workers: number;
}

function start({ port, state, verbose, enclaves, database, workers }: Options, signal: AbortSignal) {
  const common = { httpPort: port, stateFolder: state, signingWorkers: workers, signal };
  const log = verbose ? { log: (line: string) => console.error(line) } : {};
  return database === null
    ? startSimulator({ ...common, ...log })
    : startCluster({ ...common, ...log, enclaves, database });
}

function readOptions(args: readonly string[]): Options | number {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        port: { type: "string", default: "8080" },
        state: { type: "string", default: ".cloister" },
        enclaves: { type: "string", default: "1" },
        database: { type: "string" },
        workers: { type: "string", default: "0" },
        verbose: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      console.log(HELP);
      return 0;
    }
    const { state, verbose, database = null } = values;
    if (!/^[1-9][0-9]?$/.test(values.enclaves)) throw new Error("--enclaves: expected 1 to 99");
    if (!/^(?:0|[1-9]|[1-5][0-9]|6[0-4])$/.test(values.workers)) throw new Error("--workers: expected 0 to 64");
    const enclaves = Number(values.enclaves);
    if (enclaves > 1 && database === null) throw new Error("--enclaves: several need a --database that they share");
    return { port: parsePort(values.port), state, verbose, enclaves, database, workers: Number(values.workers) };
  } catch (error) {
    return complain((error as Error).message);
  }
}

function complain(message: string): number {
  console.error(`cloister simulate: ${message}; "cloister simulate --help" tells more`);
  return 2;
}
