/**
 * What a wallet would say of a PSBT, without the wallet: its accounts by their public keys, and, for keys at other paths, the
 * PSBT's own word. The enclave derives them, and takes nobody's word.
 */
import { type Account, type BitcoinNetworkName, encodeHex, RequestError } from "../../protocol/index.ts";
import { type KeyRing, type Origin, pathText } from "../signing/bitcoin/own-keys.ts";
import type { Psbt } from "../signing/bitcoin/psbt.ts";
import { addressOfScript, kindOfFormat, scriptOf } from "../signing/bitcoin/scripts.ts";

export interface OfferedKeys {
  readonly network: BitcoinNetworkName;
  /** Those that the wallet keeps. */
  readonly accounts: readonly Account[];
  /** Four bytes: what the PSBT says to come from this master key is taken for the wallet's. Null to believe nothing. */
  readonly fingerprint: Uint8Array | null;
}

export class OfferedRing implements KeyRing {
  readonly accounts: readonly Account[];
  readonly #network: BitcoinNetworkName;
  readonly #fingerprint: Uint8Array | null;
  /** Public keys, compressed, by path. */
  readonly #named = new Map<string, Uint8Array>();

  constructor({ inputs, outputs }: Psbt, { network, accounts, fingerprint }: OfferedKeys) {
    this.accounts = accounts;
    this.#network = network;
    this.#fingerprint = fingerprint;
    for (const { map } of [...inputs, ...outputs]) {
      for (const [key, origin] of map.bip32Derivation ?? []) this.#name(key, origin);
      // Of a key that is x alone, either point makes the same output.
      for (const [key, { der }] of map.tapBip32Derivation ?? []) this.#name(Uint8Array.of(0x02, ...key), der);
    }
  }

  accountAt(path: string, format: Account["format"]): Account {
    const publicKey = this.#named.get(path);
    if (publicKey === undefined) throw new RequestError("INVALID_PARAMS", "a path that the PSBT does not name");
    const script = scriptOf(kindOfFormat(format), publicKey);
    const address = addressOfScript(script, this.#network) ?? "";
    return { address, format, curve: "secp256k1", publicKey: encodeHex(publicKey), path };
  }

  masterFingerprint(): Uint8Array | null {
    return this.#fingerprint;
  }

  #name(key: Uint8Array, { fingerprint, path }: Origin): void {
    if (this.#fingerprint === null || Buffer.from(this.#fingerprint).readUInt32BE() !== fingerprint) return;
    this.#named.set(pathText(path), key);
  }
}
