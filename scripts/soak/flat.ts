/**
 * Whether memory is flat, by a rule that can fail: a line is laid through what was held after each collection, over the last
 * four fifths of the run, and what it says was gained over that part, with two standard errors added, must be within what
 * is allowed. Caches fill in the first fifth, or are counted as growth.
 */

export interface Sample {
  readonly requests: number;
  readonly bytes: number;
}

export interface Allowance {
  /** Of the mean of what was held. */
  readonly share: number;
  readonly bytes: number;
}

export interface Flatness {
  readonly isFlat: boolean;
  readonly samples: number;
  readonly meanBytes: number;
  readonly bytesPerRequest: number;
  /** Over the part that was looked at; and with two standard errors more. */
  readonly gainedBytes: number;
  readonly gainedAtMostBytes: number;
  readonly allowedBytes: number;
}

export const FILLING = 0.2;
const MIN_SAMPLES = 8;
const STANDARD_ERRORS = 2;

/** @throws Error where there are too few samples to say anything. */
export function flatnessOf(all: readonly Sample[], allowed: Allowance): Flatness {
  const end = all.at(-1)?.requests ?? 0;
  const samples = all.filter(({ requests }) => requests >= end * FILLING);
  if (samples.length < MIN_SAMPLES) throw new Error(`${samples.length} samples, at least ${MIN_SAMPLES} are needed`);
  const meanOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const at = samples.map(({ requests }) => requests);
  const held = samples.map(({ bytes }) => bytes);
  const [meanAt, meanBytes] = [meanOf(at), meanOf(held)];
  const spread = at.reduce((sum, each) => sum + (each - meanAt) ** 2, 0);
  const slope = at.reduce((sum, each, index) => sum + (each - meanAt) * ((held[index] ?? 0) - meanBytes), 0) / spread;
  const residue = at.reduce((sum, each, i) => sum + ((held[i] ?? 0) - meanBytes - slope * (each - meanAt)) ** 2, 0);
  const error = Math.sqrt(residue / (samples.length - 2) / spread);
  const span = end - (at[0] ?? 0);
  const gainedAtMostBytes = (slope + STANDARD_ERRORS * error) * span;
  const allowedBytes = meanBytes * allowed.share + allowed.bytes;
  return {
    isFlat: gainedAtMostBytes <= allowedBytes,
    samples: samples.length,
    ...{ meanBytes, bytesPerRequest: slope, gainedBytes: slope * span, gainedAtMostBytes, allowedBytes },
  };
}
