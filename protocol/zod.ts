/**
 * zod, set once to interpret schemas instead of compiling them: its compiler builds functions from strings, and the
 * enclave runs with code generation from strings turned off.
 */
import * as z from "zod/mini";

z.config({ jitless: true });

/** At most so many bytes. */
export function bytesUpTo(maxBytes: number) {
  return z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length <= maxBytes, {
    error: `expected at most ${maxBytes} bytes`,
  });
}

/** Bytes of one length. */
export function bytesOf(length: number) {
  return z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length === length, {
    error: `expected ${length} bytes`,
  });
}

export { z };
