/** Bundles of secrets: what opens, what does not, and their outside in fixed bytes. */
import { AEAD_AES_256_GCM, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_X25519_HKDF_SHA256 } from "hpke";
import { beforeAll, describe, expect, test } from "vitest";
import {
  type Bundle,
  decodeErasure,
  encodeCbor,
  encodeErasure,
  erasureSigningInput,
  openExport,
  openImport,
  ProtocolError,
  sealExport,
  sealImport,
} from "../../protocol/index.ts";

const EXPORT = { audience: "test/app_1", userId: "usr_1", walletId: "wal_1", requestId: "req_1" };
const IMPORT = { audience: "test/app_1", userId: "usr_1", importId: "imp_1" };
const suite = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_256_GCM);

let pair: CryptoKeyPair;
let other: CryptoKeyPair;
let recipient: Uint8Array;

const generate = async () => (await crypto.subtle.generateKey("X25519", true, ["deriveBits"])) as CryptoKeyPair;
const secret = () => new Uint8Array(32).fill(5);
const exported = () => ({ form: "private-key", address: "0x1", secret: secret() }) as const;

beforeAll(async () => {
  [pair, other] = [await generate(), await generate()];
  recipient = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
});

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "opened";
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return error.code;
  }
}

/** Seals any plaintext in any context, by the library alone. */
async function sealAny(info: Uint8Array, plaintext: Uint8Array): Promise<Bundle> {
  const publicKey = await suite.DeserializePublicKey(Uint8Array.from(recipient));
  const { encapsulatedSecret, ciphertext } = await suite.Seal(publicKey, plaintext, { info });
  return { enc: encapsulatedSecret, ciphertext };
}

test("what was sealed opens with its key and in its context", async () => {
  expect(await openExport(pair, EXPORT, await sealExport(recipient, EXPORT, exported()))).toEqual(exported());
  const imported = { form: "mnemonic", secret: secret() } as const;
  expect(await openImport(pair, IMPORT, await sealImport(recipient, IMPORT, imported))).toEqual(imported);
});

test("the context is its label and its parts, each with its length before it", async () => {
  const parts = ["cloister/import/v1", "test/app_1", "usr_1", "imp_1"];
  const info = Buffer.concat(parts.flatMap((part) => [Uint8Array.of(0, part.length), Buffer.from(part)]));
  const plaintext = encodeCbor({ form: "mnemonic", secret: secret() });
  const padded = new Uint8Array(1024);
  new DataView(padded.buffer).setUint32(0, plaintext.length);
  padded.set(plaintext, 4);
  expect(await openImport(pair, IMPORT, await sealAny(info, padded))).toEqual({ form: "mnemonic", secret: secret() });
  for (const wrong of [plaintext, padded.fill(0, 4), new Uint8Array(0)]) {
    expect(await codeOf(openImport(pair, IMPORT, await sealAny(info, wrong)))).toBe("BUNDLE_INVALID");
  }
});

describe("BUNDLE_INVALID", () => {
  test.each(["audience", "userId", "walletId", "requestId"] as const)("for an export of another %s", async (part) => {
    const bundle = await sealExport(recipient, EXPORT, exported());
    expect(await codeOf(openExport(pair, { ...EXPORT, [part]: `${EXPORT[part]}0` }, bundle))).toBe("BUNDLE_INVALID");
  });

  test("for another key, changed bytes, and an import in an export's place", async () => {
    const bundle = await sealExport(recipient, EXPORT, exported());
    expect(await codeOf(openExport(other, EXPORT, bundle))).toBe("BUNDLE_INVALID");
    for (const part of ["enc", "ciphertext"] as const) {
      const changed = { ...bundle, [part]: Uint8Array.from(bundle[part], (byte, at) => (at === 3 ? byte ^ 1 : byte)) };
      expect(await codeOf(openExport(pair, EXPORT, changed))).toBe("BUNDLE_INVALID");
    }
    expect(await codeOf(openExport(pair, EXPORT, { ...bundle, enc: new Uint8Array(31) }))).toBe("BUNDLE_INVALID");
    expect(await codeOf(openImport(pair, { ...IMPORT, importId: "wal_1" }, bundle))).toBe("BUNDLE_INVALID");
  });
});

test.each([0, 31, 33])("BUNDLE_RECIPIENT_INVALID for a key of %i bytes", async (length) => {
  const sealed = sealExport(new Uint8Array(length).fill(9), EXPORT, exported());
  expect(await codeOf(sealed)).toBe("BUNDLE_RECIPIENT_INVALID");
});

test("BUNDLE_RECIPIENT_INVALID for a point of low order: everybody knows the secret that it gives", async () => {
  for (const point of [new Uint8Array(32), Uint8Array.from({ length: 32 }, (_, at) => (at === 0 ? 1 : 0))]) {
    expect(await codeOf(sealExport(point, EXPORT, exported()))).toBe("BUNDLE_RECIPIENT_INVALID");
  }
});

test("whoever seals keeps the secret: what is wiped is the copy", async () => {
  const mine = exported();
  await sealExport(recipient, EXPORT, mine);
  expect(mine.secret).toEqual(secret());
});

test("a receipt has fixed text, and no other is read", () => {
  const erased = {
    ...({ v: 1, deployment: "test", appId: "app_1", userId: "usr_1", erasedAtMs: 1_790_000_000_000 } as const),
    records: { wallets: 1, events: 2, identities: 3, sessions: 4, passkeys: 5 },
  };
  const text = encodeErasure(erased);
  expect(text).toBe(
    '{"v":1,"deployment":"test","appId":"app_1","userId":"usr_1","erasedAtMs":1790000000000,"records":{"wallets":1,"events":2,"identities":3,"sessions":4,"passkeys":5}}',
  );
  expect(decodeErasure(text)).toEqual(erased);
  expect(Buffer.from(erasureSigningInput("{}")).toString()).toBe("cloister/erasure/v1\n{}");
  for (const wrong of ["{}", "", text.replace('"v":1', '"v":2'), text.replace("}}", '},"more":1}')]) {
    expect(() => decodeErasure(wrong)).toThrow(expect.objectContaining({ code: "MALFORMED_MESSAGE" }));
  }
});
