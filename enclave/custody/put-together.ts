/** A wallet's secret, apart and together. */
import { createHash, timingSafeEqual } from "node:crypto";
import {
  decodeBase64url,
  decodeShare,
  openShares,
  ProtocolError,
  type RandomBytes,
  RequestError,
  type SecretKind,
  type Share,
  shareDigest,
} from "../../protocol/index.ts";
import type { StoredWallet, WalletSecret, WalletValue } from "../wallets/wallet-value.ts";
import type { SplitSecret } from "./split-secret.ts";

const SEED_BYTES = 64;

/** A share that a request brought, or that a record holds. */
export interface Brought {
  readonly walletId: string;
  /** The one that is wanted. */
  readonly role: "device" | "recovery";
  /** Base64url, as it travels, or the bytes of a record's, which are wiped; undefined where none came. */
  readonly brought: string | Uint8Array | undefined;
}

/**
 * Puts a wallet's secret together, from the operator's share and one more.
 *
 * @returns The caller wipes it.
 * @throws {@link RequestError} `SHARE_REQUIRED`, `SHARE_MALFORMED`, `SHARE_OF_ANOTHER_WALLET`, `SHARE_OUTDATED`,
 *   `SHARE_UNEXPECTED`, `SHARE_CHANGED`
 */
export async function secretOf(split: SplitSecret, of: Brought, random: RandomBytes): Promise<WalletSecret> {
  if (of.brought === undefined) {
    throw new RequestError("SHARE_REQUIRED", `this wallet is split: bring its ${of.role} share`);
  }
  const bytes = typeof of.brought === "string" ? decodeBytes(of.brought) : of.brought;
  const wiped = [bytes];
  try {
    const brought = decode(bytes);
    const operator = decodeShare(split.operatorShare);
    wiped.push(brought.point, operator.point);
    await checkBrought(brought, bytes, { ...of, split, operator });
    const secret = await openShares(operator, brought, random);
    try {
      return secretOfBytes(operator.secret, secret);
    } finally {
      secret.fill(0);
    }
  } finally {
    for (const each of wiped) each.fill(0);
  }
}

/** What is split of a secret. @returns The caller wipes it. */
export function bytesOfSecret(secret: WalletSecret): Uint8Array {
  return secret.kind === "hd" ? Buffer.concat([secret.entropy, secret.seed]) : Uint8Array.from(secret.privateKey);
}

export function kindOfSecret(secret: WalletSecret): SecretKind {
  return secret.kind === "hd" ? { kind: "hd" } : { kind: "single-key", curve: secret.curve };
}

/** How a wallet is stored whose secret is in shares: nothing of it but what was stored of it before, and no account's key. */
export function apart(whole: WalletValue, secret: StoredWallet["secret"]): StoredWallet {
  const [first, ...others] = whole.accounts;
  return {
    ...whole,
    secret,
    accounts: [{ ...first, privateKey: null }, ...others.map((account) => ({ ...account, privateKey: null }))],
  };
}

/** From what is wrong at all to what only the vault can know. */
async function checkBrought(
  brought: Share,
  bytes: Uint8Array,
  want: { readonly walletId: string; readonly role: Brought["role"]; split: SplitSecret; operator: Share },
): Promise<void> {
  if (brought.walletId !== want.walletId) {
    throw new RequestError("SHARE_OF_ANOTHER_WALLET", "this share is another wallet's");
  }
  if (Buffer.compare(brought.setId, want.operator.setId) !== 0) {
    throw new RequestError("SHARE_OUTDATED", "the wallet was shared anew since: this share is worth nothing any more");
  }
  if (brought.role !== want.role) {
    throw new RequestError("SHARE_UNEXPECTED", `the ${brought.role} share, where the ${want.role} share is wanted`);
  }
  if (!timingSafeEqual(await shareDigest(bytes), want.split.digests[want.role])) {
    throw new RequestError("SHARE_CHANGED", "not the share that was given out: it was changed");
  }
}

/** The other way round from {@link bytesOfSecret}. */
export function secretOfBytes(kind: SecretKind, bytes: Uint8Array): WalletSecret {
  return kind.kind === "hd"
    ? { kind: "hd", entropy: bytes.slice(0, -SEED_BYTES), seed: bytes.slice(-SEED_BYTES) }
    : { kind: "single-key", curve: kind.curve, privateKey: Uint8Array.from(bytes) };
}

function decodeBytes(text: string): Uint8Array {
  try {
    return decodeBase64url(text);
  } catch (cause) {
    throw malformed(cause);
  }
}

function decode(bytes: Uint8Array): Share {
  try {
    return decodeShare(bytes);
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw malformed(cause);
  }
}

function malformed(cause: unknown): RequestError {
  return new RequestError("SHARE_MALFORMED", "not a share of a wallet", { cause });
}

/** Tells one asking from another; 32 bytes. */
export function digestOfRequest(operation: string, requestId: string, params: object): Buffer {
  return createHash("sha256")
    .update(JSON.stringify([operation, requestId, params]), "utf8")
    .digest();
}
