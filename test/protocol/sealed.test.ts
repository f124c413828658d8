/** Sealed requests against a second implementation by hand (RFC 9180, RFC 9458), fixed bytes, and everything cut or changed. */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
} from "node:crypto";
import fc from "fast-check";
import { AEAD_AES_128_GCM, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_X25519_HKDF_SHA256 } from "hpke";
import { beforeAll, describe, expect, test } from "vitest";
import {
  decodeSealed,
  encodeCbor,
  keyIdOf,
  MAX_ANSWER_BYTES,
  MAX_FRAME_BYTES,
  openRequest,
  sealRequest,
} from "../../protocol/index.ts";
import { pad, unpad } from "../../protocol/padding.ts";

const hex = (text: string) => Uint8Array.from(Buffer.from(text, "hex"));
const toHex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const utf8 = (text: string) => Buffer.from(text, "utf8");
const i2osp = (value: number, length: number) => Buffer.from(value.toString(16).padStart(2 * length, "0"), "hex");

const AUDIENCE = "test/app_00000000000000000000000000000000";
const SECRET = hex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8");
const PKCS8 = hex("302e020100300506032b656e04220420");
const SPKI = hex("302a300506032b656e032100");
const REQUEST = { stamps: ["c3RhbXA"], body: Uint8Array.of(123, 125) };
const ANSWER = { status: 200, body: Uint8Array.of(91, 93), signature: new Uint8Array(64).fill(9) };
const NONCE = new Uint8Array(32).fill(4);

const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8, SECRET]), format: "der", type: "pkcs8" });
const publicRaw = createPublicKey(privateKey).export({ format: "der", type: "spki" }).subarray(-32);
const keys = { answerKey: new Uint8Array(32).fill(1), sealingKey: Uint8Array.from(publicRaw) };
const pair = {
  publicKey: createPublicKey(privateKey).toCryptoKey("X25519", true, []),
  privateKey: privateKey.toCryptoKey("X25519", false, ["deriveBits"]),
} as CryptoKeyPair;

/** RFC 9180, sections 4 and 5, for one suite: base mode, KEM 0x0020, KDF 0x0001, AEAD 0x0002. */
const KEM = Buffer.concat([utf8("KEM"), i2osp(0x20, 2)]);
const HPKE = Buffer.concat([utf8("HPKE"), i2osp(0x20, 2), i2osp(1, 2), i2osp(2, 2)]);
const hmac = (key: Uint8Array, ...parts: Uint8Array[]) =>
  createHmac("sha256", key).update(Buffer.concat(parts)).digest();
const extract = (id: Buffer, salt: Uint8Array, label: string, ikm: Uint8Array) =>
  hmac(salt.length === 0 ? Buffer.alloc(32) : salt, utf8("HPKE-v1"), id, utf8(label), ikm);
const expand = (id: Buffer, prk: Uint8Array, label: string, info: Uint8Array, length: number) =>
  hmac(prk, i2osp(length, 2), utf8("HPKE-v1"), id, utf8(label), info, Buffer.of(1)).subarray(0, length);

function scheduleByHand(encapsulated: Uint8Array, info: Uint8Array) {
  const theirs = createPublicKey({ key: Buffer.concat([SPKI, encapsulated]), format: "der", type: "spki" });
  const dh = diffieHellman({ privateKey, publicKey: theirs });
  const shared = expand(
    KEM,
    extract(KEM, Buffer.alloc(0), "eae_prk", dh),
    "shared_secret",
    Buffer.concat([encapsulated, publicRaw]),
    32,
  );
  const context = Buffer.concat([
    Buffer.of(0),
    extract(HPKE, Buffer.alloc(0), "psk_id_hash", Buffer.alloc(0)),
    extract(HPKE, Buffer.alloc(0), "info_hash", info),
  ]);
  const secret = extract(HPKE, shared, "secret", Buffer.alloc(0));
  return {
    key: expand(HPKE, secret, "key", context, 32),
    nonce: expand(HPKE, secret, "base_nonce", context, 12),
    exported: (label: string) => expand(HPKE, expand(HPKE, secret, "exp", context, 32), "sec", utf8(label), 32),
  };
}

function decryptByHand(key: Uint8Array, iv: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Buffer {
  const decipher = createDecipheriv("aes-256-gcm", key, iv).setAAD(aad).setAuthTag(sealed.subarray(-16));
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]);
}

const info = Buffer.concat([
  utf8("cloister/sealed-request/v1"),
  i2osp(AUDIENCE.length, 2),
  utf8(AUDIENCE),
  keys.answerKey,
]);

/** As the enclave does, apart from comparing the key id. */
async function opening(bytes: Uint8Array): Promise<unknown> {
  return openRequest(keys, pair, decodeSealed(bytes));
}

test("the library gives what RFC 9180 A.1.1.1 gives", async () => {
  const suite = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_128_GCM);
  const opened = await suite.Open(
    pair,
    hex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"),
    hex("f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"),
    { info: hex("4f6465206f6e2061204772656369616e2055726e"), aad: hex("436f756e742d30") },
  );
  expect(new TextDecoder().decode(opened)).toBe("Beauty is truth, truth beauty");
});

describe("a request", () => {
  let sealed: Awaited<ReturnType<typeof sealRequest>>;
  beforeAll(async () => {
    sealed = await sealRequest(keys, AUDIENCE, REQUEST);
  });

  test("opens by hand, byte for byte: version, key id, encapsulated key, audience, then one AES-256-GCM message", async () => {
    const { bytes } = sealed;
    const keyId = createHash("sha256").update(keys.answerKey).update(keys.sealingKey).digest().subarray(0, 8);
    expect(toHex(await keyIdOf(keys))).toBe(toHex(keyId));
    const encapsulated = bytes.subarray(9, 41);
    const head = Buffer.concat([Buffer.of(1), keyId, encapsulated, i2osp(AUDIENCE.length, 2), utf8(AUDIENCE)]);
    expect(toHex(bytes.subarray(0, head.length))).toBe(toHex(head));
    const { key, nonce } = scheduleByHand(encapsulated, info);
    const padded = decryptByHand(key, nonce, head, bytes.subarray(head.length));
    const cbor = "a2667374616d707381676333526862584164626f6479427b7d";
    expect(toHex(padded)).toBe(`${"00000019"}${cbor}`.padEnd(2048, "0"));
  });

  test("opens in the enclave, and its answer opens for who sealed it", async () => {
    const { request, sealAnswer } = await openRequest(keys, pair, decodeSealed(sealed.bytes));
    expect(request).toEqual(REQUEST);
    expect(await sealed.openAnswer(await sealAnswer(ANSWER, NONCE))).toEqual(ANSWER);
  });

  test("has an answer that opens by hand: version, nonce, one AES-256-GCM message under RFC 9458's key", async () => {
    const { sealAnswer } = await openRequest(keys, pair, decodeSealed(sealed.bytes));
    const answer = await sealAnswer(ANSWER, NONCE);
    const encapsulated = sealed.bytes.subarray(9, 41);
    const secret = scheduleByHand(encapsulated, info).exported("cloister/sealed-answer/v1");
    const prk = hmac(Buffer.concat([encapsulated, NONCE]), secret);
    const key = hmac(prk, utf8("key"), Buffer.of(1));
    const iv = hmac(prk, utf8("nonce"), Buffer.of(1)).subarray(0, 12);
    expect(toHex(answer.subarray(0, 33))).toBe(`01${toHex(NONCE)}`);
    const padded = decryptByHand(key, iv, Buffer.alloc(0), answer.subarray(33));
    expect(padded.length).toBe(1024);
    expect(toHex(unpad(padded))).toBe(toHex(encodeCbor(ANSWER)));
  });

  test("that was sealed by hand opens in the enclave", async () => {
    // The ephemeral key of RFC 9180 A.1.1.
    const ephemeral = createPrivateKey({
      key: Buffer.concat([PKCS8, hex("52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736")]),
      format: "der",
      type: "pkcs8",
    });
    const encapsulated = createPublicKey(ephemeral).export({ format: "der", type: "spki" }).subarray(-32);
    expect(toHex(encapsulated)).toBe("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431");
    const { key, nonce } = scheduleByHand(encapsulated, info);
    const head = Buffer.concat([
      Buffer.of(1),
      await keyIdOf(keys),
      encapsulated,
      i2osp(AUDIENCE.length, 2),
      utf8(AUDIENCE),
    ]);
    const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(head);
    const body = cipher.update(pad(encodeCbor(REQUEST)));
    cipher.final();
    const bytes = Buffer.concat([head, body, cipher.getAuthTag()]);
    // Fixed bytes: a change here is a change of the wire.
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(
      "0bffb2a4151e2890c50e401f14005361f46e03a25e84b0e994522a878a06584d",
    );
    expect((await openRequest(keys, pair, decodeSealed(bytes))).request).toEqual(REQUEST);
  });

  test("that is changed anywhere is refused", async () => {
    const { bytes } = sealed;
    for (const at of [...bytes.keys()].filter((each) => each < 90 || each % 97 === 0 || each > bytes.length - 18)) {
      const changed = bytes.with(at, (bytes[at] ?? 0) ^ 1);
      const result = opening(changed);
      // The key id is the enclave's to compare; here it is additional data like the rest of the head.
      await expect(result).rejects.toMatchObject({
        code: expect.stringMatching(/^(MALFORMED_SEALED|SEALED_REQUEST_INVALID)$/),
      });
    }
  });

  test("for another audience, or with another boot's answer key beside the same sealing key, is refused", async () => {
    const otherKeys = { ...keys, answerKey: new Uint8Array(32).fill(2) };
    const invalid = { code: "SEALED_REQUEST_INVALID" };
    await expect(openRequest(otherKeys, pair, decodeSealed(sealed.bytes))).rejects.toMatchObject(invalid);
    const head = decodeSealed(sealed.bytes);
    await expect(openRequest(keys, pair, { ...head, audience: "test" })).rejects.toMatchObject(invalid);
  });

  test("is answered by nothing but its own answer", async () => {
    const other = await sealRequest(keys, AUDIENCE, REQUEST);
    const { sealAnswer } = await openRequest(keys, pair, decodeSealed(other.bytes));
    const answer = await sealAnswer(ANSWER, NONCE);
    await expect(sealed.openAnswer(answer)).rejects.toMatchObject({ code: "SEALED_ANSWER_INVALID" });
    await expect(other.openAnswer(answer.with(40, (answer[40] ?? 0) ^ 1))).rejects.toMatchObject({
      code: "SEALED_ANSWER_INVALID",
    });
    await expect(other.openAnswer(answer.subarray(0, 33))).rejects.toMatchObject({ code: "MALFORMED_SEALED" });
    await expect(other.openAnswer(answer.with(0, 2))).rejects.toMatchObject({ code: "MALFORMED_SEALED" });
  });

  test("of any bytes never throws anything but a refusal", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        const result = opening(bytes);
        await expect(result).rejects.toMatchObject({ code: expect.stringMatching(/SEALED/) });
      }),
    );
  });
});

describe("padding", () => {
  test.each([
    [0, 1024],
    [1020, 1024],
    [1021, 2048],
    [2044, 2048],
    [2045, 4096],
    [300_000, 524_288],
    [524_284, 524_288],
    [524_285, MAX_FRAME_BYTES - 1024],
    [MAX_FRAME_BYTES - 1028, MAX_FRAME_BYTES - 1024],
  ])("%d bytes take %d", (length, size) => {
    const message = new Uint8Array(length).fill(7);
    expect(pad(message).length).toBe(size);
    expect(toHex(unpad(pad(message)))).toBe(toHex(message));
  });

  test("is for what fits into a frame when it is sealed, as the greatest answer does", async () => {
    expect(() => pad(new Uint8Array(MAX_FRAME_BYTES - 1027))).toThrow(RangeError);
    const { bytes } = await sealRequest(keys, AUDIENCE, REQUEST);
    const { sealAnswer } = await openRequest(keys, pair, decodeSealed(bytes));
    const body = await sealAnswer({ ...ANSWER, body: new Uint8Array(MAX_ANSWER_BYTES) }, NONCE);
    const message = { id: 2 ** 53 - 1, status: 599, body, signature: null, boot: new Uint8Array(8) };
    expect(encodeCbor(message).length).toBeLessThanOrEqual(MAX_FRAME_BYTES);
    const open = { ...message, body: new Uint8Array(MAX_ANSWER_BYTES), signature: new Uint8Array(64) };
    expect(encodeCbor(open).length).toBeLessThanOrEqual(MAX_FRAME_BYTES);
  });

  test("is refused where it is not as it must be", () => {
    const padded = pad(Uint8Array.of(1, 2, 3));
    const malformed = expect.objectContaining({ code: "MALFORMED_SEALED" });
    const wrong = [
      new Uint8Array(0),
      padded.with(0, 255),
      padded.with(1023, 1),
      padded.subarray(0, 7),
      new Uint8Array([...padded, ...new Uint8Array(1024)]),
      new Uint8Array(MAX_FRAME_BYTES).with(1, 15),
    ];
    for (const each of wrong) expect(() => unpad(each)).toThrow(malformed);
  });
});
