/**
 * A recovery share in a file of the user's, sealed to a key of theirs: one that a passphrase gives (scrypt, RFC 7914), or
 * one that they keep elsewhere. The enclave seals to it, so that nobody on the way ever has the share in the open.
 */
import { scryptAsync } from "@noble/hashes/scrypt.js";
import {
  decodeBase64url,
  deriveShareKey,
  encodeBase64url,
  openSealedShare,
  sealedShare,
  sharePublicKey,
  sharePublicKeyOf,
  z,
} from "../protocol/index.ts";
import { CustodyError } from "./errors.ts";

/** 128 MiB: what OWASP's password storage sheet asks of scrypt. */
const COST = { N: 2 ** 17, r: 8, p: 1 } as const;
const SALT_BYTES = 16;
const KEY_BYTES = 32;
const MIN_PASSPHRASE_LENGTH = 8;

const kdf = z.strictObject({
  name: z.literal("scrypt"),
  N: z.literal(COST.N),
  r: z.literal(COST.r),
  p: z.literal(COST.p),
  salt: z.string().check(z.regex(/^[A-Za-z0-9_-]{22}$/)),
});
export const recoveryRecipient = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("passphrase"), kdf }),
  z.strictObject({ kind: z.literal("public-key"), publicKey: sharePublicKey }),
]);
const recoveryFile = z.strictObject({
  kind: z.literal("cloister-recovery-share"),
  version: z.literal(1),
  /** `<deployment>/<appId>` */
  audience: z.string(),
  walletId: z.string(),
  recipient: recoveryRecipient,
  share: sealedShare,
});
/** JSON; it holds nothing that is secret without its passphrase or key. */
export type RecoveryFile = z.output<typeof recoveryFile>;

/** Who can open a recovery file. */
export type RecoveryRecipient =
  | { readonly kind: "passphrase"; readonly passphrase: string }
  /** X25519, hex. */
  | { readonly kind: "public-key"; readonly publicKey: string };

/** By what a recovery file is opened. */
export type RecoveryOpener =
  | { readonly kind: "passphrase"; readonly passphrase: string }
  | { readonly kind: "key"; readonly pair: CryptoKeyPair };

/** @returns The key to have a share sealed to, and what the file says of it. */
export async function recipientOf(
  recipient: RecoveryRecipient,
): Promise<{ readonly publicKey: string; readonly recipient: RecoveryFile["recipient"] }> {
  if (recipient.kind === "public-key") return { publicKey: recipient.publicKey, recipient };
  const { passphrase } = recipient;
  if (passphrase.length < MIN_PASSPHRASE_LENGTH) {
    throw new TypeError(`a passphrase of at least ${MIN_PASSPHRASE_LENGTH} characters`);
  }
  const salt = encodeBase64url(crypto.getRandomValues(new Uint8Array(SALT_BYTES)));
  const kdf = { name: "scrypt", ...COST, salt } as const;
  const pair = await pairOf(passphrase, kdf);
  return { publicKey: await sharePublicKeyOf(pair), recipient: { kind: "passphrase", kdf } };
}

/**
 * Opens a recovery file.
 *
 * @returns The share, base64url: as secret as half of the key.
 * @throws {@link CustodyError} `RECOVERY_FILE_MALFORMED`; `RECOVERY_FILE_NOT_OPENED` for another passphrase or key, or a
 *   file that was changed: which of them cannot be told
 */
export async function openRecoveryFile(file: unknown, opener: RecoveryOpener): Promise<string> {
  const { audience, walletId, recipient, share } = parseRecoveryFile(file);
  if ((recipient.kind === "passphrase") !== (opener.kind === "passphrase")) {
    throw notOpened(`this file is opened by a ${recipient.kind === "passphrase" ? "passphrase" : "key"}`);
  }
  const pair =
    opener.kind === "key"
      ? opener.pair
      : await pairOf(opener.passphrase, recipient.kind === "passphrase" ? recipient.kdf : null);
  let opened: Uint8Array;
  try {
    opened = await openSealedShare(pair, { audience, walletId, role: "recovery" }, share);
  } catch (cause) {
    throw notOpened("not this passphrase or key, or the file was changed", cause);
  }
  try {
    return encodeBase64url(opened);
  } finally {
    opened.fill(0);
  }
}

/** @throws {@link CustodyError} `RECOVERY_FILE_MALFORMED` */
export function parseRecoveryFile(file: unknown): RecoveryFile {
  const parsed = recoveryFile.safeParse(file);
  if (parsed.success) return parsed.data;
  throw new CustodyError("RECOVERY_FILE_MALFORMED", "not a recovery file of this version", { cause: parsed.error });
}

async function pairOf(passphrase: string, of: z.output<typeof kdf> | null): Promise<CryptoKeyPair> {
  if (of === null) throw notOpened("this file is opened by a key");
  // One passphrase has several spellings in Unicode, and keyboards differ.
  const text = new TextEncoder().encode(passphrase.normalize("NFKC"));
  const { N, r, p } = of;
  const secret = await scryptAsync(text, decodeBase64url(of.salt), { N, r, p, dkLen: KEY_BYTES });
  try {
    return await deriveShareKey(secret);
  } finally {
    text.fill(0);
    secret.fill(0);
  }
}

function notOpened(message: string, cause?: unknown): CustodyError {
  return new CustodyError("RECOVERY_FILE_NOT_OPENED", message, { cause });
}
