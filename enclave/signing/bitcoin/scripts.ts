/** The scripts that this code knows: which kind one is, whose key it asks for, what its address is. */
import { bech32, bech32m } from "@scure/base";
import { type AddressFormat, BITCOIN_NETWORKS, type BitcoinNetworkName } from "../../../protocol/index.ts";
import { base58check } from "../../wallets/addresses/base58check.ts";
import { hash160 } from "../../wallets/addresses/hash160.ts";
import { BITCOIN, BITCOIN_TESTNET } from "../../wallets/addresses/network.ts";
import { taprootOutput } from "./taproot.ts";

export const SCRIPT_KINDS = ["p2pkh", "p2sh-p2wpkh", "p2wpkh", "p2tr"] as const;
export type ScriptKind = (typeof SCRIPT_KINDS)[number];

const OP_0 = 0x00;
const OP_1 = 0x51;
const OP_16 = 0x60;
const OP_DUP = 0x76;
const OP_EQUAL = 0x87;
const OP_EQUALVERIFY = 0x88;
const OP_HASH160 = 0xa9;
const OP_CHECKSIG = 0xac;

/** Where the wallet has accounts of this kind on this network. */
export function formatOf(kind: ScriptKind, network: BitcoinNetworkName): AddressFormat {
  return `${network}-${kind}`;
}

/** All formats of Bitcoin's accounts. */
export const FORMATS: readonly AddressFormat[] = BITCOIN_NETWORKS.flatMap((network) =>
  SCRIPT_KINDS.map((kind) => formatOf(kind, network)),
);

/** @throws Error for a format that is not of {@link FORMATS} */
export function kindOfFormat(format: AddressFormat): ScriptKind {
  const kind = SCRIPT_KINDS.find((known) => BITCOIN_NETWORKS.some((network) => formatOf(known, network) === format));
  if (kind === undefined) throw new Error(`${format} is no format of Bitcoin's`);
  return kind;
}

/** @param publicKey - Compressed, 33 bytes. */
export function scriptOf(kind: ScriptKind, publicKey: Uint8Array): Uint8Array {
  switch (kind) {
    case "p2pkh":
      return p2pkhScript(hash160(publicKey));
    case "p2sh-p2wpkh":
      return Buffer.concat([Uint8Array.of(OP_HASH160, 20), hash160(p2wpkhScript(publicKey)), Uint8Array.of(OP_EQUAL)]);
    case "p2wpkh":
      return p2wpkhScript(publicKey);
    case "p2tr":
      return p2trScript(publicKey.subarray(1));
  }
}

/** BIP-86: no script stands beside the key. A key that is no point has none, and neither has an output that is empty. */
function p2trScript(internalKey: Uint8Array): Uint8Array {
  const output = taprootOutput(internalKey, null);
  return output === undefined ? new Uint8Array(0) : Buffer.concat([Uint8Array.of(OP_1, 32), output.xOnly]);
}

export function p2wpkhScript(publicKey: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.of(OP_0, 20), hash160(publicKey)]);
}

/** What BIP-143 signs in place of P2WPKH's own script, too. */
export function p2pkhScript(keyHash: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.of(OP_DUP, OP_HASH160, 20), keyHash, Uint8Array.of(OP_EQUALVERIFY, OP_CHECKSIG)]);
}

/** P2SH is taken for what a single key can spend of it: only the key's hash tells. Null for all other scripts. */
export function kindOf(script: Uint8Array): ScriptKind | null {
  const [first, second] = script;
  if (
    script.length === 25 &&
    equalsAt(script, 0, [OP_DUP, OP_HASH160, 20]) &&
    equalsAt(script, 23, [OP_EQUALVERIFY, OP_CHECKSIG])
  ) {
    return "p2pkh";
  }
  if (isP2sh(script)) return "p2sh-p2wpkh";
  if (script.length === 22 && first === OP_0 && second === 20) return "p2wpkh";
  if (script.length === 34 && first === OP_1 && second === 32) return "p2tr";
  return null;
}

/** The address of a script, or null if it has none. */
export function addressOfScript(script: Uint8Array, networkName: BitcoinNetworkName): string | null {
  const network = networkName === "bitcoin" ? BITCOIN : BITCOIN_TESTNET;
  const kind = kindOf(script);
  if (kind === "p2pkh") return base58check(network.p2pkhVersion, script.subarray(3, 23));
  if (kind === "p2sh-p2wpkh") return base58check(network.p2shVersion, script.subarray(2, 22));
  // BIP-141, "Witness program": a version and one push of 2 to 40 bytes.
  const [first = 0, length] = script;
  const isVersion = first === OP_0 || (first >= OP_1 && first <= OP_16);
  if (!isVersion || length !== script.length - 2 || length < 2 || length > 40) return null;
  const version = first === OP_0 ? 0 : first - OP_1 + 1;
  if (version === 0 && length !== 20 && length !== 32) return null;
  const encoding = version === 0 ? bech32 : bech32m;
  return encoding.encode(network.prefix, [version, ...encoding.toWords(script.subarray(2))]);
}

function isP2sh(script: Uint8Array): boolean {
  return script.length === 23 && equalsAt(script, 0, [OP_HASH160, 20]) && script[22] === OP_EQUAL;
}

function equalsAt(script: Uint8Array, at: number, bytes: readonly number[]): boolean {
  return bytes.every((byte, offset) => script[at + offset] === byte);
}
