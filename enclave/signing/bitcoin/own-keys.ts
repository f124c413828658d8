/**
 * Which keys of the wallet a script asks for. A PSBT only hints at them: a key is the wallet's if the wallet itself derives
 * it at the path that is named, and a script is the wallet's if that key makes that very script.
 */
import { type Account, type BitcoinNetworkName, decodeHex, encodeHex, RequestError } from "../../../protocol/index.ts";
import { equal } from "./psbt.ts";
import { formatOf, SCRIPT_KINDS, type ScriptKind, scriptOf } from "./scripts.ts";
import { taprootOutput } from "./taproot.ts";

/** What is asked of a wallet that is open. */
export interface KeyRing {
  readonly accounts: readonly Account[];
  accountAt(path: string, format: Account["format"]): Account;
  masterFingerprint(): Uint8Array | null;
}

/** Where a PSBT says that a key comes from. */
export interface Origin {
  readonly fingerprint: number;
  readonly path: readonly number[];
}

const HARDENED = 0x8000_0000;
/** SLIP-44. */
const COIN_TYPE: Readonly<Record<BitcoinNetworkName, number>> = { bitcoin: 0, "bitcoin-testnet": 1 };
const PURPOSE: Readonly<Record<ScriptKind, number>> = { p2pkh: 44, "p2sh-p2wpkh": 49, p2wpkh: 84, p2tr: 86 };
/** Change beyond these would be the wallet's, and yet found by no wallet software: it could be held to ransom. */
const MAX_CHANGE_ACCOUNT = 100;
const MAX_CHANGE_INDEX = 1_000_000;

export class OwnKeys {
  readonly network: BitcoinNetworkName;
  readonly #ring: KeyRing;
  readonly #fingerprint: number | null;
  readonly #outputs = new Map<string, Uint8Array>();
  /** Accounts that the wallet keeps, by their script. */
  readonly #kept = new Map<string, { readonly account: Account; readonly kind: ScriptKind }>();

  constructor(ring: KeyRing, network: BitcoinNetworkName) {
    this.network = network;
    this.#ring = ring;
    const fingerprint = ring.masterFingerprint();
    this.#fingerprint = fingerprint === null ? null : Buffer.from(fingerprint).readUInt32BE();
    for (const account of ring.accounts) {
      const kind = SCRIPT_KINDS.find((known) => formatOf(known, network) === account.format);
      if (kind === undefined) continue;
      this.#kept.set(encodeHex(scriptOf(kind, decodeHex(account.publicKey))), { account, kind });
    }
  }

  /** The account whose address a script is, of those that the wallet keeps. */
  kept(script: Uint8Array): Account | null {
    return this.#kept.get(encodeHex(script))?.account ?? null;
  }

  /** Kept accounts of a kind: their keys may stand in scripts that are nobody's address. */
  keptOf(kind: ScriptKind): readonly Account[] {
    return [...this.#kept.values()].filter((held) => held.kind === kind).map(({ account }) => account);
  }

  /** BIP-86's output of an internal key; each is reckoned once. */
  outputOf(internalKey: Uint8Array): Uint8Array | undefined {
    const name = encodeHex(internalKey);
    const known = this.#outputs.get(name);
    if (known !== undefined) return known;
    const output = taprootOutput(internalKey, null)?.xOnly;
    if (output !== undefined) this.#outputs.set(name, output);
    return output;
  }

  /** The account of a key, if the wallet has it where the PSBT says: compressed, or x alone. */
  derived(key: Uint8Array, { fingerprint, path }: Origin, kind: ScriptKind): Account | null {
    if (fingerprint !== this.#fingerprint || path.length === 0) return null;
    const account = this.#accountAt(path, kind);
    if (account === null) return null;
    const publicKey = decodeHex(account.publicKey);
    return equal(key.length === 32 ? publicKey.subarray(1) : publicKey, key) ? account : null;
  }

  /** As {@link derived}, at a path where wallet software would find it again. */
  derivedForChange(key: Uint8Array, origin: Origin, kind: ScriptKind): Account | null {
    return this.#isFound(origin.path, kind) ? this.derived(key, origin, kind) : null;
  }

  /**
   * Bitcoin's signatures are good on every network: a key that has coins on the main one must not sign under another's
   * name, which policies may think less of.
   *
   * @throws {@link RequestError} `CHAIN_MISMATCH`
   */
  checkNetwork({ path, publicKey }: Account): void {
    if (this.network === "bitcoin") return;
    const isOfTestnet = path === null || path.split("/")[2] === `${COIN_TYPE[this.network]}'`;
    const isUsedOnMain = this.#ring.accounts.some(
      (kept) => kept.publicKey === publicKey && SCRIPT_KINDS.some((kind) => formatOf(kind, "bitcoin") === kept.format),
    );
    if (!isOfTestnet || isUsedOnMain) throw new RequestError("CHAIN_MISMATCH", "the key is one of the main network");
  }

  #accountAt(path: readonly number[], kind: ScriptKind): Account | null {
    try {
      return this.#ring.accountAt(pathText(path), formatOf(kind, this.network));
    } catch (error) {
      // A path that no wallet of ours has: then the key is none of ours.
      if (error instanceof RequestError && error.code === "INVALID_PARAMS") return null;
      throw error;
    }
  }

  #isFound(path: readonly number[], kind: ScriptKind): boolean {
    const [purpose, coinType, account = 0, chain, index = 0] = path;
    return (
      path.length === 5 &&
      purpose === HARDENED + PURPOSE[kind] &&
      coinType === HARDENED + COIN_TYPE[this.network] &&
      account >= HARDENED &&
      account <= HARDENED + MAX_CHANGE_ACCOUNT &&
      (chain === 0 || chain === 1) &&
      index <= MAX_CHANGE_INDEX
    );
  }
}

/** As BIP-32 writes it. */
export function pathText(path: readonly number[]): string {
  return ["m", ...path.map((step) => (step >= HARDENED ? `${step - HARDENED}'` : `${step}`))].join("/");
}
