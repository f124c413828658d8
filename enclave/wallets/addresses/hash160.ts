import { createHash } from "node:crypto";

/** RIPEMD-160 of SHA-256: what Bitcoin names keys and scripts by. */
export function hash160(bytes: Uint8Array): Uint8Array {
  return createHash("ripemd160").update(createHash("sha256").update(bytes).digest()).digest();
}
