/** The body of a request: the one thing that stamps cover, and the only thing that says what is asked. */
import { ProtocolError } from "./errors.ts";
import { approvalId } from "./operations/ids.ts";
import { type JsonValue, parseStrictJson } from "./strict-json.ts";
import { z } from "./zod.ts";

/** RFC 9562 text form, lower case: one request has one spelling. */
const uuid = z.string().check(z.regex(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/));

const envelope = z.strictObject({
  operation: z.string().check(z.maxLength(64)),
  /** `<deployment>` for administrators, `<deployment>/<appId>` for everything inside an app. */
  audience: z.string().check(z.maxLength(256)),
  requestId: uuid,
  /** Milliseconds since 1970, by the caller's estimate of the enclave's clock. */
  issuedAtMs: z.int().check(z.nonnegative()),
  params: z.custom<JsonValue>(() => true),
  /** A one-time password, or a recovery code, for what is guarded by one. Only in sealed requests. */
  secondFactor: z.exactOptional(z.string().check(z.minLength(1), z.maxLength(32))),
  /** Of what others were asked to agree to: this collects it. */
  approvalId: z.exactOptional(approvalId),
});

export type RequestEnvelope = z.output<typeof envelope>;

/**
 * Reads a request body. `params` is left for the operation's own schema.
 *
 * @throws {@link ProtocolError} `MALFORMED_JSON`, `MALFORMED_MESSAGE`
 */
export function decodeRequest(body: Uint8Array): RequestEnvelope {
  const parsed = envelope.safeParse(parseStrictJson(body));
  if (!parsed.success) {
    throw new ProtocolError("MALFORMED_MESSAGE", describeIssues(parsed.error), { cause: parsed.error });
  }
  return parsed.data;
}

/** The body's bytes; key order is fixed so that fixtures are. */
export function encodeRequest(request: RequestEnvelope): Uint8Array<ArrayBuffer> {
  // JSON leaves out what is undefined.
  const { operation, audience, requestId, issuedAtMs, params, secondFactor, approvalId } = request;
  return new TextEncoder().encode(
    JSON.stringify({ operation, audience, requestId, issuedAtMs, params, secondFactor, approvalId }),
  );
}

/** Names each wrong field and what was expected there; zod's messages quote no input. */
export function describeIssues(error: z.core.$ZodError): string {
  return error.issues
    .slice(0, 4)
    .map((issue) => `${issue.path.join(".") || "body"}: ${describeIssue(issue)}`)
    .join("; ");
}

function describeIssue(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "unrecognized_keys":
      return "has a field that this operation does not know";
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
