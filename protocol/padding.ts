/**
 * Hides how long a message is: `u32` length ‖ message ‖ zeros, up to the next of 1 KiB, 2 KiB, 4 KiB … Whoever sees the
 * sealed bytes learns in which of eleven sizes it lies, and a login looks like a signature of a small transaction.
 */
import { ProtocolError } from "./errors.ts";
import { MAX_FRAME_BYTES } from "./limits.ts";

const SMALLEST_BYTES = 1024;
/** In place of 1 MiB, which with what seals it is greater than a frame. */
const LARGEST_BYTES = MAX_FRAME_BYTES - 1024;
const LENGTH_BYTES = 4;

/** @throws RangeError for what fits into no frame: its bounds are the caller's. */
export function pad(message: Uint8Array): Uint8Array<ArrayBuffer> {
  if (LENGTH_BYTES + message.length > LARGEST_BYTES) throw new RangeError(`${message.length} bytes are not padded`);
  let size = SMALLEST_BYTES;
  while (size < LENGTH_BYTES + message.length) size *= 2;
  const padded = new Uint8Array(Math.min(size, LARGEST_BYTES));
  new DataView(padded.buffer).setUint32(0, message.length);
  padded.set(message, LENGTH_BYTES);
  return padded;
}

/** @throws {@link ProtocolError} `MALFORMED_SEALED` for what {@link pad} would not have made. */
export function unpad(padded: Uint8Array): Uint8Array {
  if (padded.length < LENGTH_BYTES || padded.length > LARGEST_BYTES) throw malformed();
  const length = new DataView(padded.buffer, padded.byteOffset, padded.byteLength).getUint32(0);
  const message = padded.subarray(LENGTH_BYTES, LENGTH_BYTES + length);
  const rest = padded.subarray(LENGTH_BYTES + length);
  if (message.length !== length || rest.some((byte) => byte !== 0) || pad(message).length !== padded.length) {
    throw malformed();
  }
  return message;
}

function malformed(): ProtocolError {
  return new ProtocolError("MALFORMED_SEALED", "not padded as it must be");
}
