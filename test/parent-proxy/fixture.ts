/** A parent in this process and, on the other end of its sockets, as little of an enclave as a test needs. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { onTestFinished } from "vitest";
import { type ParentProxy, type ParentProxyOptions, startParentProxy } from "../../parent-proxy/index.ts";
import {
  CREDENTIALS_PORT,
  type CredentialsAnswer,
  type CredentialsCall,
  credentialsAnswer,
  type EnclaveAnswer,
  type EnclaveCall,
  enclaveCall,
  RECORDS_PORT,
  REQUEST_PORT,
  type RecordsAnswer,
  type RecordsCall,
  recordsAnswer,
} from "../../protocol/index.ts";
import { CallClient, guestVsock, hostVsock, serveCalls, type Vsock, type WithoutId } from "../../vsock/index.ts";

export type Handle = (call: EnclaveCall) => Promise<WithoutId<EnclaveAnswer>>;

export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "cl-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A log whose lines a test can read. */
export function recordedLog() {
  const lines: Record<string, unknown>[] = [];
  const log = pino({ base: null }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  return { log, lines };
}

export interface Parent {
  readonly proxy: ParentProxy;
  readonly url: string;
  /** The enclave's side. */
  readonly guest: Vsock;
  readonly lines: Record<string, unknown>[];
  readonly folder: string;
}

export async function startParent(options: Partial<ParentProxyOptions> = {}): Promise<Parent> {
  const folder = await temporaryFolder();
  const guest = guestVsock(join(folder, "v"));
  onTestFinished(() => guest.close());
  const { log, lines } = recordedLog();
  const proxy = await startParentProxy({
    vsock: hostVsock(join(folder, "v")),
    http: { host: "127.0.0.1", port: 0 },
    records: { kind: "sqlite", file: join(folder, "records.db") },
    egress: { allow: [], connectTo: new Map() },
    credentials: () => Promise.reject(new Error("none in this test")),
    log,
    ...options,
  });
  onTestFinished(() => proxy.close());
  return { proxy, url: `http://127.0.0.1:${proxy.httpPort}`, guest, lines, folder };
}

/** Answers on REQUEST_PORT as `handle` says. */
export async function startFakeEnclave(guest: Vsock, handle: Handle): Promise<{ readonly calls: EnclaveCall[] }> {
  const calls: EnclaveCall[] = [];
  await guest.listen(REQUEST_PORT, (stream) => {
    serveCalls<EnclaveCall, EnclaveAnswer>(stream, {
      call: enclaveCall,
      handle: (call) => {
        calls.push(call);
        return handle(call);
      },
    });
  });
  return { calls };
}

export const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

export function recordsClient(guest: Vsock) {
  return callClient<RecordsCall, RecordsAnswer>(guest, RECORDS_PORT, recordsAnswer);
}

export function credentialsClient(guest: Vsock) {
  return callClient<CredentialsCall, CredentialsAnswer>(guest, CREDENTIALS_PORT, credentialsAnswer);
}

function callClient<Call extends { readonly id: number }, Answer extends { readonly id: number }>(
  guest: Vsock,
  port: number,
  answer: ConstructorParameters<typeof CallClient<Call, Answer>>[0]["answer"],
) {
  const client = new CallClient<Call, Answer>({ open: () => guest.connect(port, { timeoutMs: 5_000 }), answer });
  onTestFinished(() => client.close());
  return (call: WithoutId<Call>) => client.call(call, { timeoutMs: 10_000 });
}

/** A TCP server on loopback. */
export async function startTcp(accept: (socket: Socket) => void, host = "127.0.0.1"): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    accept(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as { port: number }).port;
}

/** Waits for a condition that another process or stream brings about; the test's own timeout bounds it. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}
