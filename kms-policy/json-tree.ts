/** JSON (RFC 8259) with the place of every value, for a linter that must say where. Duplicate keys are kept, to be found. */

export type JsonNode =
  | { readonly kind: "object"; readonly at: number; readonly entries: readonly JsonEntry[] }
  | { readonly kind: "array"; readonly at: number; readonly items: readonly JsonNode[] }
  | { readonly kind: "string"; readonly at: number; readonly value: string }
  | { readonly kind: "other"; readonly at: number; readonly value: number | boolean | null };

export interface JsonEntry {
  readonly key: string;
  readonly keyAt: number;
  readonly value: JsonNode;
}

/** Counted from 1; columns in UTF-16 units, as editors count. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Not JSON, from this offset on. */
export class JsonSyntaxError extends Error {
  override readonly name = "JsonSyntaxError";
  readonly at: number;

  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

/** A policy nests six deep: object, statements, statement, condition, operator, values. */
const MAX_DEPTH = 16;

/** @throws {@link JsonSyntaxError} */
export function parseJsonTree(text: string): JsonNode {
  return new TreeParser(text).document();
}

export function positionOf(text: string, at: number): Position {
  const before = text.slice(0, at);
  const lineStart = before.lastIndexOf("\n") + 1;
  return { line: before.split("\n").length, column: at - lineStart + 1 };
}

class TreeParser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): JsonNode {
    const node = this.#value(0);
    this.#skipSpace();
    if (this.#at < this.#text.length) this.#fail("text after the policy");
    return node;
  }

  #value(depth: number): JsonNode {
    this.#skipSpace();
    if (depth > MAX_DEPTH) this.#fail(`nested deeper than ${MAX_DEPTH}`);
    const at = this.#at;
    switch (this.#text[at]) {
      case "{":
        return { kind: "object", at, entries: this.#list("}", () => this.#entry(depth)) };
      case "[":
        return { kind: "array", at, items: this.#list("]", () => this.#value(depth + 1)) };
      case '"':
        return { kind: "string", at, value: this.#string() };
      default:
        return { kind: "other", at, value: this.#literal() };
    }
  }

  #list<Item>(end: "}" | "]", item: () => Item): Item[] {
    const items: Item[] = [];
    this.#at += 1;
    this.#skipSpace();
    if (this.#takeIf(end)) return items;
    do {
      items.push(item());
      this.#skipSpace();
    } while (this.#takeIf(","));
    if (!this.#takeIf(end)) this.#fail(`expected a comma or ${end}`);
    return items;
  }

  #entry(depth: number): JsonEntry {
    this.#skipSpace();
    const keyAt = this.#at;
    if (this.#text[keyAt] !== '"') this.#fail("expected a key in quotes");
    const key = this.#string();
    this.#skipSpace();
    if (!this.#takeIf(":")) this.#fail("expected a colon");
    return { key, keyAt, value: this.#value(depth + 1) };
  }

  /** Finds the end, then lets the platform's parser undo the escapes. */
  #string(): string {
    const start = this.#at;
    let end = start + 1;
    while (end < this.#text.length && this.#text[end] !== '"') end += this.#text[end] === "\\" ? 2 : 1;
    return this.#parse(start, end + 1, "a malformed string") as string;
  }

  #literal(): number | boolean | null {
    const length = /^[-+.0-9A-Za-z]*/.exec(this.#text.slice(this.#at, this.#at + 32))?.[0].length ?? 0;
    return this.#parse(this.#at, this.#at + length, "expected a value") as number | boolean | null;
  }

  #parse(start: number, end: number, otherwise: string): unknown {
    try {
      const value: unknown = JSON.parse(this.#text.slice(start, end));
      this.#at = end;
      return value;
    } catch {
      return this.#fail(otherwise);
    }
  }

  #takeIf(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #skipSpace(): void {
    while (this.#at < this.#text.length && " \t\n\r".includes(this.#text.charAt(this.#at))) this.#at += 1;
  }

  #fail(why: string): never {
    throw new JsonSyntaxError(why, this.#at);
  }
}
