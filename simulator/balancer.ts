/**
 * What stands before several parents in tests and in `cloister simulate --enclaves`: any request to any of them, and the
 * ones that are for one boot to that boot. It does what docs/scale-out.md has HAProxy do, on loopback, in plain HTTP.
 */
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { BOOT_HEADER, MAX_SEALED_BYTES } from "../protocol/index.ts";
import { SimulatorError } from "./errors.ts";

const PROBE_MS = 200;
const PROBE_TIMEOUT_MS = 1_000;
const ANSWER_TIMEOUT_MS = 60_000;
/** Of a hop, and not to be passed on (RFC 9110, 7.6.1). */
const HOP_HEADERS: ReadonlySet<string> = new Set(["connection", "keep-alive", "transfer-encoding", "content-length"]);

export interface Balancer {
  readonly port: number;
  /** Which parents take requests now, in their order. */
  readonly ready: () => readonly boolean[];
  /** Waits until so many take requests. */
  readonly untilReady: (count: number) => Promise<void>;
  readonly close: () => Promise<void>;
}

interface Backend {
  readonly url: () => string;
  isReady: boolean;
  /** Of the enclave behind it, as `/readyz` tells. */
  boot: string | null;
}

/**
 * @param options.parents - Where each listens now: one that was started anew may listen elsewhere.
 * @throws {@link SimulatorError} `BALANCER_FAILED` where it cannot listen
 */
export async function startBalancer(options: {
  readonly port: number;
  readonly parents: readonly (() => string)[];
}): Promise<Balancer> {
  const backends = options.parents.map((url): Backend => ({ url, isReady: false, boot: null }));
  const agent = new Agent({ keepAlive: true, maxSockets: 256 });
  let next = 0;

  const choose = (boot: string | undefined): Backend | undefined => {
    const ready = backends.filter(({ isReady }) => isReady);
    next += 1;
    return ready.find((backend) => backend.boot === boot) ?? ready[next % ready.length];
  };
  const server = createServer((incoming, outgoing) => {
    void readBody(incoming).then(async (body) => {
      if (body === null) return refuse(outgoing, 413, "PARENT_BODY_TOO_LARGE", "a body that no enclave takes");
      const boot = incoming.headers[BOOT_HEADER];
      // As often as there are parents: one that cannot be connected to has not got the request.
      for (let attempt = 0; attempt < backends.length; attempt += 1) {
        const backend = choose(typeof boot === "string" ? boot : undefined);
        if (backend === undefined) break;
        const outcome = await relay(incoming, body, outgoing, backend.url(), agent);
        if (outcome === "relayed") return;
        backend.isReady = false;
        if (outcome === "lost") break;
      }
      refuse(outgoing, 503, "PARENT_ENCLAVE_UNREACHABLE", "no enclave can be reached");
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", ({ message }) => reject(new SimulatorError("BALANCER_FAILED", message)));
    server.listen(options.port, "127.0.0.1", resolve);
  });
  const probing = setInterval(() => {
    for (const backend of backends) void probe(backend, agent);
  }, PROBE_MS);
  await Promise.all(backends.map((backend) => probe(backend, agent)));
  return {
    port: (server.address() as AddressInfo).port,
    ready: () => backends.map(({ isReady }) => isReady),
    async untilReady(count) {
      while (backends.filter(({ isReady }) => isReady).length < count) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    },
    async close() {
      clearInterval(probing);
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      agent.destroy();
    },
  };
}

async function readBody(incoming: IncomingMessage): Promise<Buffer | null> {
  const parts: Buffer[] = [];
  let length = 0;
  try {
    for await (const part of incoming) {
      length += (part as Buffer).length;
      if (length > MAX_SEALED_BYTES) return null;
      parts.push(part as Buffer);
    }
    return Buffer.concat(parts);
  } catch {
    return null;
  }
}

/** `lost`: it may have arrived, and so is for its sender to repeat, with the same request id. */
function relay(
  incoming: IncomingMessage,
  body: Buffer,
  outgoing: ServerResponse,
  to: string,
  agent: Agent,
): Promise<"relayed" | "not-connected" | "lost"> {
  return new Promise((resolve) => {
    const headers = Object.fromEntries(Object.entries(incoming.headers).filter(([name]) => !HOP_HEADERS.has(name)));
    const call = request(new URL(incoming.url ?? "/", to), {
      method: incoming.method ?? "GET",
      headers: { ...headers, "content-length": body.length },
      agent,
      timeout: ANSWER_TIMEOUT_MS,
    });
    call.once("response", (response) => {
      const kept = Object.entries(response.headers).filter(([name]) => !HOP_HEADERS.has(name));
      outgoing.writeHead(response.statusCode ?? 502, Object.fromEntries(kept));
      response.pipe(outgoing);
      response.once("error", () => outgoing.destroy());
      response.once("close", () => resolve("relayed"));
    });
    call.once("timeout", () => call.destroy());
    call.once("error", (error: NodeJS.ErrnoException) => {
      if (outgoing.headersSent) outgoing.destroy();
      const isRefused = error.code === "ECONNREFUSED";
      resolve(outgoing.headersSent ? "relayed" : isRefused ? "not-connected" : "lost");
    });
    call.end(body);
  });
}

/** Which boot is there, and whether it takes requests. */
function probe(backend: Backend, agent: Agent): Promise<void> {
  return new Promise((resolve) => {
    const end = (boot: string | null, isReady: boolean) => {
      backend.boot = boot;
      backend.isReady = isReady;
      resolve();
    };
    const call = request(new URL("/readyz", backend.url()), { agent, timeout: PROBE_TIMEOUT_MS }, (response) => {
      const boot = response.headers[BOOT_HEADER];
      response.resume();
      end(typeof boot === "string" ? boot : null, response.statusCode === 200);
    });
    call.once("timeout", () => call.destroy());
    call.once("error", () => end(null, false));
    call.end();
  });
}

function refuse(outgoing: ServerResponse, status: number, code: string, message: string): void {
  if (outgoing.headersSent || outgoing.destroyed) return;
  outgoing.writeHead(status, { "content-type": "application/json" });
  outgoing.end(JSON.stringify({ requestId: null, error: { code, message } }));
}
