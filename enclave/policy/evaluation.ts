import type { Collection } from "../../protocol/index.ts";
import type { AbiValue } from "../signing/evm/abi.ts";
import { type Elements, elementsOf, type PolicyRequest, type Values, valuesOf } from "./fields.ts";

/**
 * Conditions that are looked at for one request, each element of a list counted by itself. A document at its greatest
 * takes 10,000; what is over this is refused, however it would have ended. Half a microsecond each (measured), in which the
 * thread does nothing else: whoever has a session may set a policy of their own, and choose what it is held against.
 */
export const MAX_STEPS = 50_000;

export class TooMuchWork extends Error {}

/** One request while policies judge it: what was read of it so far, and how much was done. */
export class Evaluation {
  readonly request: PolicyRequest;
  readonly values: Values;
  readonly #elements = new Map<Collection, Elements | undefined>();
  readonly #decoded = new Map<string, Map<Uint8Array, readonly AbiValue[] | null>>();
  readonly #maxSteps: number;
  #steps = 0;

  constructor(request: PolicyRequest, maxSteps: number = MAX_STEPS) {
    this.request = request;
    this.values = valuesOf(request);
    this.#maxSteps = maxSteps;
  }

  get steps(): number {
    return this.#steps;
  }

  step(): void {
    this.#steps += 1;
    if (this.#steps > this.#maxSteps) throw new TooMuchWork();
  }

  /** What was done for this request beside judging it. */
  count(steps: number): void {
    this.#steps += steps;
  }

  elements(collection: Collection): Elements | undefined {
    const known = this.#elements.get(collection);
    if (known !== undefined) return known;
    const read = elementsOf(this.request.facts, collection);
    this.#elements.set(collection, read);
    return read;
  }

  /** Decoding costs as much as the data is long, so each function's is done once. */
  decoded(signature: string, data: Uint8Array, decode: () => readonly AbiValue[] | null): readonly AbiValue[] | null {
    const byData = this.#decoded.get(signature) ?? new Map<Uint8Array, readonly AbiValue[] | null>();
    this.#decoded.set(signature, byData);
    const known = byData.get(data);
    if (known !== undefined) return known;
    const values = decode();
    byData.set(data, values);
    return values;
  }
}
