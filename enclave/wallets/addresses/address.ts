/** The address of a public key in each format. */
import { type AddressFormat, encodeHex } from "../../../protocol/index.ts";
import { p2pkh } from "./bitcoin-p2pkh.ts";
import { p2shP2wpkh } from "./bitcoin-p2sh-p2wpkh.ts";
import { p2tr } from "./bitcoin-p2tr.ts";
import { p2wpkh } from "./bitcoin-p2wpkh.ts";
import { ethereum } from "./ethereum.ts";
import { BITCOIN, BITCOIN_TESTNET } from "./network.ts";
import { solana } from "./solana.ts";

/** @param publicKey - Of the format's curve; compressed where the curve has compressed ones. */
export function addressOf(format: AddressFormat, publicKey: Uint8Array): string {
  switch (format) {
    case "ethereum":
      return ethereum(publicKey);
    case "solana":
      return solana(publicKey);
    case "bitcoin-p2pkh":
      return p2pkh(publicKey, BITCOIN);
    case "bitcoin-p2sh-p2wpkh":
      return p2shP2wpkh(publicKey, BITCOIN);
    case "bitcoin-p2wpkh":
      return p2wpkh(publicKey, BITCOIN);
    case "bitcoin-p2tr":
      return p2tr(publicKey, BITCOIN);
    case "bitcoin-testnet-p2pkh":
      return p2pkh(publicKey, BITCOIN_TESTNET);
    case "bitcoin-testnet-p2sh-p2wpkh":
      return p2shP2wpkh(publicKey, BITCOIN_TESTNET);
    case "bitcoin-testnet-p2wpkh":
      return p2wpkh(publicKey, BITCOIN_TESTNET);
    case "bitcoin-testnet-p2tr":
      return p2tr(publicKey, BITCOIN_TESTNET);
    case "none":
      return encodeHex(publicKey);
  }
}
