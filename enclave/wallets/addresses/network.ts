/** What tells addresses of Bitcoin's networks apart. */
export interface BitcoinNetwork {
  readonly p2pkhVersion: number;
  readonly p2shVersion: number;
  /** BIP-173's human-readable part. */
  readonly prefix: string;
}

export const BITCOIN: BitcoinNetwork = { p2pkhVersion: 0x00, p2shVersion: 0x05, prefix: "bc" };
export const BITCOIN_TESTNET: BitcoinNetwork = { p2pkhVersion: 0x6f, p2shVersion: 0xc4, prefix: "tb" };
