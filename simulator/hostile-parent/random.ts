/** Pseudo-random numbers that a seed repeats. For misbehaviour in tests: nothing secret may come from here. */
import { createHash } from "node:crypto";

export interface Random {
  /** From 0 up to, and without, 1. */
  next(): number;
  /** An integer from 0 up to, and without, `end`. */
  below(end: number): number;
  pick<Item>(items: readonly [Item, ...Item[]]): Item;
  bytes(length: number): Uint8Array;
}

/** @param label - Everything that tells this sequence from others: seed, port, stream. */
export function createRandom(label: string): Random {
  let state = createHash("sha256").update(label).digest().readUInt32LE(0);
  // Mulberry32: 32 bits of state, which is plenty for choosing among misdeeds.
  const word = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const next = () => word() / 2 ** 32;
  const below = (end: number) => Math.floor(next() * end);
  return {
    next,
    below,
    pick: (items) => items[below(items.length)] ?? items[0],
    bytes: (length) => Uint8Array.from({ length }, () => below(256)),
  };
}
