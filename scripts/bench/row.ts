/** What `make bench-signing` measures, part by part: ours and a peer library over the same thing to sign. */

export interface SigningRow {
  readonly name: string;
  /** The library that is measured beside us. */
  readonly peer: string;
  /** From what a caller sends to what comes back: parse, judge, sign, encode. */
  ours(): unknown;
  /** By the peer, from what it takes at its best: parsed already, judged by nobody. */
  theirs(): unknown;
}

export interface MeasuredRow {
  readonly name: string;
  readonly peer: string;
  readonly oursPerSecond: number;
  readonly theirsPerSecond: number;
}

const ROUNDS = 3;
const ROUND_MS = 400;

/** Ours and the peer in turns, the best round of each: what slows the machine for a while slows both. */
export async function measureRow({ name, peer, ours, theirs }: SigningRow): Promise<MeasuredRow> {
  const best = { ours: 0, theirs: 0 };
  await perSecond(ours, ROUND_MS / 4);
  await perSecond(theirs, ROUND_MS / 4);
  for (let round = 0; round < ROUNDS; round += 1) {
    best.ours = Math.max(best.ours, await perSecond(ours, ROUND_MS));
    best.theirs = Math.max(best.theirs, await perSecond(theirs, ROUND_MS));
  }
  return { name, peer, oursPerSecond: best.ours, theirsPerSecond: best.theirs };
}

async function perSecond(work: () => unknown, forMs: number): Promise<number> {
  const startedAt = performance.now();
  let done = 0;
  let elapsedMs = 0;
  for (; elapsedMs < forMs; elapsedMs = performance.now() - startedAt) {
    // Batches, so that the clock costs nothing.
    for (let at = 0; at < 8; at += 1) await work();
    done += 8;
  }
  return (done / elapsedMs) * 1000;
}
