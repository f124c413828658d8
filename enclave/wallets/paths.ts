/** Derivation paths (BIP-32's notation), and the ones that wallet software uses for each format. */
import type { AddressFormat } from "../../protocol/index.ts";

const HARDENED = 0x8000_0000;

/**
 * The indices of a path such as `m/44'/60'/0'/0/0`, hardened ones from 2^31 on.
 *
 * @throws Error for a malformed path
 */
export function parsePath(path: string): number[] {
  const [root, ...steps] = path.split("/");
  if (root !== "m") throw new Error("BIP-32: a path begins with m");
  return steps.map((step) => {
    const match = /^(0|[1-9][0-9]{0,9})('?)$/.exec(step);
    const index = Number(match?.[1]);
    if (match === null || index >= HARDENED) throw new Error(`BIP-32: malformed step in ${path}`);
    return match[2] === "'" ? index + HARDENED : index;
  });
}

export function isHardened(index: number): boolean {
  return index >= HARDENED;
}

/**
 * Where wallet software looks for an account: BIP-44 with SLIP-44's coin types, BIP-49, BIP-84 and BIP-86. Ethereum's
 * numbers count addresses, as MetaMask counts them; Bitcoin's count accounts, each with its change beside it; Solana's
 * are hardened to the end, because Ed25519 knows nothing else (SLIP-10).
 *
 * @returns Null for a format that has none.
 */
export function defaultPath(format: AddressFormat, index: number): string | null {
  switch (format) {
    case "ethereum":
      return `m/44'/60'/0'/0/${index}`;
    case "solana":
      return `m/44'/501'/${index}'/0'`;
    case "bitcoin-p2pkh":
      return `m/44'/0'/${index}'/0/0`;
    case "bitcoin-p2sh-p2wpkh":
      return `m/49'/0'/${index}'/0/0`;
    case "bitcoin-p2wpkh":
      return `m/84'/0'/${index}'/0/0`;
    case "bitcoin-p2tr":
      return `m/86'/0'/${index}'/0/0`;
    case "bitcoin-testnet-p2pkh":
      return `m/44'/1'/${index}'/0/0`;
    case "bitcoin-testnet-p2sh-p2wpkh":
      return `m/49'/1'/${index}'/0/0`;
    case "bitcoin-testnet-p2wpkh":
      return `m/84'/1'/${index}'/0/0`;
    case "bitcoin-testnet-p2tr":
      return `m/86'/1'/${index}'/0/0`;
    case "none":
      return null;
  }
}
