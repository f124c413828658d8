/** A wallet while its keys are in memory. */
import {
  type Account,
  ADDRESS_FORMATS,
  type AddressFormat,
  type Curve,
  derivationPath,
  type ExportForm,
  encodeHex,
  RequestError,
} from "../../protocol/index.ts";
import { copyOffHeap } from "../off-heap.ts";
import type { Authorised } from "../policy/authorised.ts";
import { masterFingerprint } from "./bip32.ts";
import { exactAccount, makeAccount } from "./make-accounts.ts";
import { mnemonicOf } from "./mnemonic.ts";
import { SecretKey } from "./secret-key.ts";
import type { Ed25519Signer, P256Signer, Secp256k1Signer, Signer } from "./signer.ts";
import { signerOf } from "./signer-of.ts";
import { type HeldAccount, publicAccount, type WalletValue, wipe } from "./wallet-value.ts";

export class OpenWallet implements Disposable {
  readonly walletId: string;
  readonly accounts: readonly Account[];
  readonly #value: WalletValue;
  /** Keys that {@link accountAt} derived, by public key. */
  readonly #derived = new Map<string, HeldAccount>();

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

  /**
   * As {@link account}, whatever its format.
   *
   * @throws {@link RequestError} `ACCOUNT_NOT_FOUND`
   */
  anyAccount(selector: string | undefined, isEthereum: boolean): Account {
    return this.account(selector, isEthereum ? ["ethereum"] : ADDRESS_FORMATS);
  }

  /**
   * The account that the wallet has at a path, whether or not it was ever asked to keep it: {@link sign} takes either.
   *
   * @param path - From outside, such as from a PSBT: it is checked here.
   * @param curve - Only where the format leaves it open.
   * @throws {@link RequestError} `INVALID_PARAMS` for a path that there cannot be, and for any path of a single key
   */
  accountAt(path: string, format: AddressFormat, curve?: Curve): Account {
    if (!derivationPath.safeParse(path).success)
      throw new RequestError("INVALID_PARAMS", "a path that there cannot be");
    const exact = exactAccount({ format, path, ...(curve === undefined ? {} : { curve }) }, this.#value.secret);
    const held = makeAccount(exact, this.#value.secret);
    const account = publicAccount(held);
    this.#derived.get(account.publicKey)?.privateKey?.fill(0);
    this.#derived.set(account.publicKey, held);
    return account;
  }

  /** By which a PSBT says whose paths it gives (BIP-174): four bytes, or null for a wallet without paths. */
  masterFingerprint(): Uint8Array | null {
    const { secret } = this.#value;
    return secret.kind === "hd" ? masterFingerprint(secret.seed) : null;
  }

  /** Lends an account's key, if it was authorised, and wipes it afterwards. */
  sign<Result>(authorised: Authorised, account: Account, work: (signer: Signer) => Result): Result {
    const held =
      this.#value.accounts.find(
        ({ publicKey, curve }) => encodeHex(publicKey) === account.publicKey && curve === account.curve,
      ) ?? this.#derived.get(account.publicKey);
    const isAuthorised =
      authorised.walletId === this.walletId &&
      authorised.publicKeys.includes(account.publicKey) &&
      authorised.facts.kind !== "wallet-export";
    if (!isAuthorised || held === undefined || held.curve !== account.curve) {
      throw new Error("another key was authorised");
    }
    using key = new SecretKey(this.#keyOf(held));
    return work(signerOf(held, key));
  }

  /** @returns A copy, which the caller wipes. */
  #keyOf(held: HeldAccount): Uint8Array {
    if (held.privateKey !== null) return copyOffHeap(held.privateKey);
    const { publicKey, privateKey } = makeAccount(held, this.#value.secret);
    // Whatever shares were put together: no key signs but the one whose address was given out.
    if (privateKey !== null && Buffer.compare(publicKey, held.publicKey) === 0) return privateKey;
    privateKey?.fill(0);
    throw new Error("the secret is not the one whose accounts these are");
  }

  /**
   * What leaves the enclave in the open form of {@link ExportForm}: words, or a key. The caller wipes it.
   *
   * @param account - Whose key, of {@link accounts}; null for the words.
   * @throws {@link RequestError} `WALLET_KIND_MISMATCH` for the words of a wallet that has none
   */
  exportSecret(authorised: Authorised, account: Account | null): Uint8Array {
    const { facts, walletId } = authorised;
    const isAuthorised =
      facts.kind === "wallet-export" &&
      walletId === this.walletId &&
      facts.from === (account?.address ?? null) &&
      (facts.form === "mnemonic") === (account === null);
    if (!isAuthorised) throw new Error("another export was authorised");
    const { secret, accounts } = this.#value;
    if (account === null) {
      if (secret.kind === "hd") return mnemonicOf(secret.entropy);
      throw new RequestError("WALLET_KIND_MISMATCH", "a single key has no words: export the key");
    }
    const held = accounts.find(({ address, path }) => address === account.address && path === account.path);
    if (held === undefined) throw new Error("no such account");
    return this.#keyOf(held);
  }

  /** Whether a form holds all that the wallet is: the words of one that has them, the key of one that is a key. */
  isWhole(form: ExportForm): boolean {
    return (this.#value.secret.kind === "hd") === (form === "mnemonic");
  }

  [Symbol.dispose](): void {
    for (const { privateKey } of this.#derived.values()) privateKey?.fill(0);
    this.#derived.clear();
    wipe(this.#value);
  }
}

/** @throws Error for a signer of another curve: formats name their curve, so it is a fault of ours. */
export function secp256k1(signer: Signer): Secp256k1Signer {
  if (signer.curve !== "secp256k1") throw new Error(`a key on ${signer.curve}`);
  return signer;
}

/** As {@link secp256k1}. */
export function ed25519(signer: Signer): Ed25519Signer {
  if (signer.curve !== "ed25519") throw new Error(`a key on ${signer.curve}`);
  return signer;
}

/** As {@link secp256k1}. */
export function p256(signer: Signer): P256Signer {
  if (signer.curve !== "p256") throw new Error(`a key on ${signer.curve}`);
  return signer;
}
