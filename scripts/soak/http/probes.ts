/** The soak's end of the probes: starts processes with one preloaded, and asks them. */
import { readdir, readlink, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type Holdings, PROBE_SOCKET } from "./holdings.ts";

/** A process that was stopped for half a minute answers afterwards. */
const ANSWER_TIMEOUT_MS = 120_000;

interface Probe {
  readonly socket: Socket;
  answered: ((line: string) => void) | undefined;
}

export class Probes {
  readonly #server: Server;
  readonly #path: string;
  readonly #probes = new Map<number, Probe>();

  private constructor(server: Server, path: string) {
    this.#server = server;
    this.#path = path;
    server.on("connection", (socket) => this.#accept(socket));
  }

  static async listen(): Promise<Probes> {
    const path = join(tmpdir(), `cloister-soak-${process.pid}.sock`);
    await rm(path, { force: true });
    const server = createServer();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject).listen(path, resolve);
    await promise;
    return new Probes(server, path);
  }

  /** Every Node process that starts meanwhile has the probe, and what else is to be preloaded. */
  async around<Result>(preload: readonly URL[], start: () => Promise<Result>): Promise<Result> {
    const before = { ...process.env };
    const imports = [new URL("./probe.ts", import.meta.url), ...preload].map(({ href }) => `--import="${href}"`);
    process.env["NODE_OPTIONS"] = [before["NODE_OPTIONS"] ?? "", "--expose-gc", ...imports].join(" ").trim();
    process.env[PROBE_SOCKET] = this.#path;
    try {
      return await start();
    } finally {
      delete process.env[PROBE_SOCKET];
      if (before["NODE_OPTIONS"] === undefined) delete process.env["NODE_OPTIONS"];
      else process.env["NODE_OPTIONS"] = before["NODE_OPTIONS"];
    }
  }

  /** @throws Error for a process that has ended, or does not answer. */
  async ask(pid: number, what: "memory" | "objects"): Promise<Holdings> {
    const probe = this.#probes.get(pid);
    if (probe === undefined) throw new Error(`process ${pid} has no probe, or has ended`);
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const timer = setTimeout(() => reject(new Error(`process ${pid} does not answer its probe`)), ANSWER_TIMEOUT_MS);
    const onClose = () => reject(new Error(`process ${pid} has ended`));
    probe.socket.once("close", onClose);
    probe.answered = resolve;
    probe.socket.write(`${what}\n`);
    try {
      return JSON.parse(await promise) as Holdings;
    } finally {
      clearTimeout(timer);
      probe.socket.off("close", onClose);
    }
  }

  async close(): Promise<void> {
    for (const { socket } of this.#probes.values()) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(socket: Socket): void {
    let probe: Probe | undefined;
    let pid = 0;
    socket.on("error", () => socket.destroy());
    socket.once("close", () => this.#probes.delete(pid));
    createInterface(socket).on("line", (line) => {
      if (probe !== undefined) {
        probe.answered?.(line);
        return;
      }
      pid = (JSON.parse(line) as { readonly pid: number }).pid;
      probe = { socket, answered: undefined };
      this.#probes.set(pid, probe);
    });
  }
}

/** File descriptors of a process by what they are open on; null where there is no /proc. */
export async function descriptorsOf(pid: number): Promise<Readonly<Record<string, number>> | null> {
  const folder = `/proc/${pid}/fd`;
  try {
    const counts: Record<string, number> = {};
    for (const name of await readdir(folder)) {
      // One may be closed meanwhile.
      const target = await readlink(join(folder, name)).catch(() => "");
      const kind = /^(\w+):\[/.exec(target)?.[1] ?? target.replace(/^anon_inode:/, "");
      if (kind !== "") counts[kind] = (counts[kind] ?? 0) + 1;
    }
    return counts;
  } catch {
    return null;
  }
}
