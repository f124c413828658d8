/** What was read lately, up to a number of bytes as they are stored: a count alone would let large ones fill the memory. */
export class SizedCache<Value extends { readonly sizeBytes: number }> {
  readonly #maxBytes: number;
  /** In order of use: the first is the one not used for longest. */
  readonly #entries = new Map<string, Value>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get(name: string): Value | undefined {
    const value = this.#entries.get(name);
    if (value === undefined) return undefined;
    this.#entries.delete(name);
    this.#entries.set(name, value);
    return value;
  }

  set(name: string, value: Value): void {
    this.delete(name);
    this.#entries.set(name, value);
    this.#bytes += value.sizeBytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#maxBytes) return;
      this.delete(oldest);
    }
  }

  delete(name: string): void {
    this.#bytes -= this.#entries.get(name)?.sizeBytes ?? 0;
    this.#entries.delete(name);
  }
}
