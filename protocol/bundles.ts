/**
 * Secrets on their way out of an enclave and into one: RFC 9180 in base mode, as requests are sealed, but to a key of
 * either end's own. What a bundle belongs to stands in HPKE's `info`: one that is shown in another place does not open.
 * Both ends run this file: in browsers, in Node, by WebCrypto.
 */
import { AEAD_AES_256_GCM, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_X25519_HKDF_SHA256 } from "hpke";
import { decodeCbor, encodeCbor } from "./cbor.ts";
import { ProtocolError } from "./errors.ts";
import { pad, unpad } from "./padding.ts";
import { bytesOf, bytesUpTo, z } from "./zod.ts";

const EXPORT_LABEL = "cloister/export/v1";
const IMPORT_LABEL = "cloister/import/v1";
const MAX_SECRET_BYTES = 2048;

const suite = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_256_GCM);

export const EXPORT_FORMS = ["mnemonic", "private-key", "keystore-v3"] as const;
export type ExportForm = (typeof EXPORT_FORMS)[number];

const exportedSecret = z.strictObject({
  form: z.enum(EXPORT_FORMS),
  /** Null for a mnemonic, which is all accounts'. */
  address: z.nullable(z.string()),
  /** Words in ASCII, the key's 32 bytes, or a keystore's JSON in UTF-8. */
  secret: bytesUpTo(MAX_SECRET_BYTES),
});
export type ExportedSecret = z.output<typeof exportedSecret>;

const importedSecret = z.discriminatedUnion("form", [
  /** Words in ASCII, one space between them. */
  z.strictObject({ form: z.literal("mnemonic"), secret: bytesUpTo(MAX_SECRET_BYTES) }),
  /** On the curve that the target was made for. */
  z.strictObject({ form: z.literal("private-key"), secret: bytesOf(32) }),
]);
export type ImportedSecret = z.output<typeof importedSecret>;

export interface Bundle {
  /** The encapsulated key, 32 bytes. */
  readonly enc: Uint8Array;
  readonly ciphertext: Uint8Array;
}

/** Which request, of whom, a secret was exported by. */
export interface ExportContext {
  readonly audience: string;
  readonly userId: string;
  readonly walletId: string;
  readonly requestId: string;
}

/** Which target a secret is imported to. */
export interface ImportContext {
  readonly audience: string;
  readonly userId: string;
  readonly importId: string;
}

/**
 * In the enclave.
 *
 * @param recipient - X25519, 32 bytes.
 * @throws {@link ProtocolError} `BUNDLE_RECIPIENT_INVALID` for a key to which nothing can be sealed
 */
export async function sealExport(
  recipient: Uint8Array,
  context: ExportContext,
  exported: ExportedSecret,
): Promise<Bundle> {
  return await seal(recipient, exportInfo(context), encodeCbor(exported));
}

/** At the caller's. The secret in what comes back is the caller's to wipe. @throws {@link ProtocolError} `BUNDLE_INVALID` */
export async function openExport(pair: CryptoKeyPair, context: ExportContext, bundle: Bundle): Promise<ExportedSecret> {
  return decodeOnce(exportedSecret, await open(pair, exportInfo(context), bundle));
}

/** At the caller's. @throws {@link ProtocolError} `BUNDLE_RECIPIENT_INVALID` */
export async function sealImport(target: Uint8Array, context: ImportContext, secret: ImportedSecret): Promise<Bundle> {
  return await seal(target, importInfo(context), encodeCbor(secret));
}

/** In the enclave. @throws {@link ProtocolError} `BUNDLE_INVALID` */
export async function openImport(pair: CryptoKeyPair, context: ImportContext, bundle: Bundle): Promise<ImportedSecret> {
  return decodeOnce(importedSecret, await open(pair, importInfo(context), bundle));
}

async function seal(recipient: Uint8Array, info: Uint8Array, plaintext: Uint8Array): Promise<Bundle> {
  const padded = pad(plaintext);
  try {
    const publicKey = await suite.DeserializePublicKey(Uint8Array.from(recipient));
    const { encapsulatedSecret, ctx } = await suite.SetupSender(publicKey, { info });
    return { enc: encapsulatedSecret, ciphertext: await ctx.Seal(padded) };
  } catch (cause) {
    throw new ProtocolError("BUNDLE_RECIPIENT_INVALID", "not a key to which anything can be sealed", { cause });
  } finally {
    plaintext.fill(0);
    padded.fill(0);
  }
}

async function open(pair: CryptoKeyPair, info: Uint8Array, { enc, ciphertext }: Bundle): Promise<Uint8Array> {
  try {
    const ctx = await suite.SetupRecipient(pair, Uint8Array.from(enc), { info });
    return await ctx.Open(Uint8Array.from(ciphertext));
  } catch (cause) {
    throw invalid(cause);
  }
}

/** What cannot be read was not sealed by this file, and is no better than what does not open. */
function decodeOnce<Value>(schema: z.ZodMiniType<Value>, padded: Uint8Array): Value {
  try {
    return decodeCbor(schema, unpad(padded));
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw invalid();
  } finally {
    padded.fill(0);
  }
}

function invalid(cause?: unknown): ProtocolError {
  return new ProtocolError("BUNDLE_INVALID", "not sealed to this key for this purpose", { cause });
}

function exportInfo({ audience, userId, walletId, requestId }: ExportContext): Uint8Array {
  return infoOf([EXPORT_LABEL, audience, userId, walletId, requestId]);
}

function importInfo({ audience, userId, importId }: ImportContext): Uint8Array {
  return infoOf([IMPORT_LABEL, audience, userId, importId]);
}

/** Each text with its length before it: no two contexts give the same bytes. */
function infoOf(texts: readonly string[]): Uint8Array {
  const parts = texts.map((text) => new TextEncoder().encode(text));
  const info = new Uint8Array(parts.reduce((sum, part) => sum + 2 + part.length, 0));
  let at = 0;
  for (const part of parts) {
    new DataView(info.buffer).setUint16(at, part.length);
    info.set(part, at + 2);
    at += 2 + part.length;
  }
  return info;
}
