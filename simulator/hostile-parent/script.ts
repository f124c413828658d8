/**
 * A parent's misbehaviour as data: rules that say where, when and what. The same script, seed and messages give the
 * same misdeeds; only what timing decides (which stream came first, where TCP cut its bytes) may differ.
 */

export type Direction = "to-enclave" | "to-parent";

/**
 * What is done to one unit: a whole frame, or a piece of the raw bytes on the egress port. Waiting is always bounded,
 * so that a parent that behaves again is one again.
 */
export type Misdeed =
  /** It never arrives. Of an answer: never answered. */
  | { readonly kind: "drop" }
  /** It and all behind it arrive later, after a time in this range. */
  | { readonly kind: "delay"; readonly ms: readonly [least: number, most: number] }
  | { readonly kind: "duplicate"; readonly copies: number }
  /** Up to so many later units overtake it; with fewer it goes on after {@link MAX_HELD_MS}. */
  | { readonly kind: "reorder"; readonly past: number }
  /** It ends somewhere in its middle, and the stream with it. */
  | { readonly kind: "truncate"; readonly by: "end" | "cut" }
  /** Of a frame: anywhere in it, or in its payload alone, which keeps the stream in step. */
  | { readonly kind: "flip"; readonly bits: number; readonly where: "anywhere" | "payload" }
  /** Random bytes of its length, a length that nobody can mean, or a message of the script's. */
  | {
      readonly kind: "replace";
      readonly with: "garbage" | "huge-length" | "zero-length" | { readonly message: object };
    }
  /** An earlier unit of this port and direction goes in its place, or before it; under its own id or this one's. */
  | { readonly kind: "replay"; readonly place: "instead" | "before"; readonly id: "own" | "adopted" }
  /** All of it arrives, in pieces of this size, each in a turn of its own. */
  | { readonly kind: "split"; readonly size: "one-byte" | "31-to-33-KiB" | "random" }
  /** Nothing passes on this stream in this direction for a while; what would have is lost. */
  | { readonly kind: "silence"; readonly ms: number }
  /** It arrives, and a second one of the same id that differs in a bit: before or after it. */
  | { readonly kind: "answer-twice" }
  /** It and the next one on its stream change ids: each goes to the other's caller. */
  | { readonly kind: "swap-ids" }
  | { readonly kind: "cut" };

/** How long anything waits for a unit to come after it. */
export const MAX_HELD_MS = 100;

export interface Rule {
  /** Left out: every port. */
  readonly port?: number | readonly number[];
  /** Left out: both. */
  readonly direction?: Direction;
  /** A message's `kind`; `answer` on the request port, `connect` on the egress port, `line` of the log, `bytes`. */
  readonly of?: string | readonly string[];
  /** Lets so many units pass that all of the above fits. */
  readonly after?: number;
  /** Then does it at most so often. */
  readonly times?: number;
  /** 0 to 1; left out: always. */
  readonly probability?: number;
  readonly misdeed: Misdeed;
}

export interface Script {
  /** Same seed, same misdeeds. */
  readonly seed: string | number;
  /** The first that fits a unit is done to it. */
  readonly rules: readonly Rule[];
  /** What replays have to choose from besides what passes: frames' payloads, or raw pieces. */
  readonly recording?: readonly Recorded[];
}

export interface Recorded {
  readonly port: number;
  readonly direction: Direction;
  readonly payload: Uint8Array;
}

/** One thing that was done. */
export interface Done {
  readonly port: number;
  readonly direction: Direction;
  /** Streams of a port, counted from 1. */
  readonly stream: number;
  /** Units of this direction of the stream, counted from 1. */
  readonly unit: number;
  readonly of: string;
  readonly misdeed: Misdeed["kind"];
}
