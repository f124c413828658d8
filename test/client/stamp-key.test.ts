import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, verify } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { generateStampKey, loginNonce, type StampKey, stampKeyOf } from "../../client/index.ts";
import { encodeHex } from "../../protocol/index.ts";

const P256 = { name: "ECDSA", namedCurve: "P-256" } as const;
const SPKI_HEAD = Buffer.from("3039301306072a8648ce3d020106082a8648ce3d030107032200", "hex");

function keyObject({ publicKey }: StampKey): KeyObject {
  return createPublicKey({ key: Buffer.concat([SPKI_HEAD, publicKey]), format: "der", type: "spki" });
}

/** A stamp key whose signatures are these bytes: WebCrypto's r ‖ s cannot be chosen, what is made of it can. */
async function derOf(rs: Uint8Array<ArrayBuffer>): Promise<string> {
  const pair = (await crypto.subtle.generateKey(P256, false, ["sign", "verify"])) as CryptoKeyPair;
  const key = await stampKeyOf(pair);
  const { sign } = crypto.subtle;
  crypto.subtle.sign = async () => rs.buffer;
  try {
    return encodeHex(await key.sign(new Uint8Array(0)));
  } finally {
    crypto.subtle.sign = sign;
  }
}

function rs(r: string, s: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(r.padStart(64, "0") + s.padStart(64, "0"), "hex"));
}

describe("a generated key", () => {
  test("signs so that OpenSSL verifies, whatever the body", async () => {
    const key = await generateStampKey();
    const verifier = keyObject(key);
    expect(key.scheme).toBe("SIGNATURE_SCHEME_TK_API_P256");
    expect(key.publicKey).toHaveLength(33);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (body) => {
        const signature = await key.sign(Uint8Array.from(body));
        expect(verify("sha256", body, verifier, signature)).toBe(true);
        expect(verify("sha256", Buffer.concat([body, Uint8Array.of(0)]), verifier, signature)).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  test("has the compressed point that OpenSSL exports, for either parity", async () => {
    const parities = new Set<number | undefined>();
    for (let made = 0; made < 20; made += 1) {
      const key = await generateStampKey();
      const { x = "", y = "" } = keyObject(key).export({ format: "jwk" });
      expect(encodeHex(key.publicKey.subarray(1))).toBe(Buffer.from(x, "base64url").toString("hex"));
      expect(key.publicKey[0]).toBe(2 + ((Buffer.from(y, "base64url")[31] ?? 0) & 1));
      parities.add(key.publicKey[0]);
    }
    expect(parities).toEqual(new Set([2, 3]));
  });

  test("does not give its private half away", async () => {
    const key = await generateStampKey();
    expect(Object.keys(key).sort()).toEqual(["publicKey", "scheme", "sign"]);
    expect(JSON.stringify(key)).not.toContain('"d"');
  });
});

test("a pair that the caller keeps signs as the same key", async () => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const [pkcs8, spki] = [
    privateKey.export({ type: "pkcs8", format: "der" }),
    publicKey.export({ type: "spki", format: "der" }),
  ];
  const pair = {
    privateKey: await crypto.subtle.importKey("pkcs8", pkcs8, P256, false, ["sign"]),
    publicKey: await crypto.subtle.importKey("spki", spki, P256, true, ["verify"]),
  };
  const key = await stampKeyOf(pair);
  const body = new TextEncoder().encode("body");
  expect(verify("sha256", body, publicKey, await key.sign(body))).toBe(true);
});

describe("DER of a signature (X.690: integers of least length, never negative)", () => {
  const high = `80${"00".repeat(31)}`;
  const full = "ff".repeat(32);
  test.each<[string, string, string, string]>([
    ["small numbers", "01", "02", "3006020101020102"],
    ["a number with its high bit set", "80", "7f", "300702020080" + "02017f"],
    ["zero", "00", "00", "3006020100020100"],
    ["leading zeros before a high bit", "00ff", "0100", "3008020200ff02020100"],
    [
      "both of 32 bytes",
      `01${"00".repeat(31)}`,
      `7f${"ff".repeat(31)}`,
      `3044022001${"00".repeat(31)}02207f${"ff".repeat(31)}`,
    ],
    ["both of 33", high, full, `3046022100${high}022100${full}`],
  ])("%s", async (_what, r, s, der) => {
    expect(await derOf(rs(r, s))).toBe(der);
  });

  test("any r and s are read back by a reader of the shape", async () => {
    const byte32 = fc.oneof(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc
        .tuple(fc.nat(31), fc.uint8Array({ minLength: 32, maxLength: 32 }))
        .map(([zeros, bytes]) => bytes.fill(0, 0, zeros)),
    );
    await fc.assert(
      fc.asyncProperty(byte32, byte32, async (r, s) => {
        const der = Buffer.from(await derOf(Uint8Array.of(...r, ...s)), "hex");
        expect(der[0]).toBe(0x30);
        expect(der[1]).toBe(der.length - 2);
        let at = 2;
        for (const number of [r, s]) {
          expect(der[at]).toBe(0x02);
          const digits = der.subarray(at + 2, at + 2 + (der[at + 1] ?? 0));
          expect((digits[0] ?? 0xff) < 0x80).toBe(true);
          // A zero stands first only where the next byte's high bit asks for it.
          if (digits.length > 1 && digits[0] === 0) expect((digits[1] ?? 0) >= 0x80).toBe(true);
          expect(BigInt(`0x${digits.toString("hex")}`)).toBe(BigInt(`0x${encodeHex(number)}`));
          at += 2 + digits.length;
        }
        expect(at).toBe(der.length);
      }),
      { numRuns: 100 },
    );
  });
});

describe("loginNonce", () => {
  const key = (publicKey: Uint8Array<ArrayBuffer>): StampKey => ({
    scheme: "SIGNATURE_SCHEME_TK_API_P256",
    publicKey,
    sign: async () => new Uint8Array(0),
  });

  test("is a known answer: SHA-256 over the hex, not over the bytes", async () => {
    // printf '02%064d' 1 | sha256sum
    const one = Uint8Array.from([2, ...new Uint8Array(31), 1]);
    expect(await loginNonce(key(one))).toBe("a3a7c825e33e4d1567562895df2ecdf7c57c808d30d9deef3270059a86a96beb");
  });

  test("is lower-case hex of any key's lower-case hex", async () => {
    const generated = await generateStampKey();
    const expected = createHash("sha256").update(Buffer.from(generated.publicKey).toString("hex")).digest("hex");
    expect(await loginNonce(generated)).toBe(expected);
  });
});
