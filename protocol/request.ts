/** The body of a request: the one thing that stamps cover, and the only thing that says what is asked. */
import { MAX_SHARE_BYTES } from "./custody/share.ts";
import { ProtocolError } from "./errors.ts";
import { approvalId } from "./operations/ids.ts";
import { type JsonValue, parseStrictJson } from "./strict-json.ts";
import { z } from "./zod.ts";

/** Characters of base64url. */
const MAX_SHARE_LENGTH = Math.ceil((MAX_SHARE_BYTES * 8) / 6);

/** RFC 9562 text form, lower case: one request has one spelling. */
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const uuid = z.string().check(z.regex(UUID));
const MAX_OPERATION_LENGTH = 64;
const MAX_AUDIENCE_LENGTH = 256;

/** Exported for the test that asks it and {@link decodeRequest} the same. */
export const envelope = z.strictObject({
  operation: z.string().check(z.maxLength(MAX_OPERATION_LENGTH)),
  /** `<deployment>` for administrators, `<deployment>/<appId>` for everything inside an app. */
  audience: z.string().check(z.maxLength(MAX_AUDIENCE_LENGTH)),
  requestId: uuid,
  /** Milliseconds since 1970, by the caller's estimate of the enclave's clock. */
  issuedAtMs: z.int().check(z.nonnegative()),
  params: z.custom<JsonValue>(() => true),
  /** A one-time password, or a recovery code, for what is guarded by one. Only in sealed requests. */
  secondFactor: z.exactOptional(z.string().check(z.minLength(1), z.maxLength(32))),
  /** A share of the wallet that the request is about, base64url: whatever opens a split wallet needs one. Only in sealed requests. */
  share: z.exactOptional(z.string().check(z.minLength(1), z.maxLength(MAX_SHARE_LENGTH), z.regex(/^[A-Za-z0-9_-]+$/))),
  /** Of what others were asked to agree to: this collects it. */
  approvalId: z.exactOptional(approvalId),
  /** The one boot of an enclave that may act on it, hex of its key id; any may where it is left out. */
  boot: z.exactOptional(z.string().check(z.regex(/^[0-9a-f]{16}$/))),
});

export type RequestEnvelope = z.output<typeof envelope>;

/**
 * Reads a request body. `params` is left for the operation's own schema.
 *
 * @throws {@link ProtocolError} `MALFORMED_JSON`, `MALFORMED_MESSAGE`
 */
export function decodeRequest(body: Uint8Array): RequestEnvelope {
  const json = parseStrictJson(body);
  if (isPlainRequest(json)) return json;
  const parsed = envelope.safeParse(json);
  if (!parsed.success) {
    throw new ProtocolError("MALFORMED_MESSAGE", describeIssues(parsed.error), { cause: parsed.error });
  }
  return parsed.data;
}

/** The five fields that every request has, and no other: what surely fits the schema does not go through it. A test asks both. */
function isPlainRequest(json: JsonValue): json is JsonValue & RequestEnvelope {
  if (typeof json !== "object" || json === null || Object.keys(json).length !== 5) return false;
  const { operation, audience, requestId, issuedAtMs, params } = json as Readonly<Record<string, JsonValue>>;
  return (
    isTextUpTo(MAX_OPERATION_LENGTH, operation) &&
    isTextUpTo(MAX_AUDIENCE_LENGTH, audience) &&
    typeof requestId === "string" &&
    UUID.test(requestId) &&
    typeof issuedAtMs === "number" &&
    Number.isSafeInteger(issuedAtMs) &&
    issuedAtMs >= 0 &&
    params !== undefined
  );
}

function isTextUpTo(maxLength: number, value: JsonValue | undefined): boolean {
  return typeof value === "string" && value.length <= maxLength;
}

/** The body's bytes; key order is fixed so that fixtures are. */
export function encodeRequest(request: RequestEnvelope): Uint8Array<ArrayBuffer> {
  // JSON leaves out what is undefined.
  const { operation, audience, requestId, issuedAtMs, params, secondFactor, approvalId, share, boot } = request;
  const ordered = { operation, audience, requestId, issuedAtMs, params, secondFactor, approvalId, share, boot };
  return new TextEncoder().encode(JSON.stringify(ordered));
}

/** Names that a misspelling of ours could have: of what else was sent nothing is repeated. */
const FIELD_NAME = /^[A-Za-z][A-Za-z0-9_]{0,39}$/;

/** Names each wrong field and what was expected there, and quotes no value. @param whole - What is said for all of it. */
export function describeIssues(error: z.core.$ZodError, whole: string = "body"): string {
  return error.issues
    .slice(0, 4)
    .map((issue) => `${issue.path.join(".") || whole}: ${describeIssue(issue)}`)
    .join("; ");
}

function describeIssue(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "unrecognized_keys": {
      const names = issue.keys.filter((key) => FIELD_NAME.test(key)).slice(0, 4);
      return ["has a field that is not known", ...(names.length === 0 ? [] : [names.join(", ")])].join(": ");
    }
    case "invalid_union": {
      // Where one field decides which form it is, zod tells which it may be, and its types do not say so.
      const { options } = issue as { readonly options?: readonly unknown[] };
      return options === undefined ? "malformed" : `expected one of ${options.map(String).join(", ")}`;
    }
    case "invalid_type":
      // What zod says of a field that any value would fit, and that is not there.
      return String(issue.expected) === "nonoptional" ? "missing" : `expected ${issue.expected}`;
    case "invalid_value":
      return `expected one of ${issue.values.map(String).join(", ")}`;
    case "too_big":
      return `at most ${String(issue.maximum)}`;
    case "too_small":
      return `at least ${String(issue.minimum)}`;
    default:
      return issue.message === "" || issue.message === "Invalid input" ? "malformed" : issue.message;
  }
}
