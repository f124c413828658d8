import { describe, expect, test } from "vitest";
import type { KmsPrincipal } from "../../../simulator/kms/index.ts";
import { authenticate, type SignedRequest } from "../../../simulator/kms/signature.ts";

/** The "Signature Version 4 test suite" that AWS published: its credentials, its time, its answers. */
const SUITE: KmsPrincipal = {
  accessKeyId: "AKIDEXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
  sessionToken: null,
  arn: "arn:aws:iam::123456789012:user/example",
  expiresAtMs: null,
};
const AT_MS = Date.UTC(2015, 7, 30, 12, 36, 0);
const UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

interface Vector {
  readonly method?: string;
  readonly url?: string;
  readonly headers?: Readonly<Record<string, readonly string[]>>;
  readonly body?: string;
  readonly signature: string;
}

const GET_VANILLA: Vector = { signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" };

function requestOf({ method = "GET", url = "/", headers = {}, body = "", signature }: Vector): SignedRequest {
  const all: Record<string, readonly string[]> = {
    host: ["example.amazonaws.com"],
    "x-amz-date": ["20150830T123600Z"],
    ...headers,
  };
  const signed = Object.keys(all).sort().join(";");
  const scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
  const authorization = `AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=${signed}, Signature=${signature}`;
  return {
    method,
    url,
    headers: new Map([...Object.entries(all), ["authorization", [authorization]]]),
    body: Buffer.from(body),
  };
}

function verify(request: SignedRequest, changes: { nowMs?: number; principals?: KmsPrincipal[] } = {}): KmsPrincipal {
  return authenticate(request, {
    principals: [SUITE],
    region: "us-east-1",
    service: "service",
    nowMs: AT_MS,
    ...changes,
  });
}

const VECTORS: Readonly<Record<string, Vector>> = {
  "get-vanilla": GET_VANILLA,
  "post-vanilla": {
    method: "POST",
    signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
  },
  "get-vanilla-empty-query-key": {
    url: "/?Param1=value1",
    signature: "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
  },
  "get-vanilla-query-order-key-case": {
    url: "/?Param2=value2&Param1=value1",
    signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
  },
  "get-vanilla-query-order-value": {
    url: "/?Param1=value2&Param1=value1",
    signature: "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694",
  },
  "get-vanilla-query-order-encoded": {
    url: "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
    signature: "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
  },
  "get-vanilla-query-unreserved": {
    url: `/?${UNRESERVED}=${UNRESERVED}`,
    signature: "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
  },
  "get-unreserved": {
    url: `/${UNRESERVED}`,
    signature: "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
  },
  "get-special-character": {
    url: "/example/$delete",
    signature: "a853c9b21b528b19643d00910d35b83a10c366a10833ceefb45edd6c80e40f27",
  },
  "get-relative": { ...GET_VANILLA, url: "/example/.." },
  "get-slash-dot-slash": { ...GET_VANILLA, url: "/./" },
  "get-slash": { ...GET_VANILLA, url: "//" },
  "get-header-key-duplicate": {
    headers: { "my-header1": ["value2", "value2", "value1"] },
    signature: "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
  },
  "get-header-value-trim": {
    headers: { "my-header1": [" value1"], "my-header2": ['"a   b   c"'] },
    signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
  },
  "post-header-value-case": {
    method: "POST",
    headers: { "my-header1": ["VALUE1"] },
    signature: "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
  },
  "post-x-www-form-urlencoded": {
    method: "POST",
    headers: { "content-type": ["application/x-www-form-urlencoded"] },
    body: "Param1=value1",
    signature: "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
  },
};

describe("AWS's test suite", () => {
  test.each(Object.entries(VECTORS))("%s", (_name, vector) => {
    expect(verify(requestOf(vector))).toBe(SUITE);
    const { signature } = vector;
    const wrong = `${signature.startsWith("0") ? "1" : "0"}${signature.slice(1)}`;
    expect(() => verify(requestOf({ ...vector, signature: wrong }))).toThrow(
      expect.objectContaining({ code: "InvalidSignatureException" }),
    );
  });
});

/** The good request with one header set, or dropped. */
function changed(name: string, values: readonly string[] | null): SignedRequest {
  const request = requestOf(GET_VANILLA);
  const headers = new Map(request.headers);
  if (values === null) headers.delete(name);
  else headers.set(name, values);
  return { ...request, headers };
}

function authorized(change: (text: string) => string): SignedRequest {
  const [text = ""] = requestOf(GET_VANILLA).headers.get("authorization") ?? [];
  return changed("authorization", [change(text)]);
}

describe("refusals", () => {
  const cases: [what: string, code: string, request: SignedRequest][] = [
    ["no Authorization", "MissingAuthenticationTokenException", changed("authorization", null)],
    ["another scheme", "IncompleteSignatureException", changed("authorization", ["Bearer abc"])],
    ["SigV4A", "IncompleteSignatureException", authorized((text) => text.replace("AWS4-HMAC", "AWS4-ECDSA-P256"))],
    ["no Signature", "IncompleteSignatureException", authorized((text) => text.replace(/, Signature=.*/, ""))],
    ["no Credential", "IncompleteSignatureException", authorized((text) => text.replace(/Credential=.*?, /, ""))],
    ["no SignedHeaders", "IncompleteSignatureException", authorized((text) => text.replace(/SignedHeaders=.*?, /, ""))],
    ["a part twice", "IncompleteSignatureException", authorized((text) => `${text}, SignedHeaders=host`)],
    ["a part too many", "IncompleteSignatureException", authorized((text) => `${text}, More=1`)],
    ["two Authorizations", "IncompleteSignatureException", changed("authorization", ["AWS4-HMAC-SHA256 a", "b"])],
    ["a short signature", "IncompleteSignatureException", authorized((text) => text.slice(0, -1))],
    ["an upper-case signature", "IncompleteSignatureException", authorized((text) => text.replace("5fa", "5FA"))],
    [
      "unsorted headers",
      "IncompleteSignatureException",
      authorized((text) => text.replace("host;x-", "x-amz-date;host;x-")),
    ],
    ["upper-case headers", "IncompleteSignatureException", authorized((text) => text.replace("=host", "=Host"))],
    ["a malformed scope", "IncompleteSignatureException", authorized((text) => text.replace("aws4_request", "aws4"))],
    ["no date", "IncompleteSignatureException", changed("x-amz-date", null)],
    ["two dates", "IncompleteSignatureException", changed("x-amz-date", ["20150830T123600Z", "20150830T123600Z"])],
    ["a malformed date", "IncompleteSignatureException", changed("x-amz-date", ["2015-08-30T12:36:00Z"])],
    ["a date that is none", "IncompleteSignatureException", changed("x-amz-date", ["20150230T126000Z"])],
    ["an unknown key", "UnrecognizedClientException", authorized((text) => text.replace("AKIDEXAMPLE", "AKIDOTHER"))],
    ["a token too many", "UnrecognizedClientException", changed("x-amz-security-token", ["token"])],
    ["another region", "InvalidSignatureException", authorized((text) => text.replace("us-east-1", "us-east-2"))],
    ["another service", "InvalidSignatureException", authorized((text) => text.replace("/service/", "/s3/"))],
    [
      "another day in the scope",
      "InvalidSignatureException",
      authorized((text) => text.replace("20150830", "20150831")),
    ],
    ["another method", "InvalidSignatureException", { ...requestOf(GET_VANILLA), method: "POST" }],
    ["another path", "InvalidSignatureException", { ...requestOf(GET_VANILLA), url: "/other" }],
    ["a query", "InvalidSignatureException", { ...requestOf(GET_VANILLA), url: "/?a=b" }],
    ["a malformed query", "InvalidSignatureException", { ...requestOf(GET_VANILLA), url: "/?%ff" }],
    ["a body", "InvalidSignatureException", { ...requestOf(GET_VANILLA), body: Buffer.from("x") }],
    ["another host", "InvalidSignatureException", changed("host", ["other.amazonaws.com"])],
    ["a second host", "InvalidSignatureException", changed("host", ["example.amazonaws.com", "other"])],
    ["another second", "InvalidSignatureException", changed("x-amz-date", ["20150830T123601Z"])],
    ["an unsigned x-amz header", "InvalidSignatureException", changed("x-amz-target", ["TrentService.Decrypt"])],
    ["an unsigned content type", "InvalidSignatureException", changed("content-type", ["text/plain"])],
    ["an unsigned host", "InvalidSignatureException", authorized((text) => text.replace("host;", ""))],
    ["an unsigned date", "InvalidSignatureException", authorized((text) => text.replace(";x-amz-date", ""))],
    [
      "a signed header that is missing",
      "InvalidSignatureException",
      authorized((text) => text.replace("host;", "host;more;")),
    ],
  ];
  test.each(cases)("%s: %s", (_what, code, request) => {
    expect(() => verify(request)).toThrow(expect.objectContaining({ name: "KmsError", code }));
  });

  test("a claimed hash that is not the body's, signed or not", () => {
    const request = requestOf({ ...GET_VANILLA, headers: { "x-amz-content-sha256": ["UNSIGNED-PAYLOAD"] } });
    expect(() => verify(request)).toThrow(/not the hash of the body/);
  });

  test("five minutes of skew either way, and not a second more", () => {
    const request = requestOf(GET_VANILLA);
    for (const skewMs of [-300_000, 300_000]) expect(verify(request, { nowMs: AT_MS + skewMs })).toBe(SUITE);
    expect(() => verify(request, { nowMs: AT_MS + 300_001 })).toThrow(/^Signature expired/);
    expect(() => verify(request, { nowMs: AT_MS - 300_001 })).toThrow(/^Signature not yet current/);
  });

  test("temporary credentials: their token must come, and be theirs, and they end", () => {
    const principals = [{ ...SUITE, sessionToken: "token", expiresAtMs: AT_MS }];
    const withToken = (values: string[]) => changed("x-amz-security-token", values);
    for (const request of [requestOf(GET_VANILLA), withToken(["other"]), withToken(["token", "token"])]) {
      expect(() => verify(request, { principals })).toThrow(
        expect.objectContaining({ code: "UnrecognizedClientException" }),
      );
    }
    expect(() => verify(withToken(["token"]), { principals })).toThrow(
      expect.objectContaining({ code: "ExpiredTokenException" }),
    );
    // Not ended yet, the next check is reached.
    expect(() => verify(withToken(["token"]), { principals, nowMs: AT_MS - 1 })).toThrow(
      expect.objectContaining({ code: "InvalidSignatureException" }),
    );
  });
});
