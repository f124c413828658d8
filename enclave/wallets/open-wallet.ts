/** A wallet while its keys are in memory. */
import { type Account, type AddressFormat, encodeHex, RequestError } from "../../protocol/index.ts";
import type { Authorised } from "../policy/authorised.ts";
import { signRecoverable } from "../signing/secp256k1.ts";
import { SecretKey } from "./secret-key.ts";
import type { Secp256k1Signer, Signer } from "./signer.ts";
import type { HeldAccount, WalletValue } from "./wallets.ts";

export class OpenWallet implements Disposable {
  readonly walletId: string;
  readonly accounts: readonly Account[];
  readonly #value: WalletValue;

  /** Takes the value over, and wipes it in the end. */
  constructor(walletId: string, value: WalletValue) {
    this.walletId = walletId;
    this.#value = value;
    this.accounts = value.accounts.map(publicAccount);
  }

  /**
   * @param selector - Its address or its path; the first of these formats where none is named.
   * @throws {@link RequestError} `ACCOUNT_NOT_FOUND`
   */
  account(selector: string | undefined, formats: readonly AddressFormat[]): Account {
    const found = this.accounts.find(
      ({ address, path, format }) =>
        formats.includes(format) && (selector === undefined || selector === address || selector === path),
    );
    if (found !== undefined) return found;
    throw new RequestError("ACCOUNT_NOT_FOUND", `this wallet has no such account for ${formats.join(" or ")}`);
  }

  /** Lends an account's key, if it was authorised, and wipes it afterwards. */
  sign<Result>(authorised: Authorised, account: Account, work: (signer: Signer) => Result): Result {
    const held = this.#value.accounts.find(({ publicKey }) => encodeHex(publicKey) === account.publicKey);
    const isAuthorised = authorised.walletId === this.walletId && authorised.publicKeys.includes(account.publicKey);
    if (!isAuthorised || held === undefined) throw new Error("another key was authorised");
    using key = new SecretKey(Uint8Array.from(held.privateKey));
    return work(signerOf(held, key));
  }

  [Symbol.dispose](): void {
    wipe(this.#value);
  }
}

/** @throws Error for a signer of another curve: formats name their curve, so it is a fault of ours. */
export function secp256k1(signer: Signer): Secp256k1Signer {
  if (signer.curve !== "secp256k1") throw new Error(`a key on ${signer.curve}`);
  return signer;
}

export function publicAccount({ address, format, curve, publicKey, path }: HeldAccount): Account {
  return { address, format, curve, publicKey: encodeHex(publicKey), path };
}

export function wipe(value: WalletValue): void {
  for (const { privateKey } of value.accounts) privateKey.fill(0);
  value.entropy?.fill(0);
}

function signerOf({ curve, publicKey }: HeldAccount, key: SecretKey): Signer {
  if (curve !== "secp256k1") throw new Error(`no signer for ${curve} yet`);
  return {
    curve,
    publicKey,
    signDigest: (digest) => key.use((bytes) => signRecoverable(digest, bytes)),
    signSchnorr: () => {
      throw new Error("no Schnorr signatures yet");
    },
  };
}
