/** A PostgreSQL server of one's own, from the binaries that this machine has, on loopback and a unix socket. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chownSync, globSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SimulatorError } from "./errors.ts";

/** Debian's place. */
const BINARIES = "/usr/lib/postgresql/*/bin";
/** The server refuses to run as root. Debian's `nobody`. */
const UNPRIVILEGED = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

/**
 * Waits for the end of its standard input, which comes when this process has ended, however: then the server ends too, and its
 * folder goes. A database that nobody can reach any more would else stay for good.
 */
const GUARD = `
while read -r _; do :; done
kill -QUIT "$1" || exit 0
while kill -0 "$1"; do sleep 0.1; done
rm -rf "$2"
`;

export const isPostgresAbsent = globSync(BINARIES).length === 0;

/**
 * Where the newest version is.
 *
 * @throws {@link SimulatorError} `POSTGRES_ABSENT`
 */
export function postgresBinaries(places: string = BINARIES): string {
  const [newest] = globSync(places).toSorted().reverse();
  if (newest === undefined) throw new SimulatorError("POSTGRES_ABSENT", `no PostgreSQL is installed: ${places}`);
  return newest;
}

export interface PostgresServer {
  readonly port: number;
  /** The superuser, whom the socket's folder lets in without a password; loopback asks for one. */
  readonly admin: { readonly host: string; readonly port: number; readonly user: string; readonly database: string };
  /** SIGKILL, as a lost machine. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

/**
 * Starts one in a folder of its own, which goes with it.
 *
 * @param settings - As in postgresql.conf.
 * @param cleanUp - Takes what undoes this.
 * @param under - Where that folder is made.
 * @param files - Put into the data folder before the start, for the server's eyes alone.
 * @throws {@link SimulatorError} `POSTGRES_ABSENT`, `PROCESS_FAILED`
 */
export async function startLocalPostgres(
  settings: Readonly<Record<string, string>>,
  cleanUp: (undo: () => Promise<void>) => void,
  files: Readonly<Record<string, string>> = {},
  under: string = tmpdir(),
): Promise<PostgresServer> {
  const binaries = postgresBinaries();
  const folder = await mkdtemp(join(under, "cl-pg-"));
  cleanUp(() => rm(folder, { recursive: true, force: true }));
  if (UNPRIVILEGED.uid !== undefined) chownSync(folder, UNPRIVILEGED.uid, UNPRIVILEGED.gid);
  const data = join(folder, "data");
  const initdb = [
    "-D",
    data,
    "-U",
    "admin",
    "--no-sync",
    "--encoding=UTF8",
    "--auth-local=trust",
    "--auth-host=scram-sha-256",
  ];
  execFileSync(join(binaries, "initdb"), initdb, { ...UNPRIVILEGED, stdio: "ignore", cwd: folder });
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(data, name), content, { mode: 0o600 });
    if (UNPRIVILEGED.uid !== undefined) chownSync(join(data, name), UNPRIVILEGED.uid, UNPRIVILEGED.gid);
  }
  const port = await freePort();
  const all = { listen_addresses: "127.0.0.1", port: String(port), unix_socket_directories: folder, ...settings };
  const lines = Object.entries(all).map(([name, value]) => `${name} = '${value}'\n`);
  await writeFile(join(data, "postgresql.auto.conf"), lines.join(""));
  let server: ChildProcess | undefined;
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    const running = server;
    server = undefined;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const exited = new Promise((resolve) => running.once("exit", resolve));
    running.kill(signal);
    await exited;
  };
  const start = async (): Promise<void> => {
    const started = spawn(join(binaries, "postgres"), ["-D", data], { ...UNPRIVILEGED, cwd: folder, detached: true });
    server = started;
    guard(started, folder);
    // Of a shut-down, a crash or a start: said once it takes connections.
    await new Promise<void>((resolve, reject) => {
      let said = "";
      started.stderr.on("data", (chunk: Buffer) => {
        said += chunk.toString();
        if (said.includes("database system is ready to accept connections")) resolve();
      });
      started.once("exit", () => reject(new SimulatorError("PROCESS_FAILED", `PostgreSQL did not start:\n${said}`)));
    });
  };
  cleanUp(() => end("SIGQUIT"));
  await start();
  return {
    port,
    admin: { host: folder, port, user: "admin", database: "postgres" },
    kill: () => end("SIGKILL"),
    start,
  };
}

/** Ends what was started, should this process be killed before it can. */
function guard(server: ChildProcess, folder: string): void {
  if (server.pid === undefined) return;
  const guarding = spawn("/bin/sh", ["-c", GUARD, "guard", String(server.pid), folder], {
    ...{ ...UNPRIVILEGED, cwd: "/", detached: true },
    stdio: ["pipe", "ignore", "ignore"],
  });
  // Neither keeps this process from ending.
  guarding.unref();
  if (guarding.stdin instanceof Socket) guarding.stdin.unref();
  guarding.once("error", () => {});
  // Its process id may be another's by then.
  server.once("exit", () => guarding.kill("SIGKILL"));
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
