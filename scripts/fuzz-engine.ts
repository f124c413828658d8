/**
 * A coverage-guided fuzzer: an input that takes a new path, or an old one a new number of times, is kept and changed
 * further. AFL's scheme in one file, because the one that npm offers needs a newer C library than Debian 12 has.
 */

export interface FuzzOptions {
  /** Throws for what must not happen; whatever it returns is fine. */
  readonly run: (input: Uint8Array) => void;
  /** Counts of the program under test, as `instrument` numbers them. */
  readonly counters: Uint8Array;
  readonly seeds: readonly Uint8Array[];
  /** Pieces that random bytes would hardly hit upon. */
  readonly dictionary: readonly Uint8Array[];
  readonly maxBytes: number;
  readonly seed: number;
  /** Asked between inputs. */
  readonly stop: (executions: number) => boolean;
  /** Called with each input that is kept. */
  readonly onKept?: (input: Uint8Array) => void;
}

export interface FuzzResult {
  readonly executions: number;
  /** Counters that were reached at all. */
  readonly reached: number;
  readonly kept: number;
  /** The first input that must not have happened what happened with it. */
  readonly failure: { readonly input: Uint8Array; readonly error: unknown } | null;
}

const MAX_CHANGES = 6;
/** Values at the ends of what heads and counts can hold. */
const INTERESTING = [
  0x00, 0x01, 0x17, 0x18, 0x1b, 0x1f, 0x20, 0x3b, 0x5f, 0x7f, 0x80, 0x9b, 0xbf, 0xf6, 0xfb, 0xff,
] as const;

export function fuzz(options: FuzzOptions): FuzzResult {
  const session = new Session(options);
  for (const input of session.inputs()) {
    try {
      options.run(input);
    } catch (error) {
      return session.result({ input, error });
    }
    session.note(input);
  }
  return session.result(null);
}

/** The same for what answers later. One input after the other: counters would mix otherwise. */
export async function fuzzAsync(
  options: Omit<FuzzOptions, "run"> & { readonly run: (input: Uint8Array) => Promise<void> },
): Promise<FuzzResult> {
  const session = new Session(options);
  for (const input of session.inputs()) {
    try {
      await options.run(input);
    } catch (error) {
      return session.result({ input, error });
    }
    session.note(input);
  }
  return session.result(null);
}

class Session {
  readonly #options: Omit<FuzzOptions, "run">;
  readonly #seen: Uint8Array;
  readonly #corpus: Uint8Array[] = [];
  #executions = 0;

  constructor(options: Omit<FuzzOptions, "run">) {
    this.#options = options;
    this.#seen = new Uint8Array(options.counters.length);
  }

  /** The seeds, then changes of what was kept, until it is time to stop. Counters are at zero for each. */
  *inputs(): Generator<Uint8Array> {
    const below = numbersBelow(this.#options.seed);
    for (const seed of this.#options.seeds) yield this.#counted(seed);
    while (!this.#options.stop(this.#executions)) {
      const parent = this.#corpus[below(this.#corpus.length)] ?? new Uint8Array(0);
      yield this.#counted(change(parent, this.#corpus, this.#options, below));
    }
  }

  /** Keeps an input that took a new path. */
  note(input: Uint8Array): void {
    if (!noteNew(this.#options.counters, this.#seen)) return;
    this.#corpus.push(input);
    this.#options.onKept?.(input);
  }

  result(failure: FuzzResult["failure"]): FuzzResult {
    const reached = this.#seen.reduce((sum, classes) => sum + (classes === 0 ? 0 : 1), 0);
    return { executions: this.#executions, reached, kept: this.#corpus.length, failure };
  }

  #counted(input: Uint8Array): Uint8Array {
    this.#options.counters.fill(0);
    this.#executions += 1;
    return input;
  }
}

/** Eight classes of how often, as AFL has them: 1, 2, 3, 4+, 8+, 16+, 32+, 128+. */
function noteNew(counters: Uint8Array, seen: Uint8Array): boolean {
  let isNew = false;
  for (let at = 0; at < counters.length; at += 1) {
    const times = counters[at] ?? 0;
    if (times === 0) continue;
    const bit = times < 4 ? times - 1 : times < 8 ? 3 : times < 16 ? 4 : times < 32 ? 5 : times < 128 ? 6 : 7;
    const known = seen[at] ?? 0;
    if ((known & (1 << bit)) !== 0) continue;
    seen[at] = known | (1 << bit);
    isNew = true;
  }
  return isNew;
}

function change(
  parent: Uint8Array,
  corpus: readonly Uint8Array[],
  { dictionary, maxBytes }: Pick<FuzzOptions, "dictionary" | "maxBytes">,
  below: (limit: number) => number,
): Uint8Array {
  let bytes = parent;
  for (let left = 1 + below(MAX_CHANGES); left > 0; left -= 1) {
    const at = below(bytes.length + 1);
    const span = below(Math.min(64, bytes.length - at + 1));
    switch (below(8)) {
      case 0:
        bytes = splice(bytes, at, 1, Uint8Array.of((bytes[at] ?? 0) ^ (1 << below(8))));
        break;
      case 1:
        bytes = splice(bytes, at, 1, Uint8Array.of(below(256)));
        break;
      case 2:
        bytes = splice(bytes, at, 1, Uint8Array.of(INTERESTING[below(INTERESTING.length)] ?? 0));
        break;
      case 3:
        bytes = splice(bytes, at, span, new Uint8Array(0));
        break;
      case 4:
        bytes = splice(bytes, at, 0, bytes.subarray(at, at + span));
        break;
      case 5:
        bytes = splice(bytes, at, 0, Uint8Array.of(below(256)));
        break;
      case 6: {
        const word = dictionary[below(dictionary.length)] ?? new Uint8Array(0);
        bytes = splice(bytes, at, below(2) * word.length, word);
        break;
      }
      default: {
        const other = corpus[below(corpus.length)] ?? bytes;
        const from = below(other.length + 1);
        bytes = splice(bytes, at, span, other.subarray(from, from + below(128)));
      }
    }
  }
  return bytes.subarray(0, maxBytes);
}

function splice(bytes: Uint8Array, at: number, drop: number, put: Uint8Array): Uint8Array {
  const tail = bytes.subarray(at + drop);
  const joined = new Uint8Array(at + put.length + tail.length);
  joined.set(bytes.subarray(0, at));
  joined.set(put, at);
  joined.set(tail, at + put.length);
  return joined;
}

/** xorshift32: the same seed gives the same run. */
function numbersBelow(seed: number): (limit: number) => number {
  let state = seed >>> 0 || 1;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % Math.max(1, limit);
  };
}
