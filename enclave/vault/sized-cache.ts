import { RecencyMap } from "../recency-map.ts";

/** What was read lately, up to a number of bytes as they are stored: a count alone would let large ones fill the memory. */
export class SizedCache<Value extends { readonly sizeBytes: number }> {
  readonly #maxBytes: number;
  readonly #entries = new RecencyMap<string, Value>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get(name: string): Value | undefined {
    return this.#entries.use(name);
  }

  set(name: string, value: Value): void {
    this.#bytes += value.sizeBytes - (this.#entries.get(name)?.sizeBytes ?? 0);
    this.#entries.set(name, value);
    for (const [oldest] of this.#entries) {
      if (this.#bytes <= this.#maxBytes) return;
      this.delete(oldest);
    }
  }

  delete(name: string): void {
    this.#bytes -= this.#entries.get(name)?.sizeBytes ?? 0;
    this.#entries.delete(name);
  }
}
