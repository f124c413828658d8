/** Names in order (of UTF-16 units), a million if need be: in parts, so that adding one moves a few hundred at most. */
const MAX_PART = 512;

export class SortedNames {
  /** None of them empty. */
  readonly #parts: string[][] = [];

  get isEmpty(): boolean {
    return this.#parts.length === 0;
  }

  add(name: string): void {
    const at = Math.min(this.#partOf(name), Math.max(0, this.#parts.length - 1));
    const part = this.#parts[at];
    if (part === undefined) {
      this.#parts.push([name]);
      return;
    }
    const place = firstNotBefore(part, name);
    if (part[place] === name) return;
    part.splice(place, 0, name);
    if (part.length > MAX_PART) this.#parts.splice(at + 1, 0, part.splice(MAX_PART / 2));
  }

  delete(name: string): void {
    const at = this.#partOf(name);
    const part = this.#parts[at];
    const place = part === undefined ? -1 : firstNotBefore(part, name);
    if (part?.[place] !== name) return;
    part.splice(place, 1);
    if (part.length === 0) this.#parts.splice(at, 1);
  }

  /** Those behind `name`, or all. Nothing may be added or deleted meanwhile. */
  *after(name: string | null): Generator<string, void> {
    const first = name === null ? 0 : this.#partOf(name);
    for (let at = first; at < this.#parts.length; at += 1) {
      for (const each of this.#parts[at] ?? []) if (name === null || each > name) yield each;
    }
  }

  /** The first part that ends with this name or behind it: where it stands, if anywhere. */
  #partOf(name: string): number {
    return firstWhere(this.#parts.length, (at) => (this.#parts[at]?.at(-1) ?? "") >= name);
  }
}

function firstNotBefore(part: readonly string[], name: string): number {
  return firstWhere(part.length, (at) => (part[at] ?? "") >= name);
}

/** @param isPast - False up to some place, and true from there on. @returns That place; `length` if there is none. */
function firstWhere(length: number, isPast: (at: number) => boolean): number {
  let [from, to] = [0, length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (isPast(middle)) to = middle;
    else from = middle + 1;
  }
  return from;
}
