/** Frames on every vsock port: `u32` big-endian length, then that many bytes of CBOR (design section 5). */
import { ProtocolError } from "./errors.ts";
import { MAX_FRAME_BYTES } from "./limits.ts";

export const FRAME_HEAD_BYTES = 4;

/**
 * Puts a length before a payload.
 *
 * @throws {@link ProtocolError} `FRAME_TOO_LARGE`, `FRAME_EMPTY`
 */
export function encodeFrame(payload: Uint8Array): Uint8Array<ArrayBuffer> {
  checkLength(payload.length);
  const frame = new Uint8Array(FRAME_HEAD_BYTES + payload.length);
  new DataView(frame.buffer).setUint32(0, payload.length);
  frame.set(payload, FRAME_HEAD_BYTES);
  return frame;
}

/**
 * Cuts a byte stream into frames, however the stream was split. Holds at most one unfinished frame.
 * After it has thrown, the stream is out of step and every later call throws the same error.
 */
export class FrameDecoder {
  #parts: Uint8Array[] = [];
  #heldBytes = 0;
  /** Bytes to hold before anything new can be known: the head's, then the whole frame's. */
  #wantedBytes = FRAME_HEAD_BYTES;
  #failure: ProtocolError | undefined;

  /**
   * Takes the next bytes of the stream.
   *
   * @param limit - Cut at most so many frames and keep what follows uncut, so that {@link takeRest} can hand it over:
   *   raw bytes after the last frame must not be read as the head of another.
   * @returns The payloads that are complete now, in order. They may share memory with `bytes`.
   * @throws {@link ProtocolError} `FRAME_TOO_LARGE`, `FRAME_EMPTY`: before any byte of that frame's body is held.
   */
  push(bytes: Uint8Array, limit: number = Number.POSITIVE_INFINITY): Uint8Array[] {
    if (this.#failure !== undefined) throw this.#failure;
    if (bytes.length > 0) {
      this.#parts.push(bytes);
      this.#heldBytes += bytes.length;
    }
    if (this.#heldBytes < this.#wantedBytes) return [];

    const payloads: Uint8Array[] = [];
    let rest = this.#takeHeld();
    while (rest.length >= FRAME_HEAD_BYTES && payloads.length < limit) {
      const length = new DataView(rest.buffer, rest.byteOffset, rest.byteLength).getUint32(0);
      try {
        checkLength(length);
      } catch (cause) {
        if (cause instanceof ProtocolError) this.#failure = cause;
        throw cause;
      }
      const frameBytes = FRAME_HEAD_BYTES + length;
      if (rest.length < frameBytes) {
        this.#wantedBytes = frameBytes;
        break;
      }
      payloads.push(rest.subarray(FRAME_HEAD_BYTES, frameBytes));
      rest = rest.subarray(frameBytes);
    }
    if (rest.length > 0) this.#parts.push(rest);
    this.#heldBytes = rest.length;
    return payloads;
  }

  /**
   * Says that the stream has ended.
   *
   * @throws {@link ProtocolError} `FRAME_TRUNCATED` if it ended inside a frame.
   */
  end(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#heldBytes > 0)
      throw new ProtocolError("FRAME_TRUNCATED", `stream ended ${this.#heldBytes} bytes into a frame`);
  }

  /** Hands over what follows the last complete frame, for a stream that goes over from frames to raw bytes. */
  takeRest(): Uint8Array {
    return this.#takeHeld();
  }

  #takeHeld(): Uint8Array {
    const [first, ...others] = this.#parts;
    this.#parts = [];
    this.#heldBytes = 0;
    this.#wantedBytes = FRAME_HEAD_BYTES;
    if (first === undefined) return new Uint8Array(0);
    if (others.length === 0) return first;
    const all = new Uint8Array(others.reduce((sum, part) => sum + part.length, first.length));
    let at = 0;
    for (const part of [first, ...others]) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}

function checkLength(length: number): void {
  if (length === 0) throw new ProtocolError("FRAME_EMPTY", "a frame of no bytes");
  if (length > MAX_FRAME_BYTES) {
    throw new ProtocolError("FRAME_TOO_LARGE", `a frame of ${length} bytes, limit ${MAX_FRAME_BYTES}`);
  }
}
