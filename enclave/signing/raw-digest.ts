/** Signatures over bytes of which nothing is known, and the little that can be held against such a request. */
import { type Account, type Curve, type Params, RequestError } from "../../protocol/index.ts";
import type { Signer } from "../wallets/signer.ts";

export type RawScheme = Params<"sign_digest">["scheme"];

const DIGEST_BYTES = 32;
const CURVES_OF: Readonly<Record<RawScheme, readonly Curve[]>> = {
  ecdsa: ["secp256k1", "p256"],
  schnorr: ["secp256k1"],
  eddsa: ["ed25519"],
};

export interface RawSignature {
  readonly signature: Uint8Array;
  readonly recoveryId: number | null;
}

/**
 * The one account that a selector and a scheme name. An address may stand for the same key in several formats; a path for
 * keys on several curves, of which the scheme must leave one.
 *
 * @throws {@link RequestError} `ACCOUNT_NOT_FOUND`, `SCHEME_MISMATCH`
 */
export function rawAccount(accounts: readonly Account[], selector: string, scheme: RawScheme): Account {
  const named = accounts.filter(({ address, path }) => selector === address || selector === path);
  if (named.length === 0) throw new RequestError("ACCOUNT_NOT_FOUND", "this wallet has no such account");
  const fitting = named.filter(({ curve }) => CURVES_OF[scheme].includes(curve));
  const [account] = fitting;
  if (account === undefined) throw new RequestError("SCHEME_MISMATCH", `no ${scheme} on ${named[0]?.curve}`);
  if (fitting.some(({ publicKey }) => publicKey !== account.publicKey)) {
    throw new RequestError("SCHEME_MISMATCH", `${scheme} keys of two curves at this path: name the address`);
  }
  return account;
}

/**
 * What is seen is judged: on Ed25519 the message is here, and one that another operation is for is not signed unseen. A
 * transaction of Solana's, of any version, names the keys that sign it; so does an off-chain message.
 *
 * @param accounts - Of the wallet.
 * @throws {@link RequestError} `INVALID_PARAMS`, `NOT_RAW`
 */
export function checkRaw(bytes: Uint8Array, scheme: RawScheme, account: Account, accounts: readonly Account[]): void {
  if (scheme !== "eddsa") {
    if (bytes.length === DIGEST_BYTES) return;
    throw new RequestError("INVALID_PARAMS", `a digest of ${bytes.length} bytes, expected ${DIGEST_BYTES}`);
  }
  const isSolana = accounts.some(({ format, publicKey }) => format === "solana" && publicKey === account.publicKey);
  if (isSolana && Buffer.from(bytes).includes(account.publicKey, 0, "hex")) {
    throw new RequestError("NOT_RAW", "it names the key, as Solana's transactions and off-chain messages do");
  }
}

export function signRaw(bytes: Uint8Array, scheme: RawScheme, signer: Signer): RawSignature {
  switch (signer.curve) {
    case "secp256k1": {
      if (scheme === "schnorr") return { signature: signer.signSchnorr(bytes, null), recoveryId: null };
      const { rs, recoveryId } = signer.signDigest(bytes);
      return { signature: rs, recoveryId };
    }
    case "p256":
      return { signature: signer.signDigest(bytes), recoveryId: null };
    case "ed25519":
      return { signature: signer.signMessage(bytes), recoveryId: null };
  }
}
