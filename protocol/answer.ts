/**
 * What the enclave's answer key signs, so that an answer can be neither changed nor given to another request, nor to
 * the same body under another's stamp: a relay that puts its own stamp in a caller's place gets an answer that the
 * caller does not accept.
 */
import { type ErrorCode, isErrorCode, ProtocolError } from "./errors.ts";
import { type JsonValue, parseStrictJson } from "./strict-json.ts";
import { z } from "./zod.ts";

export const ANSWER_SIGNATURE_HEADER = "x-enclave-signature";

/**
 * Of an answer: the boot that gave it, hex of its key id. Of a request: the boot that it is for, so that what stands
 * before several enclaves can bring it there. A hint both ways, and proof of nothing.
 */
export const BOOT_HEADER = "x-enclave-boot";

const CONTEXT = new TextEncoder().encode("cloister/response/v1");
const DIGEST_BYTES = 32;

/**
 * The Ed25519 message: context ‖ SHA-256(request body) ‖ SHA-256(stamps) ‖ status (u16 big-endian) ‖ SHA-256(answer body).
 *
 * @param digests - Each SHA-256, 32 bytes; that of the stamps over {@link stampsDigestInput}.
 */
export function answerSigningInput(digests: {
  readonly requestDigest: Uint8Array;
  readonly stampsDigest: Uint8Array;
  readonly status: number;
  readonly answerDigest: Uint8Array;
}): Uint8Array<ArrayBuffer> {
  const input = new Uint8Array(CONTEXT.length + DIGEST_BYTES * 2 + 2 + DIGEST_BYTES);
  let at = 0;
  input.set(CONTEXT, at);
  at += CONTEXT.length;
  input.set(digests.requestDigest, at);
  at += DIGEST_BYTES;
  input.set(digests.stampsDigest, at);
  at += DIGEST_BYTES;
  new DataView(input.buffer).setUint16(at, digests.status);
  at += 2;
  input.set(digests.answerDigest, at);
  return input;
}

/** {@link stampsDigestText} in UTF-8. */
export function stampsDigestInput(headers: readonly string[]): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(stampsDigestText(headers));
}

/** The stamps as they were sent, each header value with a line feed after it: none contains one. */
export function stampsDigestText(headers: readonly string[]): string {
  let text = "";
  for (const header of headers) text += `${header}\n`;
  return text;
}

const answer = z.union([
  z.strictObject({ requestId: z.nullable(z.string()), result: z.custom<JsonValue>((value) => value !== undefined) }),
  z.strictObject({
    requestId: z.nullable(z.string()),
    error: z.strictObject({
      code: z.custom<ErrorCode>((code) => typeof code === "string" && isErrorCode(code)),
      message: z.string(),
      /** What a program can make something of; its form belongs to the code. */
      details: z.exactOptional(z.custom<JsonValue>((value) => value !== undefined)),
    }),
  }),
]);

export type Answer = z.output<typeof answer>;

/**
 * Reads an answer's body. `result` is left for the operation's own schema.
 *
 * @throws {@link ProtocolError} `MALFORMED_JSON`, `MALFORMED_MESSAGE`
 */
export function decodeAnswer(body: Uint8Array): Answer {
  const parsed = answer.safeParse(parseStrictJson(body));
  if (!parsed.success) throw new ProtocolError("MALFORMED_MESSAGE", "not an answer", { cause: parsed.error });
  return parsed.data;
}
