/** One kind of signature: ours and a peer library over the same thing to sign. */
export interface SigningRow {
  readonly name: string;
  /** The library that is measured beside us. */
  readonly peer: string;
  /** From what a caller sends to what comes back: parse, judge, sign, encode. */
  ours(): unknown;
  /** By the peer, from what it takes at its best: parsed already, judged by nobody. */
  theirs(): unknown;
  /** By ethers as well, where it can. */
  ethers?(): unknown;
}
