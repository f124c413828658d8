import { createHash, type KeyObject, sign } from "node:crypto";
import { answerSigningInput } from "../protocol/index.ts";

export interface SignedAnswer {
  /** An HTTP status. */
  readonly status: number;
  /** JSON. */
  readonly body: Uint8Array;
  /** Ed25519 over {@link answerSigningInput}, 64 bytes. */
  readonly signature: Uint8Array;
}

/** Signs an answer to one request: neither its words nor the request that it answers can be changed afterwards. */
export function signAnswer(answerKey: KeyObject, request: Uint8Array, status: number, answer: object): SignedAnswer {
  const body = Buffer.from(JSON.stringify(answer), "utf8");
  const input = answerSigningInput({ requestDigest: sha256(request), status, answerDigest: sha256(body) });
  return { status, body, signature: sign(null, input, answerKey) };
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}
