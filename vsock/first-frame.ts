/** The one frame before a stream goes over to raw bytes. */
import type { Readable } from "node:stream";
import { FrameDecoder } from "../protocol/index.ts";
import { VsockError } from "./errors.ts";

/**
 * Reads one frame and leaves everything that follows it in the stream, unread and unjudged.
 *
 * @param options.timeoutMs - From here to the frame's last byte.
 * @returns The frame's payload. The stream is paused; what follows comes out of it as usual.
 * @throws {@link VsockError} `CALL_TIMEOUT`, `CONNECTION_LOST`
 * @throws ProtocolError `FRAME_TOO_LARGE`, `FRAME_EMPTY`, `FRAME_TRUNCATED`. The stream is left to the caller.
 */
export async function readFirstFrame(
  stream: Readable,
  { timeoutMs }: { readonly timeoutMs: number },
): Promise<Uint8Array> {
  const decoder = new FrameDecoder();
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const timer = setTimeout(() => {
    reject(new VsockError("CALL_TIMEOUT", `no frame within ${timeoutMs} ms`));
  }, timeoutMs);
  const onData = (chunk: Uint8Array) => {
    try {
      const [payload] = decoder.push(chunk, 1);
      if (payload === undefined) return;
      // In this order: a stream that flows would hand the returned bytes to nobody.
      stream.pause();
      stream.off("data", onData);
      const rest = decoder.takeRest();
      if (rest.length > 0) stream.unshift(rest);
      resolve(payload);
    } catch (error) {
      reject(error);
    }
  };
  const onEnd = () => {
    try {
      decoder.end();
      reject(new VsockError("CONNECTION_LOST", "the stream ended before its first frame"));
    } catch (error) {
      reject(error);
    }
  };
  const onClose = () => reject(new VsockError("CONNECTION_LOST", "the stream was lost before its first frame"));
  stream.on("data", onData);
  stream.once("end", onEnd);
  stream.once("close", onClose);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    stream.off("data", onData);
    stream.off("end", onEnd);
    stream.off("close", onClose);
  }
}
