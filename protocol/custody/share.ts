/**
 * One share of a wallet's secret, as it is kept and brought: whose it is, of which set, and what the secret must be. A
 * share says nothing of the secret; the digest in it neither, since nobody guesses 128 bits.
 *
 *   version (1) ‖ role (1) ‖ kind (1) ‖ wallet (16) ‖ set (16) ‖ commitment (32) ‖ point
 */
import type { Curve } from "../accounts.ts";
import { decodeHex, encodeHex } from "../encoding.ts";
import { ProtocolError } from "../errors.ts";
import { combineShares, type RandomBytes, splitSecret } from "./shamir.ts";

export const SHARE_ROLES = ["device", "operator", "recovery"] as const;
export type ShareRole = (typeof SHARE_ROLES)[number];

/** What the secret is: entropy and then the seed that its words give, or a key. */
export type SecretKind = { readonly kind: "hd" } | { readonly kind: "single-key"; readonly curve: Curve };

export interface Share {
  readonly role: ShareRole;
  readonly secret: SecretKind;
  readonly walletId: string;
  /** 16 bytes, new whenever the secret is shared: shares of two sets have nothing to do with each other. */
  readonly setId: Uint8Array;
  /** {@link commitmentTo} the secret. */
  readonly commitment: Uint8Array;
  readonly point: Uint8Array;
}

const VERSION = 1;
const KINDS: readonly SecretKind[] = [
  { kind: "hd" },
  { kind: "single-key", curve: "secp256k1" },
  { kind: "single-key", curve: "ed25519" },
  { kind: "single-key", curve: "p256" },
];
const ID_BYTES = 16;
const DIGEST_BYTES = 32;
const HEAD_BYTES = 3 + 2 * ID_BYTES + DIGEST_BYTES;
const SEED_BYTES = 64;
const KEY_BYTES = 32;
const ENTROPY_BYTES: readonly number[] = [16, 20, 24, 28, 32];
export const MAX_SHARE_BYTES = HEAD_BYTES + 32 + SEED_BYTES + 1;

const COMMITMENT_LABEL = "cloister/share-commitment/v1";
const DIGEST_LABEL = "cloister/share/v1";

export function encodeShare({ role, secret, walletId, setId, commitment, point }: Share): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEAD_BYTES + point.length);
  bytes.set([VERSION, SHARE_ROLES.indexOf(role) + 1, KINDS.findIndex((kind) => isSameKind(kind, secret)) + 1]);
  bytes.set(walletBytes(walletId), 3);
  bytes.set(setId, 3 + ID_BYTES);
  bytes.set(commitment, 3 + 2 * ID_BYTES);
  bytes.set(point, HEAD_BYTES);
  return bytes;
}

/**
 * Reads what {@link encodeShare} wrote, and nothing else. That it belongs anywhere is not said by that.
 *
 * @returns Its parts are copies, which the caller wipes.
 * @throws {@link ProtocolError} `MALFORMED_SHARE`
 */
export function decodeShare(bytes: Uint8Array): Share {
  const role = SHARE_ROLES[(bytes[1] ?? 0) - 1];
  const secret = KINDS[(bytes[2] ?? 0) - 1];
  const point = bytes.slice(HEAD_BYTES);
  if (bytes[0] !== VERSION || role === undefined || secret === undefined) throw malformed();
  if (!isLengthOf(secret, point.length - 1) || point.at(-1) === 0) throw malformed();
  return {
    role,
    secret,
    walletId: `wal_${encodeHex(bytes.subarray(3, 3 + ID_BYTES))}`,
    setId: bytes.slice(3 + ID_BYTES, 3 + 2 * ID_BYTES),
    commitment: bytes.slice(3 + 2 * ID_BYTES, HEAD_BYTES),
    point,
  };
}

/**
 * Splits a secret anew. Nothing of an earlier set goes with a share of this one.
 *
 * @returns Encoded; the caller wipes them.
 */
export async function makeShares(
  secret: Uint8Array,
  of: { readonly walletId: string; readonly secret: SecretKind },
  random: RandomBytes,
): Promise<Readonly<Record<ShareRole, Uint8Array<ArrayBuffer>>> & { readonly setId: Uint8Array }> {
  const setId = Uint8Array.from(random(ID_BYTES));
  const commitment = await commitmentTo(secret, of.walletId, setId);
  const points = await splitSecret(secret, random);
  const [device, operator, recovery] = points;
  const shareOf = (role: ShareRole, point: Uint8Array) => encodeShare({ ...of, role, setId, commitment, point });
  try {
    return {
      setId,
      device: shareOf("device", device),
      operator: shareOf("operator", operator),
      recovery: shareOf("recovery", recovery),
    };
  } finally {
    for (const point of points) point.fill(0);
  }
}

/**
 * Gives the secret of two shares, if they are two of one set and neither was changed.
 *
 * @returns The caller wipes it.
 * @throws {@link ProtocolError} `SHARES_OF_TWO_WALLETS`, `SHARES_OF_TWO_SETS`, `SHARE_TWICE`, `SHARES_DO_NOT_FIT`
 */
export async function openShares(one: Share, other: Share, random: RandomBytes): Promise<Uint8Array> {
  if (one.walletId !== other.walletId) throw unfit("SHARES_OF_TWO_WALLETS", "one of the shares is another wallet's");
  if (!isSame(one.setId, other.setId)) {
    throw unfit("SHARES_OF_TWO_SETS", "the shares are of two sets: one is from before the wallet was shared anew");
  }
  if (one.role === other.role || one.point.at(-1) === other.point.at(-1)) {
    throw unfit("SHARE_TWICE", `twice the ${one.role} share`);
  }
  const isAlike = isSameKind(one.secret, other.secret) && one.point.length === other.point.length;
  if (!isAlike || !isSame(one.commitment, other.commitment)) throw changed();
  const secret = await combineShares(one.point, other.point, random);
  if (isSame(await commitmentTo(secret, one.walletId, one.setId), one.commitment)) return secret;
  secret.fill(0);
  throw changed();
}

/** Tells one share from every other, in what the vault keeps of it: 32 bytes. */
export function shareDigest(share: Uint8Array): Promise<Uint8Array> {
  return digest(DIGEST_LABEL, share);
}

/** 32 bytes by which the secret is known again; of one wallet and one set, so that two sets do not show that it is the same. */
function commitmentTo(secret: Uint8Array, walletId: string, setId: Uint8Array): Promise<Uint8Array> {
  return digest(COMMITMENT_LABEL, walletBytes(walletId), setId, secret);
}

async function digest(label: string, ...parts: readonly Uint8Array[]): Promise<Uint8Array> {
  const head = new TextEncoder().encode(label);
  const input = new Uint8Array(parts.reduce((sum, part) => sum + part.length, head.length));
  input.set(head);
  let at = head.length;
  for (const part of parts) {
    input.set(part, at);
    at += part.length;
  }
  try {
    return new Uint8Array(await crypto.subtle.digest("SHA-256", input));
  } finally {
    input.fill(0);
  }
}

function walletBytes(walletId: string): Uint8Array {
  return decodeHex(walletId.slice("wal_".length));
}

function isLengthOf({ kind }: SecretKind, bytes: number): boolean {
  return kind === "hd" ? ENTROPY_BYTES.includes(bytes - SEED_BYTES) : bytes === KEY_BYTES;
}

function isSameKind(one: SecretKind, other: SecretKind): boolean {
  if (one.kind === "hd" || other.kind === "hd") return one.kind === other.kind;
  return one.curve === other.curve;
}

/** Looks at every byte, whatever the first ones are. */
function isSame(one: Uint8Array, other: Uint8Array): boolean {
  let difference = one.length ^ other.length;
  for (const [index, byte] of one.entries()) difference |= byte ^ (other[index] ?? 0);
  return difference === 0;
}

function malformed(): ProtocolError {
  return new ProtocolError("MALFORMED_SHARE", "not a share of this version");
}

function changed(): ProtocolError {
  return unfit("SHARES_DO_NOT_FIT", "a share was changed: together they do not give the wallet's secret");
}

function unfit(
  code: "SHARES_OF_TWO_WALLETS" | "SHARES_OF_TWO_SETS" | "SHARE_TWICE" | "SHARES_DO_NOT_FIT",
  message: string,
): ProtocolError {
  return new ProtocolError(code, message);
}
