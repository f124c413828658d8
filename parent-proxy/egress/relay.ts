/** Bytes between the enclave and a destination, by hand: stream.pipeline costs as much as the rest of a short stream. */
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

/** Told of each piece of bytes, by the way that it takes. */
export interface ByteCounters {
  readonly out: (bytes: number) => void;
  readonly in: (bytes: number) => void;
}

/**
 * Carries both directions, each with its own end and its own backpressure, until both streams are closed. One that
 * breaks takes the other along. Both must have listeners for their errors.
 */
export async function relay(
  enclave: Duplex,
  remote: Socket,
  { idleTimeoutMs, count }: { readonly idleTimeoutMs: number; readonly count: ByteCounters },
): Promise<void> {
  const closed = Promise.all([closeOf(enclave, remote), closeOf(remote, enclave)]);
  remote.setTimeout(idleTimeoutMs, () => remote.destroy());
  carry(enclave, remote, count.out);
  carry(remote, enclave, count.in);
  await closed;
}

function carry(source: Duplex, target: Duplex, count: (bytes: number) => void): void {
  source.on("data", (chunk: Uint8Array) => {
    count(chunk.length);
    if (!target.destroyed && !target.write(chunk)) source.pause();
  });
  target.on("drain", () => source.resume());
  // An enclave that has nothing to say ended its direction while the connection was being made.
  if (source.readableEnded) target.end();
  else source.once("end", () => target.end());
  // It was paused behind its first frame.
  source.resume();
}

/** A stream that closed with both of its directions whole leaves the other to write what it still holds. */
function closeOf(stream: Duplex, other: Duplex): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const onClose = () => {
    if (!stream.readableEnded || !stream.writableFinished) other.destroy();
    resolve();
  };
  if (stream.closed) onClose();
  else stream.once("close", onClose);
  return promise;
}
