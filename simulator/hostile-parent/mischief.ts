/** Decides by a script what is done to each unit, remembers what passed for replays, and keeps a list of its misdeeds. */
import { createRandom, type Random } from "./random.ts";
import type { Direction, Done, Misdeed, Recorded, Rule, Script } from "./script.ts";

/** Replays choose among the latest of a port and direction. */
const MAX_RECORDED = 256;

/** One frame, or one piece of raw bytes. */
export interface Unit {
  readonly of: string;
  /** The message that the frame holds; null for raw bytes. */
  readonly message: object | null;
  /** What goes over the stream: a frame with its head, or the raw piece. */
  readonly bytes: Uint8Array;
}

/** One direction of one stream. */
export interface Place {
  readonly port: number;
  readonly direction: Direction;
  readonly stream: number;
}

/** What was decided for one unit, with the randomness to do it by and the recording as it was then. */
export interface Plan {
  readonly misdeed: Misdeed;
  readonly random: Random;
  readonly recorded: readonly Uint8Array[];
}

export class Mischief {
  readonly done: Done[] = [];
  readonly #script: () => Script | undefined;
  readonly #streams = new Map<number, number>();
  readonly #recorded = new Map<string, Uint8Array[]>();
  /** How many units each rule has fitted and how often it was done, for as long as the script is in force. */
  #counts = new Map<Rule, { fitted: number; done: number }>();
  #inForce: Script | undefined;

  /** @param script - Asked for every unit: it may change, and end, at any time. */
  constructor(script: () => Script | undefined) {
    this.#script = script;
  }

  /** The number of a new stream on a port. */
  nextStream(port: number): number {
    const stream = (this.#streams.get(port) ?? 0) + 1;
    this.#streams.set(port, stream);
    return stream;
  }

  /**
   * @returns What to do to each unit of one direction of a stream, in order; undefined: nothing. All are to be shown,
   *   those too with which nothing more may be done.
   */
  at(place: Place): (unit: Unit, payload: Uint8Array, mayAct: boolean) => Plan | undefined {
    let units = 0;
    let random: Random | undefined;
    let seed: Script["seed"] | undefined;
    return (unit, payload, mayAct) => {
      units += 1;
      const script = this.#script();
      const recorded = this.#record(place, payload, script);
      if (script === undefined || !mayAct) return undefined;
      if (random === undefined || seed !== script.seed) {
        seed = script.seed;
        random = createRandom(`${seed}/${place.port}/${place.direction}/${place.stream}`);
      }
      const misdeed = this.#choose(script, place, unit, random);
      if (misdeed === undefined) return undefined;
      this.done.push({ ...place, unit: units, of: unit.of, misdeed: misdeed.kind });
      return { misdeed, random, recorded };
    };
  }

  #choose(script: Script, { port, direction }: Place, { of }: Unit, random: Random): Misdeed | undefined {
    if (script !== this.#inForce) {
      this.#inForce = script;
      this.#counts = new Map();
    }
    for (const rule of script.rules) {
      if (!fits(rule.port, port) || !fits(rule.direction, direction) || !fits(rule.of, of)) continue;
      const count = this.#counts.get(rule) ?? { fitted: 0, done: 0 };
      this.#counts.set(rule, count);
      count.fitted += 1;
      // Drawn whatever comes of it: a rule that is used up must not shift the numbers of those behind it.
      const isDrawn = random.next() < (rule.probability ?? 1);
      if (!isDrawn || count.fitted <= (rule.after ?? 0) || count.done >= (rule.times ?? Number.POSITIVE_INFINITY)) {
        continue;
      }
      count.done += 1;
      return rule.misdeed;
    }
    return undefined;
  }

  /** @returns What passed, or was given, before this one. */
  #record({ port, direction }: Place, payload: Uint8Array, script: Script | undefined): readonly Uint8Array[] {
    const key = `${port}/${direction}`;
    const passed = this.#recorded.get(key) ?? [];
    const isHere = (given: Recorded) => given.port === port && given.direction === direction;
    const before = [...(script?.recording ?? []).filter(isHere).map((given) => given.payload), ...passed];
    // A copy: a small frame would keep the whole read alive that it came in.
    this.#recorded.set(key, [...passed, Uint8Array.from(payload)].slice(-MAX_RECORDED));
    return before;
  }
}

function fits<Value>(wanted: Value | readonly Value[] | undefined, value: Value): boolean {
  if (wanted === undefined) return true;
  return Array.isArray(wanted) ? wanted.includes(value) : wanted === value;
}
