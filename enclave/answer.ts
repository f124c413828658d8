import { hash, type KeyObject, sign } from "node:crypto";
import { answerSigningInput, stampsDigestText } from "../protocol/index.ts";

export interface SignedAnswer {
  /** An HTTP status. */
  readonly status: number;
  /** JSON. */
  readonly body: Uint8Array;
  /** Ed25519 over {@link answerSigningInput}, 64 bytes. */
  readonly signature: Uint8Array;
}

/** A request as it came: what an answer is bound to. */
export interface ReceivedRequest {
  readonly body: Uint8Array;
  /** `X-Stamp` header values. */
  readonly stamps: readonly string[];
  /** If it came sealed: the audience that stood outside, where the parent could read it. */
  readonly sealedFor?: string;
}

/** Signs an answer to one request: neither its words nor the request that it answers can be changed afterwards. */
export function signAnswer(
  answerKey: KeyObject,
  request: ReceivedRequest,
  status: number,
  answer: object,
): SignedAnswer {
  const body = Buffer.from(JSON.stringify(answer), "utf8");
  const input = answerSigningInput({
    requestDigest: sha256(request.body),
    stampsDigest: sha256(stampsDigestText(request.stamps)),
    status,
    answerDigest: sha256(body),
  });
  return { status, body, signature: sign(null, input, answerKey) };
}

/** Of a text: of its UTF-8. */
function sha256(data: Uint8Array | string): Buffer {
  return hash("sha256", data, "buffer");
}
