/** JSON under a passphrase: scrypt (RFC 7914), then AES-256-GCM with everything that is not secret as additional data. */
import { createCipheriv, createDecipheriv, randomBytes, scrypt } from "node:crypto";
import { z } from "../protocol/index.ts";

/** 128 MiB and some 0.4 s: what OWASP's password storage sheet asks of scrypt. */
const COST = { N: 2 ** 17, r: 8, p: 1 } as const;
/** A file cannot make its reader use more than this. */
const MAX_N = 2 ** 20;
const MAX_MEMORY_BYTES = 2 ** 30 + 2 ** 20;
const KEY_BYTES = 32;
const TAG_BYTES = 16;

const base64url = z.string().check(z.regex(/^[A-Za-z0-9_-]*$/), z.maxLength(65_536));
export const sealedJson = z.strictObject({
  kdf: z.strictObject({
    name: z.literal("scrypt"),
    N: z.int().check(z.minimum(2 ** 14), z.maximum(MAX_N)),
    r: z.literal(8),
    p: z.literal(1),
    salt: base64url,
  }),
  cipher: z.strictObject({ name: z.literal("aes-256-gcm"), nonce: base64url, ciphertext: base64url }),
});
export type SealedJson = z.output<typeof sealedJson>;

/** @param head - What stands beside it in the open, and must not be changed. */
export async function sealJson(value: unknown, passphrase: string, head: string): Promise<SealedJson> {
  const [salt, nonce] = [randomBytes(16), randomBytes(12)];
  const kdf: SealedJson["kdf"] = { name: "scrypt", ...COST, salt: salt.toString("base64url") };
  const cipher = createCipheriv("aes-256-gcm", await keyOf(passphrase, kdf), nonce);
  cipher.setAAD(additionalData(kdf, head));
  const sealed = Buffer.concat([cipher.update(JSON.stringify(value), "utf8"), cipher.final(), cipher.getAuthTag()]);
  return {
    kdf,
    cipher: { name: "aes-256-gcm", nonce: nonce.toString("base64url"), ciphertext: sealed.toString("base64url") },
  };
}

/** @throws Error if the passphrase is another one, or anything was changed: which of the two cannot be told. */
export async function openJson({ kdf, cipher }: SealedJson, passphrase: string, head: string): Promise<unknown> {
  const sealed = Buffer.from(cipher.ciphertext, "base64url");
  const nonce = Buffer.from(cipher.nonce, "base64url");
  const decipher = createDecipheriv("aes-256-gcm", await keyOf(passphrase, kdf), nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(additionalData(kdf, head)).setAuthTag(sealed.subarray(-TAG_BYTES));
  const text = Buffer.concat([decipher.update(sealed.subarray(0, -TAG_BYTES)), decipher.final()]);
  return JSON.parse(text.toString("utf8"));
}

function keyOf(passphrase: string, { N, r, p, salt }: SealedJson["kdf"]): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  // One passphrase has several spellings in Unicode, and keyboards differ.
  const text = passphrase.normalize("NFKC");
  scrypt(text, Buffer.from(salt, "base64url"), KEY_BYTES, { N, r, p, maxmem: MAX_MEMORY_BYTES }, (error, key) =>
    error === null ? resolve(key) : reject(error),
  );
  return promise;
}

function additionalData(kdf: SealedJson["kdf"], head: string): Buffer {
  return Buffer.from(JSON.stringify(["cloister/key-file/v1", kdf.name, kdf.N, kdf.r, kdf.p, kdf.salt, head]), "utf8");
}
