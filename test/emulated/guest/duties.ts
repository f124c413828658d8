/** What init should have prepared, as the enclave's own user finds it. */
import {
  accessSync,
  type Dirent,
  constants as files,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { openNsmDevice } from "../../../enclave/nsm/nsm-device.ts";
import { loadNative } from "../../../vsock/index.ts";
import type { SocketAddon } from "../../../vsock/socket-addon.ts";

/** nitro.md 2.3: Attestation with nothing in it. */
const ATTESTATION = Buffer.from(
  "a16b4174746573746174696f6ea369757365725f64617461f6656e6f6e6365f66a7075626c69635f6b6579f6",
  "hex",
);
/** linux/vm_sockets.h has 1023 as the last reserved one. */
const FIRST_UNPRIVILEGED_PORT = 1024;
const WRITE_TO = ["/probe", "/app/main.mjs", "/app/probe", "/etc/cloister/cloister.yaml", "/dev/probe", "/tmp/probe"];

export async function lookAround(): Promise<object> {
  const nsm = await openNsmDevice();
  const document = Buffer.from(await nsm.process(ATTESTATION));
  await nsm.close();
  return {
    status: fieldsOf("/proc/self/status", ["Uid", "Gid", "Groups", "NoNewPrivs", "CapEff", "CapPrm", "CapBnd"]),
    limits: readFileSync("/proc/self/limits", "latin1").match(/^Max core file size .*$/m)?.[0],
    environment: process.env,
    flags: process.execArgv,
    openFiles: openFiles(),
    mounts: readFileSync("/proc/self/mounts", "latin1").trim().split("\n"),
    processes: readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name)).length,
    writes: Object.fromEntries(WRITE_TO.map((path) => [path, tryToWrite(path)])),
    writable: writableBelow("/"),
    hwrng: readFileSync("/sys/class/misc/hw_random/rng_current", "latin1").trim(),
    nsmAnswer: document.toString("base64"),
  };
}

/** Everything that listens, in every family that has a table; vsock, which has none, is asked port by port. */
export async function readSockets(): Promise<object> {
  const table = (name: string): string[] => {
    try {
      return readFileSync(`/proc/net/${name}`, "latin1").trim().split("\n").slice(1);
    } catch {
      return [];
    }
  };
  const names = ["tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet", "unix"];
  return { ...Object.fromEntries(names.map((name) => [name, table(name)])), vsock: boundPorts() };
}

/** Ports of 16 bits that somebody has. Those below 1024 nobody but root can have, and asking is refused. */
function boundPorts(): number[] {
  const addon = loadNative("vsock") as SocketAddon;
  const bound: number[] = [];
  for (let port = FIRST_UNPRIVILEGED_PORT; port <= 0xffff; port += 1) {
    const listener = addon.listen(port, 1);
    if (typeof listener === "object") addon.close(listener);
    else if (listener === -constants.errno.EADDRINUSE) bound.push(port);
    else throw new Error(`port ${port}: ${listener}`);
  }
  return bound;
}

function fieldsOf(path: string, names: readonly string[]): Record<string, string> {
  const lines = readFileSync(path, "latin1").split("\n");
  return Object.fromEntries(
    names.map((name) => [
      name,
      lines
        .find((line) => line.startsWith(`${name}:`))
        ?.slice(name.length + 1)
        .trim() ?? "",
    ]),
  );
}

function openFiles(): string[] {
  return readdirSync("/proc/self/fd").map((fd) => {
    try {
      return statSync(join("/proc/self/fd", fd)).isCharacterDevice() ? "device" : "other";
    } catch {
      return "gone";
    }
  });
}

function tryToWrite(path: string): string {
  try {
    writeFileSync(path, "probe");
    return "written";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "unknown";
  }
}

/** Regular files and folders that this user may write to; devices and the kernel's own file systems aside. */
function writableBelow(folder: string, found: string[] = []): string[] {
  for (const entry of entriesOf(folder)) {
    const path = join(folder, entry.name);
    if (["/proc", "/sys"].includes(path)) continue;
    if ((entry.isFile() || entry.isDirectory()) && mayWrite(path)) found.push(path);
    if (entry.isDirectory()) writableBelow(path, found);
  }
  return found;
}

/** None of a folder that this user may not even read. */
function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

function mayWrite(path: string): boolean {
  try {
    accessSync(path, files.W_OK);
    return true;
  } catch {
    return false;
  }
}
