import type { ByteSource } from "../byte-source.ts";

/** The same bytes in pieces of one size, the last one shorter. All share one memory, as {@link ByteSource} allows. */
export async function* rechunk(chunks: AsyncIterable<Uint8Array>, pieceBytes: number): AsyncGenerator<Buffer> {
  const piece = Buffer.alloc(pieceBytes);
  let filled = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; ) {
      const taken = Math.min(pieceBytes - filled, chunk.length - at);
      piece.set(chunk.subarray(at, at + taken), filled);
      filled += taken;
      at += taken;
      if (filled < pieceBytes) continue;
      yield piece;
      filled = 0;
    }
  }
  if (filled > 0) yield piece.subarray(0, filled);
}

/** Ends reading, and with it the writing of whoever reads, once the signal says so. */
export function abortable({ sizeBytes, chunks }: ByteSource, signal: AbortSignal): ByteSource {
  return {
    sizeBytes,
    async *chunks() {
      for await (const chunk of chunks()) {
        signal.throwIfAborted();
        yield chunk;
      }
    },
  };
}
