/** Where the suite's streams run: the kernel's vsock, or unix sockets under the test build of the same addon. */
import { existsSync, unlinkSync } from "node:fs";
import { createRequire } from "node:module";
import type { Duplex } from "node:stream";
import { guestAfVsock, loadNative, type Vsock } from "../../../../vsock/index.ts";
import type { SocketAddon, SocketHandle } from "../../../../vsock/socket-addon.ts";
import { type AfVsock, BACKLOG, socketVsock } from "../../../../vsock/socket-vsock.ts";

/** What vsock.c exports when it is compiled with `CLOISTER_TEST`. */
export interface TestAddon extends SocketAddon {
  listenUnix(path: string, backlog: number): SocketHandle | number;
  connectUnix(path: string): SocketHandle | number;
  /** Sockets that the addon holds memory for. */
  liveSockets(): number;
}

export interface Address {
  /** What a worker needs to open the same. */
  readonly argument: string;
  readonly addonFile: string | undefined;
  readonly addon: SocketAddon;
  /** Both ends are this machine, whose CID on the loopback is 1: a side that serves another CID refuses it. */
  readonly side: (peerCid?: number) => AfVsock;
  readonly listenRaw: (port: number) => SocketHandle | number;
  readonly connectRaw: (port: number) => SocketHandle | number;
  /** Only the test build counts. */
  readonly liveSockets: () => number | undefined;
}

/** linux/vm_sockets.h, `VMADDR_CID_LOCAL`. */
export const LOCAL_CID = 1;

export function vsockAddress(): Address {
  const addon = loadNative("vsock") as SocketAddon;
  return {
    argument: "vsock",
    addonFile: undefined,
    addon,
    side: (peerCid = LOCAL_CID) => guestAfVsock({ parentCid: peerCid }),
    listenRaw: (port) => addon.listen(port, BACKLOG),
    connectRaw: (port) => addon.connect(LOCAL_CID, port, 0, 5_000),
    liveSockets: () => undefined,
  };
}

export function unixAddress(folder: string, addonFile: string): Address {
  const addon = createRequire(import.meta.url)(addonFile) as TestAddon;
  const path = (port: number) => `${folder}/${port}`;
  const listen = (port: number) => addon.listenUnix(path(port), BACKLOG);
  const connect = (port: number) => addon.connectUnix(path(port));
  return {
    argument: `unix:${folder}`,
    addonFile,
    addon,
    side: (peerCid = LOCAL_CID) => socketVsock(addon, { peerCid, listen, connect }),
    listenRaw(port) {
      // Vsock ports are free when their listener is closed; the files of unix sockets stay.
      if (existsSync(path(port))) unlinkSync(path(port));
      return listen(port);
    },
    connectRaw: connect,
    liveSockets: () => addon.liveSockets(),
  };
}

export const CONNECT = { timeoutMs: 20_000 } as const;

let nextPort = 6_000;
/** A worker counts anew, and must not count over what others use. */
export function countPortsFrom(port: number): void {
  nextPort = port;
}

export function freePort(): number {
  nextPort += 1;
  return nextPort;
}

/** Listens, connects `count` streams, and returns both ends of each, in the order in which they were accepted. */
export async function connected(vsock: Vsock, count = 1): Promise<{ client: Duplex; server: Duplex }[]> {
  const port = freePort();
  const accepted: Duplex[] = [];
  const arrived = Promise.withResolvers<void>();
  const listener = await vsock.listen(port, (stream) => {
    accepted.push(stream);
    if (accepted.length === count) arrived.resolve();
  });
  const clients: Duplex[] = [];
  for (let index = 0; index < count; index += 1) clients.push(await vsock.connect(port, CONNECT));
  await arrived.promise;
  await listener.close();
  return accepted.map((server, index) => ({ server, client: clients[index] as Duplex }));
}

/** Runs with a side that is closed afterwards, whatever happens. */
export async function withSide(address: Address, run: (vsock: AfVsock) => Promise<void>): Promise<void> {
  const vsock = address.side();
  try {
    await run(vsock);
  } finally {
    await vsock.close();
  }
}

/** Waits for what streams bring about; the case's deadline bounds it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}
