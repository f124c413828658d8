/**
 * Secrets that come in. For each there is a key of its own, which an attestation document names together with the user
 * who asked and a deadline; it stands in this enclave's memory alone, receives one bundle, and is gone after that.
 */
import { createHash, generateKeyPairSync } from "node:crypto";
import {
  type AttestedImport,
  type Bundle,
  type ImportedSecret,
  type NewImport,
  openImport,
  ProtocolError,
  RequestError,
  type Wallet,
} from "../../protocol/index.ts";
import type { Randomness } from "../nsm/randomness.ts";
import { Turns } from "../users/turns.ts";
import { isPrivateKey } from "./curves.ts";
import { exactAccount, type SecretKind } from "./make-accounts.ts";
import { hdSecretOf } from "./make-wallet.ts";
import { entropyOf } from "./mnemonic.ts";
import type { WalletSecret } from "./wallet-value.ts";
import type { Asker, Owner, Wallets } from "./wallets.ts";

const LIFETIME_MS = 10 * 60_000;
/** The oldest goes first. */
const MAX_PER_OWNER = 8;
/** Of all apps. None has more of them than are free: half, if it is alone. */
const MAX_TARGETS = 10_000;

export type AttestImport = (target: AttestedImport, nonce: Uint8Array, publicKey: Uint8Array) => Promise<Uint8Array>;
export type AskedImport = Omit<NewImport, "nonce">;

interface Target {
  readonly owner: Owner;
  readonly asked: AskedImport;
  readonly deadlineMs: number;
  /** Null once it has received its bundle, or has expired. */
  pair: CryptoKeyPair | null;
  /** Of the bundle that opened: no other is looked at. */
  openedAs: Buffer | null;
}

export class Imports {
  readonly #wallets: Wallets;
  readonly #randomness: Randomness;
  readonly #attest: AttestImport;
  readonly #nowMs: () => number;
  readonly #maxTargets: number;
  /** By id, the oldest first. */
  readonly #targets = new Map<string, Target>();
  readonly #turns = new Turns();

  constructor(options: {
    readonly wallets: Wallets;
    readonly randomness: Randomness;
    readonly attest: AttestImport;
    readonly nowMs: () => number;
    readonly maxTargets?: number;
  }) {
    this.#wallets = options.wallets;
    this.#randomness = options.randomness;
    this.#attest = options.attest;
    this.#nowMs = options.nowMs;
    this.#maxTargets = options.maxTargets ?? MAX_TARGETS;
  }

  /**
   * Makes a target.
   *
   * @throws {@link RequestError} `INVALID_PARAMS` for accounts that such a wallet cannot have, `BUSY`
   */
  async begin(
    owner: Owner,
    audience: string,
    asked: AskedImport,
    nonce: Uint8Array,
  ): Promise<{ readonly importId: string; readonly deadlineMs: number; readonly document: Uint8Array }> {
    for (const account of asked.accounts ?? []) exactAccount(account, secretKindOf(asked));
    this.forgetExpired();
    const { appId, userId } = owner;
    const ofApp = [...this.#targets].filter(([, { owner: other }]) => other.appId === appId);
    const own = ofApp.filter(([, { owner: other }]) => other.userId === userId);
    const outlived = own.slice(0, Math.max(0, own.length + 1 - MAX_PER_OWNER));
    for (const [importId] of outlived) this.#targets.delete(importId);
    if (ofApp.length - outlived.length >= this.#maxTargets - this.#targets.size) {
      throw new RequestError("BUSY", "too many imports are under way");
    }
    const importId = `imp_${Buffer.from(this.#randomness.bytes(16)).toString("hex")}`;
    const deadlineMs = this.#nowMs() + LIFETIME_MS;
    const { pair, publicKey } = makePair();
    this.#targets.set(importId, { owner: { appId, userId }, asked, deadlineMs, pair, openedAs: null });
    const document = await this.#attest({ audience, userId, importId, deadlineMs }, nonce, publicKey);
    return { importId, deadlineMs, document };
  }

  /**
   * Takes a secret in. Asked again with the same bundle it finds the same wallet, after a restart too.
   *
   * @throws {@link RequestError} `IMPORT_TARGET_…`, `IMPORT_BUNDLE_INVALID`, `MNEMONIC_INVALID`, `PRIVATE_KEY_INVALID`,
   *   `WALLET_KIND_MISMATCH`, and what changing a wallet throws
   */
  async complete(asker: Asker, audience: string, importId: string, bundle: Bundle): Promise<Wallet> {
    const importedAs = createHash("sha256").update(bundle.enc).update(bundle.ciphertext).digest();
    return await this.#turns.take(importId, async () => {
      const target = this.#targets.get(importId);
      const made = await this.#wallets.imported(asker, importId);
      if (made !== null) {
        if (target !== undefined) target.pair = null;
        if (made.importedAs !== null && importedAs.equals(made.importedAs)) return made.wallet;
        throw used();
      }
      const { owner } = target ?? {};
      // Another's target is as unknown as one of another boot.
      if (target === undefined || owner?.appId !== asker.appId || owner.userId !== asker.userId) {
        throw new RequestError("IMPORT_TARGET_UNKNOWN", "no such target in this enclave since it started: begin again");
      }
      const pair = this.#liveKeyOf(target, importedAs);
      const context = { audience, userId: asker.userId, importId };
      const opened = await openBundle(pair, context, bundle);
      target.openedAs = importedAs;
      let secret: WalletSecret;
      try {
        secret = await secretOf(opened, target.asked);
      } catch (error) {
        target.pair = null;
        throw error;
      } finally {
        opened.secret.fill(0);
      }
      // If this fails, what became of it is unknown: the key stays, for the same bundle alone, until the deadline.
      const wallet = await this.#wallets.adopt(asker, { importId, importedAs }, secret, target.asked.accounts);
      target.pair = null;
      return wallet;
    });
  }

  /** Drops keys whose time is over at once, and what is known of them a while later. */
  forgetExpired(): void {
    const now = this.#nowMs();
    for (const [importId, target] of this.#targets) {
      if (target.deadlineMs < now) target.pair = null;
      if (target.deadlineMs + LIFETIME_MS < now) this.#targets.delete(importId);
    }
  }

  #liveKeyOf(target: Target, importedAs: Buffer): CryptoKeyPair {
    if (target.openedAs !== null && (target.pair === null || !importedAs.equals(target.openedAs))) throw used();
    if (target.deadlineMs < this.#nowMs()) target.pair = null;
    if (target.pair !== null) return target.pair;
    throw new RequestError("IMPORT_TARGET_EXPIRED", "this target's time is over: begin again");
  }
}

function secretKindOf({ kind, curve = "secp256k1" }: AskedImport): SecretKind {
  return kind === "hd" ? { kind } : { kind, curve };
}

/** @throws {@link RequestError} `MNEMONIC_INVALID`, `PRIVATE_KEY_INVALID`, `WALLET_KIND_MISMATCH` */
async function secretOf({ form, secret }: ImportedSecret, asked: AskedImport): Promise<WalletSecret> {
  const kind = secretKindOf(asked);
  if ((kind.kind === "hd") !== (form === "mnemonic")) {
    throw new RequestError("WALLET_KIND_MISMATCH", `this target was made for a wallet of kind ${kind.kind}`);
  }
  if (kind.kind === "hd") {
    const entropy = entropyOf(secret);
    if (entropy !== undefined) return await hdSecretOf(entropy);
    throw new RequestError("MNEMONIC_INVALID", "not 12 to 24 English words of BIP-39 with a checksum that is right");
  }
  const { curve } = kind;
  if (!isPrivateKey(curve, secret)) throw new RequestError("PRIVATE_KEY_INVALID", `not a private key on ${curve}`);
  return { kind: "single-key", curve, privateKey: Uint8Array.from(secret) };
}

async function openBundle(...sealed: Parameters<typeof openImport>): ReturnType<typeof openImport> {
  try {
    return await openImport(...sealed);
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw new RequestError("IMPORT_BUNDLE_INVALID", "not sealed to this target", { cause });
  }
}

function used(): RequestError {
  return new RequestError("IMPORT_TARGET_USED", "this target has received its secret: begin again");
}

/** Its private half cannot be exported; when the pair is dropped, OpenSSL clears it once it is collected. */
function makePair(): { readonly pair: CryptoKeyPair; readonly publicKey: Uint8Array } {
  const { publicKey, privateKey } = generateKeyPairSync("x25519");
  const pair = {
    publicKey: publicKey.toCryptoKey("X25519", true, []) as CryptoKey,
    privateKey: privateKey.toCryptoKey("X25519", false, ["deriveBits"]) as CryptoKey,
  };
  // The last 32 bytes of SubjectPublicKeyInfo (RFC 8410) are the key.
  return { pair, publicKey: publicKey.export({ type: "spki", format: "der" }).subarray(-32) };
}
