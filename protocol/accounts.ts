/** Accounts: a wallet's keys, as the outside knows them. */
import { z } from "./zod.ts";

export const CURVES = ["secp256k1", "ed25519", "p256"] as const;
export type Curve = (typeof CURVES)[number];

/** How an account's address is written. `none`: by its public key alone. */
export const ADDRESS_FORMATS = [
  "ethereum",
  "solana",
  "bitcoin-p2pkh",
  "bitcoin-p2sh-p2wpkh",
  "bitcoin-p2wpkh",
  "bitcoin-p2tr",
  "bitcoin-testnet-p2pkh",
  "bitcoin-testnet-p2sh-p2wpkh",
  "bitcoin-testnet-p2wpkh",
  "bitcoin-testnet-p2tr",
  "none",
] as const;
export type AddressFormat = (typeof ADDRESS_FORMATS)[number];

export const account = z.strictObject({
  /** In its format; the public key in hex where the format is `none`. */
  address: z.string().check(z.maxLength(130)),
  format: z.enum(ADDRESS_FORMATS),
  curve: z.enum(CURVES),
  /** Hex: compressed, 33 bytes, on secp256k1 and P-256 (SEC 1, 2.3.3); 32 bytes on Ed25519 (RFC 8032). */
  publicKey: z.string().check(z.regex(/^(?:[0-9a-f]{64}|[0-9a-f]{66})$/)),
  /** BIP-32 on secp256k1, SLIP-10 elsewhere; null for a single key. */
  path: z.nullable(z.string()),
});
export type Account = z.output<typeof account>;

/** Which of a wallet's accounts: its address, or its path. The first that fits the operation, unless given. */
export const accountSelector = z.string().check(z.minLength(1), z.maxLength(130));
