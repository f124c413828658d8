/** AWS Signature Version 4, the server's side (IAM User Guide, "Create a signed AWS API request"). */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { KmsError } from "./errors.ts";
import type { KmsPrincipal } from "./principal.ts";

const ALGORITHM = "AWS4-HMAC-SHA256";
/** IAM User Guide, "Signature Version 4 request elements": five minutes either way. */
const MAX_SKEW_MS = 5 * 60_000;

export interface SignedRequest {
  readonly method: string;
  /** Path and query as received. */
  readonly url: string;
  /** By lower-case name, every value as received. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
  readonly body: Uint8Array;
}

export interface SignatureScope {
  readonly principals: readonly KmsPrincipal[];
  readonly region: string;
  readonly service: string;
  readonly nowMs: number;
}

interface Authorization {
  readonly accessKeyId: string;
  readonly date: string;
  readonly region: string;
  readonly service: string;
  readonly signedHeaders: readonly string[];
  readonly signature: Buffer;
}

/**
 * Finds whose request it is and proves that they signed exactly this request, recently.
 *
 * @throws {@link KmsError} `MissingAuthenticationTokenException`, `IncompleteSignatureException`,
 * `UnrecognizedClientException`, `ExpiredTokenException`, `InvalidSignatureException`
 */
export function authenticate(request: SignedRequest, scope: SignatureScope): KmsPrincipal {
  const authorization = parseAuthorization(request);
  const timestamp = only(request, "x-amz-date");
  const atMs = timestamp === undefined ? undefined : parseTimestamp(timestamp);
  if (timestamp === undefined || atMs === undefined) {
    throw new KmsError(
      "IncompleteSignatureException",
      "X-Amz-Date must be one ISO-8601 basic time, such as 20150830T123600Z",
    );
  }
  const principal = findPrincipal(request, authorization, scope);
  checkScope(authorization, timestamp, scope);
  if (Math.abs(scope.nowMs - atMs) > MAX_SKEW_MS) {
    invalid(`Signature ${atMs < scope.nowMs ? "expired" : "not yet current"}: ${timestamp} is more than 5 min. off`);
  }
  checkSignedHeaders(request, authorization);

  const bodyHash = sha256Hex(request.body);
  const claimedHash = only(request, "x-amz-content-sha256");
  if (claimedHash !== undefined && claimedHash !== bodyHash) {
    invalid("The value of 'x-amz-content-sha256' is not the hash of the body");
  }
  const credentialScope = `${authorization.date}/${scope.region}/${scope.service}/aws4_request`;
  const canonical = canonicalRequest(request, authorization.signedHeaders, bodyHash);
  const stringToSign = [ALGORITHM, timestamp, credentialScope, sha256Hex(canonical)].join("\n");
  const expected = hmac(signingKey(principal.secretAccessKey, authorization), stringToSign);
  if (!timingSafeEqual(expected, authorization.signature)) {
    invalid("The request signature we calculated does not match the signature you provided.");
  }
  return principal;
}

function parseAuthorization(request: SignedRequest): Authorization {
  const values = request.headers.get("authorization") ?? [];
  if (values.length === 0) throw new KmsError("MissingAuthenticationTokenException", "Missing Authentication Token");
  const [algorithm, ...rest] = values.join(",").split(" ");
  if (algorithm !== ALGORITHM) incomplete(`Authorization must start with ${ALGORITHM}`);
  const fields = new Map<string, string>();
  for (const part of rest.join("").split(",")) {
    const [, name = "", value = ""] = /^(Credential|SignedHeaders|Signature)=(.+)$/.exec(part) ?? [];
    if (name === "" || fields.has(name))
      incomplete("Authorization must have one each of Credential, SignedHeaders, Signature");
    fields.set(name, value);
  }
  const credential = /^([A-Za-z0-9]{1,128})\/([0-9]{8})\/([a-z0-9-]+)\/([a-z0-9-]+)\/aws4_request$/.exec(
    fields.get("Credential") ?? "",
  );
  if (credential === null) return incomplete("Credential must be <key id>/<date>/<region>/<service>/aws4_request");
  const signature = fields.get("Signature") ?? "";
  if (!/^[0-9a-f]{64}$/.test(signature)) incomplete("Signature must be 64 lower-case hex digits");
  const signedHeaders = (fields.get("SignedHeaders") ?? "").split(";");
  const sorted = [...new Set(signedHeaders)].sort();
  if (!signedHeaders.every((name, at) => name === sorted[at] && /^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name))) {
    incomplete("SignedHeaders must be lower-case names, sorted and separated by semicolons");
  }
  const [, accessKeyId = "", date = "", region = "", service = ""] = credential;
  return { accessKeyId, date, region, service, signedHeaders, signature: Buffer.from(signature, "hex") };
}

function findPrincipal(request: SignedRequest, { accessKeyId }: Authorization, scope: SignatureScope): KmsPrincipal {
  const principal = scope.principals.find((one) => one.accessKeyId === accessKeyId);
  const tokens = request.headers.get("x-amz-security-token") ?? [];
  // One message for both, as AWS has it: which of the two was wrong is nobody's business.
  if (principal === undefined || tokens.length > 1 || !sameSecret(tokens[0] ?? null, principal.sessionToken)) {
    throw new KmsError("UnrecognizedClientException", "The security token included in the request is invalid.");
  }
  if (principal.expiresAtMs !== null && scope.nowMs >= principal.expiresAtMs) {
    throw new KmsError("ExpiredTokenException", "The security token included in the request is expired");
  }
  return principal;
}

function checkScope({ date, region, service }: Authorization, timestamp: string, scope: SignatureScope): void {
  if (region !== scope.region) invalid(`Credential should be scoped to a valid region, not '${region}'.`);
  if (service !== scope.service) invalid(`Credential should be scoped to correct service: '${scope.service}'.`);
  if (date !== timestamp.slice(0, 8)) invalid("Date in Credential scope does not match the day of X-Amz-Date");
}

/** Everything that says what is asked must be signed, or whoever relays the request could change it. */
function checkSignedHeaders({ headers }: SignedRequest, { signedHeaders }: Authorization): void {
  for (const name of ["host", "x-amz-date", ...headers.keys()]) {
    const binding = name === "host" || name === "content-type" || name.startsWith("x-amz-");
    if (binding && !signedHeaders.includes(name))
      invalid(`'${name}' must be a 'SignedHeader' in the AWS Authorization.`);
  }
  for (const name of signedHeaders) {
    if (!headers.has(name)) invalid(`the signed header '${name}' is not in the request`);
  }
}

function canonicalRequest({ method, url, headers }: SignedRequest, signedHeaders: readonly string[], bodyHash: string) {
  const [path = "/", query = ""] = splitOnce(url, "?");
  const lines = signedHeaders.map((name) => {
    const values = (headers.get(name) ?? []).map((value) => value.trim().replaceAll(/ +/g, " "));
    return `${name}:${values.join(",")}\n`;
  });
  return [method, canonicalPath(path), canonicalQuery(query), lines.join(""), signedHeaders.join(";"), bodyHash].join(
    "\n",
  );
}

/** Dot segments and empty ones are resolved, and what the URL encodes is encoded once more (only S3 does not). */
function canonicalPath(path: string): string {
  const segments: string[] = [];
  for (const segment of path.split("/")) {
    if (segment === "..") segments.pop();
    else if (segment !== "" && segment !== ".") segments.push(encodeUri(segment));
  }
  const trailing = path.endsWith("/") && segments.length > 0 ? "/" : "";
  return `/${segments.join("/")}${trailing}`;
}

function canonicalQuery(query: string): string {
  if (query === "") return "";
  const pairs = query.split("&").map((pair) => {
    const [name = "", value = ""] = splitOnce(pair, "=");
    return [encodeUri(decodeUri(name)), encodeUri(decodeUri(value))] as const;
  });
  pairs.sort(([a, aValue], [b, bValue]) => compare(a, b) || compare(aValue, bValue));
  return pairs.map((pair) => pair.join("=")).join("&");
}

function encodeUri(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (found) => `%${found.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function decodeUri(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return invalid("the query is not percent-encoded UTF-8");
  }
}

function splitOnce(text: string, separator: string): [string, string?] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function parseTimestamp(text: string): number | undefined {
  const match = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second] = match;
  const atMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(atMs) ? undefined : atMs;
}

function only({ headers }: SignedRequest, name: string): string | undefined {
  const values = headers.get(name) ?? [];
  if (values.length > 1) incomplete(`${name} must come once`);
  return values[0];
}

function signingKey(secretAccessKey: string, { date, region, service }: Authorization): Buffer {
  return [date, region, service, "aws4_request"].reduce(hmac, Buffer.from(`AWS4${secretAccessKey}`, "utf8"));
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text, "utf8").digest();
}

function sha256Hex(input: string | Uint8Array): string {
  return createHash("sha256").update(input).digest("hex");
}

function sameSecret(given: string | null, held: string | null): boolean {
  if (given === null || held === null) return given === held;
  return timingSafeEqual(createHash("sha256").update(given).digest(), createHash("sha256").update(held).digest());
}

function incomplete(why: string): never {
  throw new KmsError("IncompleteSignatureException", why);
}

function invalid(why: string): never {
  throw new KmsError("InvalidSignatureException", why);
}
