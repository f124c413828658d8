/** The enclave's way out: TLS ends in the enclave, so that what passes here is bytes. They are counted, never kept. */
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Logger } from "pino";
import {
  decodeCbor,
  type EgressAnswer,
  type EgressCall,
  egressCall,
  encodeCbor,
  encodeFrame,
} from "../../protocol/index.ts";
import { readFirstFrame } from "../../vsock/index.ts";
import type { ParentLimits } from "../limits.ts";
import type { Metrics } from "../metrics.ts";
import { connectFirst } from "./connect-first.ts";
import { type EgressOptions, findDestination, type Refusal, type Resolve } from "./destination.ts";

const FIRST_FRAME_TIMEOUT_MS = 10_000;

export interface EgressServerOptions {
  readonly egress: EgressOptions;
  readonly resolve: Resolve;
  readonly limits: ParentLimits;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/** @returns What takes each stream of EGRESS_PORT. It never rejects, and leaves no stream behind. */
export function createEgressServer(options: EgressServerOptions): (stream: Duplex) => Promise<void> {
  const { limits, metrics, log } = options;
  let streams = 0;

  return async (stream) => {
    // Without a listener an error would end the process; the stream's close says the rest.
    stream.on("error", () => {});
    streams += 1;
    try {
      const call = decodeCbor(egressCall, await readFirstFrame(stream, { timeoutMs: FIRST_FRAME_TIMEOUT_MS }));
      await serveStream(stream, call, options, streams > limits.maxEgressStreams);
    } catch (error) {
      log.warn({ err: error }, "an egress stream broke");
      metrics.egressAnswers.inc({ destination: "other", answer: "BROKEN" });
    } finally {
      streams -= 1;
      stream.destroy();
    }
  };
}

async function serveStream(
  stream: Duplex,
  call: EgressCall,
  { egress, resolve, limits, metrics, log }: EgressServerOptions,
  isBusy: boolean,
): Promise<void> {
  const name = `${call.host}:${call.port}`;
  const destination = egress.allow.includes(name) ? name : "other";
  const refuse = async (reason: Refusal, cause?: unknown) => {
    // The name is the enclave's own wish and no secret; without it nobody could mend the allow-list.
    log.warn({ destination: name, reason, err: cause }, "egress refused");
    metrics.egressAnswers.inc({ destination, answer: reason });
    await sendLast(stream, { kind: "refused", reason });
  };
  if (isBusy) return refuse("BUSY");

  const remote = await dial(stream, call, { egress, resolve, timeoutMs: limits.egressConnectTimeoutMs });
  if (remote.kind === "refused") return refuse(remote.reason, remote.cause);

  metrics.egressAnswers.inc({ destination, answer: "connected" });
  metrics.egressStreams.inc({ destination });
  try {
    sendAnswer(stream, { kind: "connected" });
    await relay(stream, remote.socket, limits.egressIdleTimeoutMs, (direction, bytes) =>
      metrics.egressBytes.inc({ destination, direction }, bytes),
    );
  } finally {
    metrics.egressStreams.dec({ destination });
    remote.socket.destroy();
  }
}

type Dialled =
  | { readonly kind: "connected"; readonly socket: Socket }
  | { readonly kind: "refused"; readonly reason: Refusal; readonly cause?: unknown };

/** One deadline over the look-up and every attempt; an enclave that goes away meanwhile ends it too. */
async function dial(
  stream: Duplex,
  call: EgressCall,
  options: { readonly egress: EgressOptions; readonly resolve: Resolve; readonly timeoutMs: number },
): Promise<Dialled> {
  const abort = new AbortController();
  const giveUp = () => abort.abort(new Error("the enclave gave up"));
  const timer = setTimeout(() => abort.abort(new Error(`not within ${options.timeoutMs} ms`)), options.timeoutMs);
  stream.once("close", giveUp);
  try {
    const found = await orAbort(findDestination(call, options.egress, options.resolve), abort.signal);
    if (found.kind === "refused") return found;
    return {
      kind: "connected",
      socket: await connectFirst(found.addresses, { port: found.port, signal: abort.signal }),
    };
  } catch (cause) {
    return { kind: "refused", reason: "UNREACHABLE", cause };
  } finally {
    clearTimeout(timer);
    stream.off("close", giveUp);
  }
}

/** A look-up cannot be cancelled, only left. */
async function orAbort<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  const { promise, reject } = Promise.withResolvers<never>();
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  return Promise.race([work, promise]);
}

/** Both directions, each with its own end and its own backpressure. */
async function relay(
  enclave: Duplex,
  remote: Socket,
  idleTimeoutMs: number,
  count: (direction: "out" | "in", bytes: number) => void,
): Promise<void> {
  remote.setTimeout(idleTimeoutMs, () => remote.destroy(new Error(`no byte for ${idleTimeoutMs} ms`)));
  const out = pipeline(enclave, remote);
  const back = pipeline(remote, enclave);
  enclave.on("data", (chunk: Uint8Array) => count("out", chunk.length));
  remote.on("data", (chunk: Uint8Array) => count("in", chunk.length));
  // One direction that breaks takes the other along; which of the two says so first does not matter.
  await Promise.allSettled([out.catch(() => remote.destroy()), back.catch(() => enclave.destroy())]);
}

function sendAnswer(stream: Duplex, answer: EgressAnswer): void {
  stream.write(encodeFrame(encodeCbor(answer)));
}

async function sendLast(stream: Duplex, answer: EgressAnswer): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  stream.once("close", resolve);
  stream.end(encodeFrame(encodeCbor(answer)), resolve);
  await promise;
}
