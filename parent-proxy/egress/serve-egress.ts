/** The enclave's way out: TLS ends in the enclave, so that what passes here is bytes. They are counted, never kept. */
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
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
import { AddressBook } from "./address-book.ts";
import { DEFAULT_STREAMS_PER_DESTINATION, type EgressOptions, type Refusal, type Resolve } from "./destination.ts";
import { type Dialled, dial } from "./dial.ts";
import { relay } from "./relay.ts";

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
  const state: ServerState = { addresses: new AddressBook(() => performance.now()), streamsOf: new Map() };
  let streams = 0;

  return async (stream) => {
    // Without a listener an error would end the process; the stream's close says the rest.
    stream.on("error", () => {});
    streams += 1;
    try {
      const call = decodeCbor(egressCall, await readFirstFrame(stream, { timeoutMs: FIRST_FRAME_TIMEOUT_MS }));
      await serveStream(stream, call, { ...options, ...state, isBusy: streams > limits.maxEgressStreams });
    } catch (error) {
      log.warn({ err: error }, "an egress stream broke");
      metrics.egressAnswers.inc({ destination: "other", answer: "BROKEN" });
    } finally {
      streams -= 1;
      stream.destroy();
    }
  };
}

/** What one server keeps from stream to stream. */
interface ServerState {
  readonly addresses: AddressBook;
  /** Streams now, by destination. */
  readonly streamsOf: Map<string, number>;
}

async function serveStream(
  stream: Duplex,
  call: EgressCall,
  options: EgressServerOptions & ServerState & { readonly isBusy: boolean },
): Promise<void> {
  const { egress, metrics, log, streamsOf, isBusy } = options;
  const name = `${call.host}:${call.port}`;
  const destination = egress.allow.includes(name) ? name : "other";
  const refuse = async (reason: Refusal, cause?: unknown) => {
    // The name is the enclave's own wish and no secret; without it nobody could mend the allow-list.
    log.warn({ destination: name, reason, err: cause }, "egress refused");
    metrics.egressAnswers.inc({ destination, answer: reason });
    await sendLast(stream, { kind: "refused", reason });
  };
  const already = streamsOf.get(destination) ?? 0;
  if (isBusy || already >= (egress.maxStreamsPerDestination ?? DEFAULT_STREAMS_PER_DESTINATION)) return refuse("BUSY");
  streamsOf.set(destination, already + 1);
  try {
    const remote = await dialInTime(stream, call, destination, options);
    if (remote.kind === "refused") return await refuse(remote.reason, remote.cause);
    metrics.egressAnswers.inc({ destination, answer: "connected" });
    await serveConnected(stream, remote.socket, destination, options);
  } finally {
    streamsOf.set(destination, (streamsOf.get(destination) ?? 1) - 1);
  }
}

async function serveConnected(
  stream: Duplex,
  socket: Socket,
  destination: string,
  { limits, metrics }: EgressServerOptions,
): Promise<void> {
  metrics.egressStreams.inc({ destination });
  try {
    sendAnswer(stream, { kind: "connected" });
    // Found once: looking a series up by its labels for each piece of bytes would be felt.
    const out = metrics.egressBytes.labels({ destination, direction: "out" });
    const back = metrics.egressBytes.labels({ destination, direction: "in" });
    const count = { out: (bytes: number) => out.inc(bytes), in: (bytes: number) => back.inc(bytes) };
    await relay(stream, socket, { idleTimeoutMs: limits.egressIdleTimeoutMs, count });
  } finally {
    metrics.egressStreams.dec({ destination });
    socket.destroy();
  }
}

/** One deadline over the look-ups and every attempt; an enclave that goes away meanwhile ends it too. */
async function dialInTime(
  stream: Duplex,
  call: EgressCall,
  destination: string,
  { egress, resolve, limits, metrics, addresses }: EgressServerOptions & ServerState,
): Promise<Dialled> {
  const timeoutMs = limits.egressConnectTimeoutMs;
  const abort = new AbortController();
  const giveUp = () => abort.abort(new Error("the enclave gave up"));
  const timer = setTimeout(() => abort.abort(new Error(`not within ${timeoutMs} ms`)), timeoutMs);
  stream.once("close", giveUp);
  const startedAt = performance.now();
  const onFailure = () => metrics.egressConnectFailures.inc({ destination });
  try {
    const dialled = await dial(call, { egress, resolve, addresses, signal: abort.signal, onFailure });
    if (dialled.kind === "connected") {
      metrics.egressConnectSeconds.observe({ destination }, (performance.now() - startedAt) / 1000);
    }
    return dialled;
  } finally {
    clearTimeout(timer);
    stream.off("close", giveUp);
  }
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
