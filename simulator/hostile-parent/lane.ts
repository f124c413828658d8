/** One direction of one stream: carries units on, and does to them what was decided. */
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { decode } from "cborg";
import { encodeCbor, encodeFrame, FRAME_HEAD_BYTES, MAX_FRAME_BYTES } from "../../protocol/index.ts";
import type { Mischief, Place, Plan, Unit } from "./mischief.ts";
import type { Random } from "./random.ts";
import { MAX_HELD_MS, type Misdeed } from "./script.ts";

/** Beyond these bytes a unit that arrives byte by byte arrives whole: megabytes of single bytes would take minutes. */
const MAX_SINGLE_BYTES = 2048;
const KIB = 1024;

/** The stream was cut on purpose. */
class Cut extends Error {}

export class Lane {
  readonly #target: Duplex;
  readonly #decide: ReturnType<Mischief["at"]>;
  readonly #isFramed: boolean;
  #silentUntilMs = 0;
  /** Units that others overtake. */
  #overtaken: { readonly bytes: Uint8Array; past: number }[] = [];
  /** The unit that waits for another to change ids with. */
  #swapping: Unit | undefined;
  /** One write after the other: a unit in pieces must not have another in its middle. */
  #writing: Promise<void> = Promise.resolve();

  constructor(target: Duplex, place: Place, mischief: Mischief, isFramed: boolean) {
    this.#target = target;
    this.#decide = mischief.at(place);
    this.#isFramed = isFramed;
  }

  /** @throws If the stream was cut or is gone; the caller destroys both of its sides. */
  async pass(unit: Unit): Promise<void> {
    const partner = this.#swapping;
    const isSilent = performance.now() < this.#silentUntilMs;
    const payload = this.#isFramed ? unit.bytes.subarray(FRAME_HEAD_BYTES) : unit.bytes;
    const plan = this.#decide(unit, payload, partner === undefined && !isSilent);
    if (isSilent) return;
    const before = this.#overtaken;
    if (partner !== undefined) {
      this.#swapping = undefined;
      for (const changed of withIdsSwapped(partner, unit)) await this.#write(changed.bytes);
    } else if (plan === undefined) {
      await this.#write(unit.bytes);
    } else {
      await this.#misbehave(unit, plan);
    }
    for (const held of before) held.past -= 1;
    await this.#release((held) => held.past <= 0);
  }

  /** Lets go of what waits for others to come. */
  async settle(): Promise<void> {
    await this.#release(() => true);
    const alone = this.#swapping;
    this.#swapping = undefined;
    if (alone !== undefined) await this.#write(alone.bytes);
    await this.#writing;
  }

  async end(): Promise<void> {
    await this.settle();
    this.#target.end();
  }

  async #misbehave(unit: Unit, { misdeed, random, recorded }: Plan): Promise<void> {
    const { bytes } = unit;
    switch (misdeed.kind) {
      case "drop":
        return;
      case "delay": {
        const [least, most] = misdeed.ms;
        await sleep(least + random.next() * (most - least));
        return this.#write(bytes);
      }
      case "duplicate":
        for (let copy = 0; copy <= misdeed.copies; copy += 1) await this.#write(bytes);
        return;
      case "reorder":
        this.#overtaken = [...this.#overtaken, { bytes, past: misdeed.past }];
        this.#later(() => this.#release(() => true));
        return;
      case "truncate":
        await this.#write(bytes.subarray(0, 1 + random.below(Math.max(1, bytes.length - 1))));
        if (misdeed.by === "end") this.#target.end();
        // An end is to be seen as one; a cut need not let what is written arrive.
        if (misdeed.by === "end") await sleep(MAX_HELD_MS);
        throw new Cut();
      case "flip":
        return this.#write(flipped(bytes, misdeed.bits, this.#from(misdeed.where), random));
      case "replace":
        return this.#write(this.#replacement(unit, misdeed.with, random));
      case "replay": {
        const earlier = this.#replayed(unit, misdeed.id, recorded, random);
        if (earlier !== undefined) await this.#write(earlier);
        if (earlier === undefined || misdeed.place === "before") await this.#write(bytes);
        return;
      }
      case "split":
        return this.#writeInPieces(pieces(bytes, misdeed.size, random));
      case "silence":
        this.#silentUntilMs = performance.now() + misdeed.ms;
        return;
      case "answer-twice": {
        const other = this.#otherAnswer(unit, random);
        const both = random.next() < 0.5 ? [bytes, other] : [other, bytes];
        for (const one of both) await this.#write(one);
        return;
      }
      case "swap-ids":
        this.#swapping = unit;
        this.#later(async () => {
          if (this.#swapping !== unit) return;
          this.#swapping = undefined;
          await this.#write(bytes);
        });
        return;
      case "cut":
        throw new Cut();
    }
  }

  #from(where: "anywhere" | "payload"): number {
    return where === "payload" && this.#isFramed ? FRAME_HEAD_BYTES : 0;
  }

  #replacement({ bytes }: Unit, what: Extract<Misdeed, { kind: "replace" }>["with"], random: Random): Uint8Array {
    if (typeof what === "object") return encodeFrame(encodeCbor(what.message));
    const from = this.#from("payload");
    const garbage = Uint8Array.from(bytes);
    garbage.set(random.bytes(bytes.length - from), from);
    if (what === "garbage") return garbage;
    const length = what === "zero-length" ? 0 : random.pick([0xffff_ffff, 0x8000_0000, MAX_FRAME_BYTES + 1]);
    if (garbage.length >= FRAME_HEAD_BYTES) new DataView(garbage.buffer).setUint32(0, length);
    return garbage;
  }

  #replayed(
    { message }: Unit,
    id: "own" | "adopted",
    recorded: readonly Uint8Array[],
    random: Random,
  ): Uint8Array | undefined {
    const earlier = recorded[random.below(recorded.length)];
    if (earlier === undefined || !this.#isFramed) return earlier;
    if (id === "own" || message === null || !("id" in message)) return encodeFrame(earlier);
    return encodeFrame(encodeCbor({ ...(decode(earlier) as object), id: message.id }));
  }

  /** Under the same id, and different: the last bit of its bytes, where there are any. */
  #otherAnswer({ message, bytes }: Unit, random: Random): Uint8Array {
    if (message === null) return flipped(bytes, 1, 0, random);
    const changed = Object.entries(message).map(([name, value]) => [
      name,
      value instanceof Uint8Array && value.length > 0 ? flipped(value, 1, 0, random) : value,
    ]);
    return encodeFrame(encodeCbor(Object.fromEntries(changed)));
  }

  #later(work: () => Promise<void>): void {
    setTimeout(() => void work().catch(() => this.#target.destroy()), MAX_HELD_MS).unref();
  }

  async #release(isDue: (held: { readonly past: number }) => boolean): Promise<void> {
    const due = this.#overtaken.filter(isDue);
    this.#overtaken = this.#overtaken.filter((held) => !due.includes(held));
    for (const { bytes } of due) await this.#write(bytes);
  }

  #write(bytes: Uint8Array): Promise<void> {
    return this.#writeInPieces([bytes]);
  }

  #writeInPieces(parts: readonly Uint8Array[]): Promise<void> {
    const work = async () => {
      for (const [at, part] of parts.entries()) {
        if (at > 0) await nextTurn();
        if (this.#target.destroyed || this.#target.writableEnded) throw new Error("the other side is gone");
        if (!this.#target.write(part)) await drained(this.#target);
      }
    };
    const written = this.#writing.then(work);
    this.#writing = written.catch(() => {});
    return written;
  }
}

function flipped(bytes: Uint8Array, bits: number, from: number, random: Random): Uint8Array {
  const changed = Uint8Array.from(bytes);
  for (let flip = 0; flip < bits && changed.length > from; flip += 1) {
    const at = from + random.below(changed.length - from);
    changed[at] = (changed[at] ?? 0) ^ (1 << random.below(8));
  }
  return changed;
}

function pieces(bytes: Uint8Array, size: "one-byte" | "31-to-33-KiB" | "random", random: Random): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const left = bytes.length - at;
    const length =
      size === "31-to-33-KiB"
        ? 31 * KIB + random.below(2 * KIB + 1)
        : size === "random"
          ? 1 + random.below(left)
          : at < MAX_SINGLE_BYTES
            ? 1
            : left;
    parts.push(bytes.subarray(at, at + length));
    at += length;
  }
  return parts;
}

function withIdsSwapped(first: Unit, second: Unit): readonly Pick<Unit, "bytes">[] {
  const [one, other] = [first.message, second.message];
  if (one === null || other === null || !("id" in one) || !("id" in other)) return [second, first];
  return [
    { bytes: encodeFrame(encodeCbor({ ...one, id: other.id })) },
    { bytes: encodeFrame(encodeCbor({ ...other, id: one.id })) },
  ];
}

async function drained(target: Duplex): Promise<void> {
  const abort = new AbortController();
  try {
    await Promise.race([once(target, "drain", abort), once(target, "close", abort)]);
  } finally {
    abort.abort();
  }
}
