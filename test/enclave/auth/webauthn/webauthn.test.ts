import { createHash, createPublicKey, generateKeyPairSync } from "node:crypto";
import { encode } from "cborg";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseAuthenticatorData } from "../../../../enclave/auth/webauthn/authenticator-data.ts";
import { parseCoseKey } from "../../../../enclave/auth/webauthn/cose-key.ts";
import { takeCborMap } from "../../../../enclave/auth/webauthn/ctap-cbor.ts";
import { checkCounter, verifyAssertion } from "../../../../enclave/auth/webauthn/verify-assertion.ts";
import { verifyRegistration } from "../../../../enclave/auth/webauthn/verify-registration.ts";
import { encodeBase64url, passkeyRules, RequestError } from "../../../../protocol/index.ts";
import {
  Authenticator,
  FLAG,
  ORIGIN,
  PASSKEYS,
  RP_ID,
  type Said,
  type SaidAtRegistration,
} from "../../../support/authenticator.ts";

const BODY = Buffer.from('{"operation":"list_wallets"}');
const CHALLENGE = createHash("sha256").update("a registration").digest();
const ALGORITHMS = ["ES256", "EdDSA", "RS256"] as const;
const UP_UV_AT = FLAG.UP | FLAG.UV | FLAG.AT;

function codeOf(work: () => unknown): string {
  try {
    work();
    return "accepted";
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    return error.code;
  }
}

function registered(authenticator: Authenticator) {
  return { algorithm: authenticator.algorithm, key: authenticator.publicKey, isBackupEligible: false };
}

function asserting(said: Said, rules = PASSKEYS, authenticator = new Authenticator()): string {
  return codeOf(() => verifyAssertion(authenticator.assert(BODY, said), BODY, registered(authenticator), rules));
}

function registering(said: SaidAtRegistration, authenticator = new Authenticator()): string {
  const response = authenticator.create(CHALLENGE, said);
  return codeOf(() => verifyRegistration(response, encodeBase64url(CHALLENGE), PASSKEYS));
}

describe.each(ALGORITHMS)("%s", (algorithm) => {
  const authenticator = new Authenticator(algorithm);

  test("is registered, with the key that then vouches for a body", () => {
    const made = verifyRegistration(authenticator.create(CHALLENGE), encodeBase64url(CHALLENGE), PASSKEYS);
    expect(made.publicKey.algorithm).toBe(algorithm);
    expect(made.publicKey.key.equals(authenticator.publicKey)).toBe(true);
    expect(made.credentialId).toEqual(authenticator.credentialId);
    const passkey = { ...made.publicKey, isBackupEligible: made.isBackupEligible };
    const verified = verifyAssertion(authenticator.assert(BODY, { signCount: 7 }), BODY, passkey, PASSKEYS);
    expect(verified).toEqual({ signCount: 7, isBackedUp: false });
  });

  test("vouches for no other body, and under no other key", () => {
    const stamp = authenticator.assert(BODY);
    const other = Buffer.from('{"operation":"sign_message"}');
    const passkey = registered(authenticator);
    expect(codeOf(() => verifyAssertion(stamp, other, passkey, PASSKEYS))).toBe("PASSKEY_CHALLENGE_MISMATCH");
    const stranger = registered(new Authenticator(algorithm));
    expect(codeOf(() => verifyAssertion(stamp, BODY, stranger, PASSKEYS))).toBe("PASSKEY_SIGNATURE_INVALID");
  });

  test("with self attestation", () => {
    expect(registering({ format: "packed", statement: "self" }, authenticator)).toBe("accepted");
  });

  test("an assertion with any bit changed is refused", () => {
    const stamp = authenticator.assert(BODY);
    const passkey = registered(authenticator);
    const members = ["authenticatorData", "clientDataJson", "signature"] as const;
    fc.assert(
      fc.property(fc.constantFrom(...members), fc.nat(), (member, bit) => {
        const bytes = Uint8Array.from(stamp[member]);
        const at = (bit >> 3) % bytes.length;
        bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7));
        return codeOf(() => verifyAssertion({ ...stamp, [member]: bytes }, BODY, passkey, PASSKEYS)) !== "accepted";
      }),
      { numRuns: 300 },
    );
  });
});

test("Turnkey's challenge, the text of the body's digest in hex, vouches as well", () => {
  const digest = createHash("sha256").update(BODY).digest("hex");
  const challenge = encodeBase64url(Buffer.from(digest));
  expect(asserting({ clientData: { challenge } })).toBe("accepted");
  expect(asserting({ clientData: { challenge: encodeBase64url(Buffer.from(digest.toUpperCase())) } })).toBe(
    "PASSKEY_CHALLENGE_MISMATCH",
  );
});

const framed = { crossOrigin: true, topOrigin: "https://shop.example" };

describe("client data", () => {
  test.each<[string, string, Said]>([
    ["of a registration", "PASSKEY_TYPE_MISMATCH", { clientData: { type: "webauthn.create" } }],
    ["of a payment", "PASSKEY_TYPE_MISMATCH", { clientData: { type: "payment.get" } }],
    ["of another challenge", "PASSKEY_CHALLENGE_MISMATCH", { clientData: { challenge: encodeBase64url(CHALLENGE) } }],
    ["with a padded challenge", "PASSKEY_CHALLENGE_MISMATCH", { clientData: { challenge: `${"A".repeat(43)}=` } }],
    ["of another origin", "PASSKEY_ORIGIN_NOT_ALLOWED", { clientData: { origin: "https://evil.example" } }],
    ["of the origin with a port", "PASSKEY_ORIGIN_NOT_ALLOWED", { clientData: { origin: `${ORIGIN}:444` } }],
    ["of the origin in capitals", "PASSKEY_ORIGIN_NOT_ALLOWED", { clientData: { origin: ORIGIN.toUpperCase() } }],
    ["in another site's frame", "PASSKEY_ORIGIN_NOT_ALLOWED", { clientData: framed }],
    ["in a frame, not said whose", "PASSKEY_ORIGIN_NOT_ALLOWED", { clientData: { crossOrigin: true } }],
    ["with a top origin alone", "PASSKEY_ORIGIN_NOT_ALLOWED", { clientData: { topOrigin: "https://shop.example" } }],
    ["with crossOrigin as text", "PASSKEY_MALFORMED", { clientData: { crossOrigin: "false" } }],
    ["with a token binding", "PASSKEY_MALFORMED", { clientData: { tokenBinding: { status: "present", id: "AA" } } }],
    ["with a token binding as text", "PASSKEY_MALFORMED", { clientData: { tokenBinding: "supported" } }],
    ["that is no object", "PASSKEY_MALFORMED", { clientDataText: "[]" }],
    ["with one member twice", "PASSKEY_MALFORMED", { clientDataText: `{"type":"webauthn.get","type":"webauthn.get"}` }],
    ["with a byte order mark", "PASSKEY_MALFORMED", { clientDataText: '\u{feff}{"type":"webauthn.get"}' }],
    ["over its limit", "PASSKEY_MALFORMED", { clientData: { more: "x".repeat(2048) } }],
  ])("%s is refused", (_what, code, said) => {
    expect(asserting(said)).toBe(code);
  });

  test("a frame of a site that the app names is allowed, and of no other", () => {
    const rules = { ...PASSKEYS, topOrigins: ["https://shop.example"] };
    expect(asserting({ clientData: framed }, rules)).toBe("accepted");
    expect(asserting({ clientData: { crossOrigin: true, topOrigin: "https://evil.example" } }, rules)).toBe(
      "PASSKEY_ORIGIN_NOT_ALLOWED",
    );
  });

  test("members that nobody knows change nothing", () => {
    const clientData = { other_keys_can_be_added_here: "…", tokenBinding: { status: "supported" }, nested: { a: [1] } };
    expect(asserting({ clientData })).toBe("accepted");
  });
});

describe("authenticator data", () => {
  test.each<[string, string, Said]>([
    ["of another relying party", "PASSKEY_RP_MISMATCH", { rpId: "evil.example" }],
    ["of the domain above", "PASSKEY_RP_MISMATCH", { rpId: "example" }],
    ["without the user's presence", "PASSKEY_USER_NOT_VERIFIED", { flags: FLAG.UV }],
    ["without the user's verification", "PASSKEY_USER_NOT_VERIFIED", { flags: FLAG.UP }],
    ["of a credential that became one that can be copied", "PASSKEY_MALFORMED", { flags: FLAG.UP | FLAG.UV | FLAG.BE }],
    ["backed up and not eligible", "PASSKEY_MALFORMED", { flags: FLAG.UP | FLAG.UV | FLAG.BS }],
    ["with a reserved flag", "PASSKEY_MALFORMED", { flags: FLAG.UP | FLAG.UV | 0x20 }],
    ["that says there are extensions, and has none", "PASSKEY_MALFORMED", { flags: FLAG.UP | FLAG.UV | FLAG.ED }],
    ["with bytes after it", "PASSKEY_MALFORMED", { tail: Uint8Array.of(0xa0) }],
    ["that says there is a credential, and has none", "PASSKEY_MALFORMED", { flags: UP_UV_AT }],
    [
      "with extensions that are no map",
      "PASSKEY_MALFORMED",
      { flags: FLAG.UP | FLAG.UV | FLAG.ED, tail: Uint8Array.of(0x80) },
    ],
  ])("%s is refused", (_what, code, said) => {
    expect(asserting(said)).toBe(code);
  });

  test("with extensions that nobody asked for is accepted", () => {
    const tail = encode({ credProtect: 2, more: [Uint8Array.of(1), true] });
    expect(asserting({ flags: FLAG.UP | FLAG.UV | FLAG.ED, tail })).toBe("accepted");
  });

  test("with a credential in an assertion is refused", () => {
    const authenticator = new Authenticator();
    const credential = Buffer.concat([Buffer.alloc(16), Buffer.from([0, 32]), authenticator.credentialId]);
    const tail = Buffer.concat([credential, encode(authenticator.coseKey())]);
    expect(asserting({ flags: UP_UV_AT, tail }, PASSKEYS, authenticator)).toBe("PASSKEY_MALFORMED");
  });

  test("is malformed or parsed, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 0, max: 255 }), (bytes, flags) => {
        const changed = bytes.length > 32 ? bytes.with(32, flags) : bytes;
        return ["accepted", "PASSKEY_MALFORMED"].includes(codeOf(() => parseAuthenticatorData(changed)));
      }),
      { numRuns: 2_000 },
    );
  });

  test("nested as deep as its size allows ends in a refusal", () => {
    const deep = Uint8Array.from({ length: 4_000 }, (_, at) => (at === 0 ? 0xa1 : at % 2 === 1 ? 0x00 : 0xa1));
    expect(codeOf(() => takeCborMap(deep, "deep"))).toBe("PASSKEY_MALFORMED");
    const arrays = Uint8Array.from({ length: 4_000 }, (_, at) => [0xa1, 0x00][at] ?? 0x81);
    expect(codeOf(() => takeCborMap(arrays, "deep"))).toBe("PASSKEY_MALFORMED");
  });
});

describe("the counter", () => {
  test("may stand at zero, and otherwise only goes up", () => {
    expect(codeOf(() => checkCounter(0, 0))).toBe("accepted");
    expect(codeOf(() => checkCounter(0, 1))).toBe("accepted");
    expect(codeOf(() => checkCounter(1, 2))).toBe("accepted");
    expect(codeOf(() => checkCounter(1, 2 ** 32 - 1))).toBe("accepted");
    for (const asserted of [0, 4, 5]) {
      expect(codeOf(() => checkCounter(5, asserted))).toBe("PASSKEY_COUNTER_REGRESSED");
    }
  });
});

describe("a registration", () => {
  const cose = (changes: readonly (readonly [number, unknown])[], authenticator = new Authenticator()) =>
    new Map([...authenticator.coseKey(), ...changes]);
  const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey.export({ format: "jwk" });
  const weakModulus = Uint8Array.from(Buffer.from(weak.n ?? "", "base64url"));

  test.each<[string, string, SaidAtRegistration]>([
    ["whose client data is of an assertion", "PASSKEY_TYPE_MISMATCH", { clientData: { type: "webauthn.get" } }],
    ["of another challenge", "PASSKEY_CHALLENGE_MISMATCH", { clientData: { challenge: "AAAA" } }],
    ["of another origin", "PASSKEY_ORIGIN_NOT_ALLOWED", { clientData: { origin: "https://evil.example" } }],
    ["of another relying party", "PASSKEY_RP_MISMATCH", { rpId: "evil.example" }],
    ["without verification of the user", "PASSKEY_USER_NOT_VERIFIED", { flags: FLAG.UP | FLAG.AT }],
    ["without the user", "PASSKEY_USER_NOT_VERIFIED", { flags: FLAG.UV | FLAG.AT }],
    ["without a credential's flag", "PASSKEY_MALFORMED", { flags: FLAG.UP | FLAG.UV }],
    ["with a short credential id", "PASSKEY_MALFORMED", { credentialId: new Uint8Array(15) }],
    ["with a credential id over its limit", "PASSKEY_MALFORMED", { credentialId: new Uint8Array(1024) }],
    ["with bytes behind the key", "PASSKEY_MALFORMED", { tail: Uint8Array.of(0) }],
    ["with ES384", "PASSKEY_ALGORITHM_NOT_ALLOWED", { cose: cose([[3, -35]]) }],
    ["with RSA and SHA-1", "PASSKEY_ALGORITHM_NOT_ALLOWED", { cose: cose([[3, -65535]], new Authenticator("RS256")) }],
    ["without an algorithm", "PASSKEY_ALGORITHM_NOT_ALLOWED", { cose: new Map([[1, 2]]) }],
    ["with ES256 on another curve", "PASSKEY_MALFORMED", { cose: cose([[-1, 8]]) }],
    ["with a point that is not on its curve", "PASSKEY_MALFORMED", { cose: cose([[-3, new Uint8Array(32).fill(1)]]) }],
    ["with a coordinate too short", "PASSKEY_MALFORMED", { cose: cose([[-2, new Uint8Array(31)]]) }],
    ["with a compressed point", "PASSKEY_MALFORMED", { cose: cose([[-3, true]]) }],
    ["with a parameter too many", "PASSKEY_MALFORMED", { cose: cose([[2, new Uint8Array(4)]]) }],
    ["with Ed448's curve", "PASSKEY_MALFORMED", { cose: cose([[-1, 7]], new Authenticator("EdDSA")) }],
    ["with RSA of 1024 bits", "PASSKEY_MALFORMED", { cose: cose([[-1, weakModulus]], new Authenticator("RS256")) }],
    [
      "with RSA's exponent 3",
      "PASSKEY_MALFORMED",
      { cose: cose([[-2, Uint8Array.of(3)]], new Authenticator("RS256")) },
    ],
    ["with a maker's attestation", "PASSKEY_ATTESTATION_UNSUPPORTED", { format: "fido-u2f", statement: { x5c: [] } }],
    [
      "with a maker's certificate",
      "PASSKEY_ATTESTATION_UNSUPPORTED",
      {
        format: "packed",
        statement: { alg: -7, sig: new Uint8Array(64), x5c: [new Uint8Array(9)] },
      },
    ],
    ["with none, and a statement", "PASSKEY_ATTESTATION_UNSUPPORTED", { statement: { sig: new Uint8Array(8) } }],
    [
      "with a self attestation that it did not sign",
      "PASSKEY_SIGNATURE_INVALID",
      {
        format: "packed",
        statement: { alg: -7, sig: new Uint8Array(70) },
      },
    ],
  ])("%s is refused", (_what, code, said) => {
    expect(registering(said, authenticatorOf(said))).toBe(code);
  });

  test("with a credential id of either limit is accepted", () => {
    for (const length of [16, 1023]) expect(registering({ credentialId: new Uint8Array(length) })).toBe("accepted");
  });

  test("that can be copied, and has been, says so", () => {
    const flags = UP_UV_AT | FLAG.BE | FLAG.BS;
    const response = new Authenticator().create(CHALLENGE, { flags });
    const made = verifyRegistration(response, encodeBase64url(CHALLENGE), PASSKEYS);
    expect(made).toMatchObject({ isBackupEligible: true, isBackedUp: true });
  });

  test("that is not an attestation object is refused", () => {
    const { attestationObject, clientDataJson } = new Authenticator().create(CHALLENGE);
    const trailing = Buffer.concat([attestationObject, Uint8Array.of(0)]);
    const others = [new Uint8Array(0), Uint8Array.of(0x80), trailing, encode({ fmt: "none", attStmt: {} })];
    const noMap = encode({ fmt: "none", attStmt: [], authData: parseOutAuthData(attestationObject) });
    for (const object of [...others, noMap, new Uint8Array(4097)]) {
      const attempt = () =>
        verifyRegistration({ attestationObject: object, clientDataJson }, encodeBase64url(CHALLENGE), PASSKEYS);
      expect(codeOf(attempt)).toBe("PASSKEY_MALFORMED");
    }
  });

  function authenticatorOf({ cose: key }: SaidAtRegistration): Authenticator {
    return new Authenticator(key?.get(1) === 3 ? "RS256" : "ES256");
  }

  function parseOutAuthData(attestationObject: Uint8Array): unknown {
    return takeCborMap(attestationObject, "test")[0].get("authData");
  }
});

test("a key that is parsed is the key that was written", () => {
  for (const algorithm of ALGORITHMS) {
    const authenticator = new Authenticator(algorithm);
    const [map] = takeCborMap(encode(authenticator.coseKey()), "key");
    const der = parseCoseKey(map).key.export({ type: "spki", format: "der" });
    expect(createPublicKey({ key: der, type: "spki", format: "der" }).equals(authenticator.publicKey)).toBe(true);
  }
});

describe("an app's rules", () => {
  const rules = (changes: object) => passkeyRules.safeParse({ ...PASSKEYS, ...changes }).success;

  test("name origins under the relying party's id", () => {
    expect(rules({})).toBe(true);
    expect(rules({ rpId: "localhost", origins: ["http://localhost:8080"] })).toBe(true);
    expect(rules({ origins: [`https://${RP_ID}`, `https://a.b.${RP_ID}:8443`] })).toBe(true);
    expect(rules({ origins: [`android:apk-key-hash:${"A".repeat(43)}`] })).toBe(true);
  });

  test.each([
    ["an origin elsewhere", { origins: ["https://evil.example"] }],
    ["an origin that only ends like it", { origins: ["https://evilwallet.example"] }],
    ["an origin without TLS", { origins: ["http://app.wallet.example"] }],
    ["an origin with a path", { origins: [`${ORIGIN}/login`] }],
    ["an origin with its default port", { origins: [`${ORIGIN}:443`] }],
    ["no origin", { origins: [] }],
    ["an id that is a URL", { rpId: ORIGIN }],
    ["a member that nobody knows", { userVerification: "discouraged" }],
  ])("with %s are refused", (_what, changes) => {
    expect(rules(changes)).toBe(false);
  });
});
