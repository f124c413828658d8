/**
 * A share on its way to whom it is for, and where they keep it: RFC 9180 in base mode, as sealed requests are, to a key of
 * a device's or of a recovery file's. It opens for that key alone, and only as the share of the wallet and the role that it
 * was sealed as.
 *
 *   version (1) ‖ encapsulated key (32) ‖ ciphertext
 */
import { AEAD_AES_256_GCM, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_X25519_HKDF_SHA256 } from "hpke";
import { decodeBase64url, decodeHex, encodeBase64url, encodeHex } from "../encoding.ts";
import { ProtocolError } from "../errors.ts";
import { z } from "../zod.ts";
import { MAX_SHARE_BYTES, type ShareRole } from "./share.ts";

const LABEL = "cloister/sealed-share/v1";
const VERSION = 1;
const ENCAPSULATED_BYTES = 32;
const TAG_BYTES = 16;
/** Characters of base64url. */
const MAX_LENGTH = Math.ceil(((1 + ENCAPSULATED_BYTES + MAX_SHARE_BYTES + TAG_BYTES) * 8) / 6);

const suite = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_256_GCM);

/** X25519, hex. */
export const sharePublicKey = z.string().check(z.regex(/^[0-9a-f]{64}$/, "expected an X25519 public key in hex"));
/** Base64url. */
export const sealedShare = z.string().check(z.regex(/^[A-Za-z0-9_-]+$/), z.maxLength(MAX_LENGTH));

/** Whose share it is. What is sealed as one does not open as another. */
export interface ShareAddress {
  /** `<deployment>/<appId>` */
  readonly audience: string;
  readonly walletId: string;
  readonly role: ShareRole;
}

/**
 * @param publicKey - Hex.
 * @returns Base64url.
 * @throws {@link ProtocolError} `MALFORMED_SHARE_KEY` for what is no key, or one that hides nothing
 */
export async function sealShare(publicKey: string, address: ShareAddress, share: Uint8Array): Promise<string> {
  try {
    const key = await suite.DeserializePublicKey(decodeHex(publicKey));
    const { encapsulatedSecret, ctx } = await suite.SetupSender(key, { info: infoOf(address) });
    const ciphertext = await ctx.Seal(share);
    return encodeBase64url(Uint8Array.from([VERSION, ...encapsulatedSecret, ...ciphertext]));
  } catch (cause) {
    throw new ProtocolError("MALFORMED_SHARE_KEY", "not an X25519 public key that a share can be sealed to", { cause });
  }
}

/**
 * @returns The share as it was encoded; the caller wipes it.
 * @throws {@link ProtocolError} `SHARE_NOT_OPENED`
 */
export async function openSealedShare(pair: CryptoKeyPair, address: ShareAddress, sealed: string): Promise<Uint8Array> {
  try {
    const bytes = decodeBase64url(sealed);
    if (bytes[0] !== VERSION) throw new TypeError("another version");
    const encapsulated = bytes.slice(1, 1 + ENCAPSULATED_BYTES);
    const ctx = await suite.SetupRecipient(pair, encapsulated, { info: infoOf(address) });
    return await ctx.Open(bytes.subarray(1 + ENCAPSULATED_BYTES));
  } catch (cause) {
    throw new ProtocolError("SHARE_NOT_OPENED", `not a ${address.role} share of this wallet, sealed to this key`, {
      cause,
    });
  }
}

/** @param extractable - Of the private half: true only where it is to be kept as bytes. */
export async function generateShareKey(extractable: boolean): Promise<CryptoKeyPair> {
  return (await suite.GenerateKeyPair(extractable)) as CryptoKeyPair;
}

/** The key pair of 32 secret bytes (RFC 9180, `DeriveKeyPair`): the same bytes give the same pair. */
export async function deriveShareKey(secret: Uint8Array): Promise<CryptoKeyPair> {
  return (await suite.DeriveKeyPair(secret, false)) as CryptoKeyPair;
}

/** Hex. */
export async function sharePublicKeyOf({ publicKey }: CryptoKeyPair): Promise<string> {
  return encodeHex(await suite.SerializePublicKey(publicKey));
}

function infoOf({ audience, walletId, role }: ShareAddress): Uint8Array {
  // Each with its end marked: none of them contains a line feed.
  return new TextEncoder().encode([LABEL, audience, walletId, role].map((text) => `${text}\n`).join(""));
}
