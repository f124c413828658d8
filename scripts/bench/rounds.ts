/** Rounds of several things in turns: what slows the machine for a while slows all of them. */

export interface Rate {
  /** Of the best round: what the machine does when nobody disturbs it. */
  readonly best: number;
  readonly median: number;
  /** Of the slowest round, as a share of the best. */
  readonly slowest: number;
}

export interface Contestant {
  /** One round. @returns So many a second. */
  readonly round: () => Promise<number>;
}

/** The first round of each warms up and counts for nothing. */
export async function inTurns<Name extends string>(
  contestants: Readonly<Record<Name, Contestant>>,
  rounds: number,
): Promise<Readonly<Record<Name, Rate>>> {
  const named = Object.entries(contestants) as [Name, Contestant][];
  const rates = new Map<Name, number[]>(named.map(([name]) => [name, []]));
  for (let round = 0; round <= rounds; round += 1) {
    for (const [name, contestant] of named) {
      const rate = await contestant.round();
      if (round > 0) rates.get(name)?.push(rate);
    }
  }
  return Object.fromEntries(named.map(([name]) => [name, rateOf(rates.get(name) ?? [])])) as Record<Name, Rate>;
}

/** @param rounds - At least one. */
export function rateOf(rounds: readonly number[]): Rate {
  const sorted = [...rounds].sort((one, another) => one - another);
  const [best, slowest, median] = [sorted.at(-1), sorted[0], sorted[Math.floor(sorted.length / 2)]];
  if (best === undefined || slowest === undefined || median === undefined) throw new Error("no round was measured");
  return { best, median, slowest: slowest / best };
}

/**
 * One thing after another, for some time. @returns By the time that this process had of a core, whichever of its threads:
 * what others took of the machine meanwhile is nothing that the work did.
 */
export function repeating(work: () => unknown, forMs: number): Contestant {
  return {
    round: async () => {
      const before = process.cpuUsage();
      let done = 0;
      let usedUs = 0;
      while (usedUs < forMs * 1000) {
        // Batches, so that the clock costs nothing.
        for (let at = 0; at < 8; at += 1) await work();
        done += 8;
        const { user, system } = process.cpuUsage(before);
        usedUs = user + system;
      }
      return (done / usedUs) * 1_000_000;
    },
  };
}

/** So many, so many of them at once. @returns So many a second. */
export async function perSecond(
  count: number,
  inFlight: number,
  work: (at: number) => Promise<unknown>,
): Promise<number> {
  const startedAt = performance.now();
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const at = next;
      next += 1;
      await work(at);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return (count / (performance.now() - startedAt)) * 1000;
}

/** The CPU time of one request in each round: what load on the machine disturbs less than the time that passes. */
export class CpuByThread {
  readonly #rounds: { readonly mainUs: number; readonly othersUs: number }[] = [];

  /** @param work - Handles so many requests; this thread is the main one. */
  async of<Result>(requests: number, work: () => Promise<Result>): Promise<Result> {
    const [all, main] = [process.cpuUsage(), process.threadCpuUsage()];
    const result = await work();
    // Of the main thread inside of all: what is left is never less than nothing.
    const mainUs = sum(process.threadCpuUsage(main));
    const allUs = sum(process.cpuUsage(all));
    this.#rounds.push({ mainUs: mainUs / requests, othersUs: (allUs - mainUs) / requests });
    return result;
  }

  /** Without the first round, which warms up. */
  medians(): readonly [mainUs: number, othersUs: number] {
    const counted = this.#rounds.slice(1);
    return [rateOf(counted.map(({ mainUs }) => mainUs)).median, rateOf(counted.map(({ othersUs }) => othersUs)).median];
  }
}

function sum({ user, system }: NodeJS.CpuUsage): number {
  return user + system;
}
