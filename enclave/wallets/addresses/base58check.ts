import { createHash } from "node:crypto";
import { base58 } from "@scure/base";

/** Version ‖ payload ‖ four bytes of a double SHA-256, in base 58. */
export function base58check(version: number, payload: Uint8Array): string {
  const bytes = Buffer.concat([Uint8Array.of(version), payload]);
  return base58.encode(Buffer.concat([bytes, sha256(sha256(bytes)).subarray(0, 4)]));
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}
