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

/** Null where any curve will do. */
export const CURVE_OF_FORMAT: Readonly<Record<AddressFormat, Curve | null>> = {
  ethereum: "secp256k1",
  solana: "ed25519",
  "bitcoin-p2pkh": "secp256k1",
  "bitcoin-p2sh-p2wpkh": "secp256k1",
  "bitcoin-p2wpkh": "secp256k1",
  "bitcoin-p2tr": "secp256k1",
  "bitcoin-testnet-p2pkh": "secp256k1",
  "bitcoin-testnet-p2sh-p2wpkh": "secp256k1",
  "bitcoin-testnet-p2wpkh": "secp256k1",
  "bitcoin-testnet-p2tr": "secp256k1",
  none: null,
};

/** Of one wallet: its record, and a page of wallets, keep their bounds. */
export const MAX_ACCOUNTS = 64;
/** BIP-32 knows 255; nobody uses more than six. */
const MAX_PATH_DEPTH = 10;

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

/** BIP-32's notation, `'` for hardened; each number has one spelling. */
export const derivationPath = z.string().check(
  z.maxLength(128),
  z.regex(/^m(?:\/(?:0|[1-9][0-9]{0,9})'?)+$/, "expected a path such as m/44'/60'/0'/0/0"),
  z.refine((path) => {
    const steps = path.split("/").slice(1);
    return steps.length <= MAX_PATH_DEPTH && steps.every((step) => Number.parseInt(step, 10) < 2 ** 31);
  }, `expected at most ${MAX_PATH_DEPTH} steps, each below 2^31`),
);

/** An account that is to be. */
export const newAccount = z.strictObject({
  format: z.enum(ADDRESS_FORMATS),
  /** Only where the format leaves it open. */
  curve: z.exactOptional(z.enum(CURVES)),
  /** Of an `hd` wallet: where the format has a path of its own, that one, at `index`. */
  path: z.exactOptional(derivationPath),
  /** Which of the format's own paths, in place of a path; 0 unless given. */
  index: z.exactOptional(z.int().check(z.minimum(0), z.maximum(2 ** 31 - 1))),
});
export type NewAccount = z.output<typeof newAccount>;

/** Which of a wallet's accounts: its address, or its path. The first that fits the operation, unless given. */
export const accountSelector = z.string().check(z.minLength(1), z.maxLength(130));
