/**
 * JSON (RFC 8259) with no room for two readings: what a stamp covers must mean one thing to everybody who parses it.
 * Refused beyond the RFC: duplicate keys, the key `__proto__`, lone surrogates, a byte order mark, bad UTF-8,
 * numbers that are not safe integers (larger ones travel as decimal strings), and nesting over {@link MAX_JSON_DEPTH}.
 */
import { ProtocolError } from "./errors.ts";
import { MAX_JSON_DEPTH } from "./limits.ts";

export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Parses one JSON text.
 *
 * @param bytes - UTF-8. The caller has checked the size.
 * @throws {@link ProtocolError} `MALFORMED_JSON`, naming the offset in UTF-16 units and never the content.
 */
export function parseStrictJson(bytes: Uint8Array): JsonValue {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch (cause) {
    throw new ProtocolError("MALFORMED_JSON", "not UTF-8", { cause });
  }
  const value = readBack(text);
  return value === undefined ? new Parser(text).document() : value;
}

/**
 * What the platform's parser makes of the text, where writing that down again gives the very text: then there were no
 * spaces, no escapes, no key twice, and no number in a second spelling. Most requests are such, and this takes a fifth of
 * the time (docs/decisions/0526-one-core.md). Undefined for all others, which are the {@link Parser}'s to read or to refuse.
 */
function readBack(text: string): JsonValue | undefined {
  // An escape may hide a lone surrogate, which would be written back as it came.
  if (text.includes("\\") || text.includes("__proto__")) return undefined;
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch {
    return undefined;
  }
  return isStrict(value, 0) && JSON.stringify(value) === text ? value : undefined;
}

/** `depth`: arrays and objects around this value. */
function isStrict(value: JsonValue, depth: number): boolean {
  if (typeof value === "number") return Number.isSafeInteger(value);
  if (typeof value !== "object" || value === null) return true;
  if (depth >= MAX_JSON_DEPTH) return false;
  for (const each of Array.isArray(value) ? value : Object.values(value)) {
    if (!isStrict(each, depth + 1)) return false;
  }
  return true;
}

class Parser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): JsonValue {
    this.#skipSpace();
    const value = this.#value(0);
    this.#skipSpace();
    if (this.#at < this.#text.length) this.#fail("text after the value");
    return value;
  }

  /** `depth`: arrays and objects around this value. */
  #value(depth: number): JsonValue {
    switch (this.#text[this.#at]) {
      case "{":
        return this.#object(depth);
      case "[":
        return this.#array(depth);
      case '"':
        return this.#string();
      case "t":
        return this.#word("true", true);
      case "f":
        return this.#word("false", false);
      case "n":
        return this.#word("null", null);
      default:
        return this.#integer();
    }
  }

  #object(depth: number): JsonValue {
    const entries = new Map<string, JsonValue>();
    this.#enter(depth);
    this.#skipSpace();
    if (this.#takeIf("}")) return {};
    do {
      this.#skipSpace();
      if (this.#text[this.#at] !== '"') this.#fail("expected a key");
      const key = this.#string();
      if (key === "__proto__") this.#fail("the key __proto__");
      if (entries.has(key)) this.#fail("a duplicate key");
      this.#skipSpace();
      if (!this.#takeIf(":")) this.#fail("expected a colon");
      this.#skipSpace();
      entries.set(key, this.#value(depth + 1));
      this.#skipSpace();
    } while (this.#takeIf(","));
    if (!this.#takeIf("}")) this.#fail("expected a comma or the object's end");
    return Object.fromEntries(entries);
  }

  #array(depth: number): JsonValue {
    const items: JsonValue[] = [];
    this.#enter(depth);
    this.#skipSpace();
    if (this.#takeIf("]")) return items;
    do {
      this.#skipSpace();
      items.push(this.#value(depth + 1));
      this.#skipSpace();
    } while (this.#takeIf(","));
    if (!this.#takeIf("]")) this.#fail("expected a comma or the array's end");
    return items;
  }

  #enter(depth: number): void {
    if (depth >= MAX_JSON_DEPTH) this.#fail(`nested deeper than ${MAX_JSON_DEPTH}`);
    this.#at += 1;
  }

  /** Finds the end of the string here, then lets the platform's parser undo its escapes: both agree on what ends it. */
  #string(): string {
    const start = this.#at;
    this.#at += 1;
    for (;;) {
      const unit = this.#text.charCodeAt(this.#at);
      if (Number.isNaN(unit)) this.#fail("the string does not end");
      if (unit === 0x22) break;
      if (unit < 0x20) this.#fail("a control character in a string");
      this.#at += unit === 0x5c ? 2 : 1;
    }
    this.#at += 1;
    const literal = this.#text.slice(start, this.#at);
    let value: string;
    try {
      value = JSON.parse(literal) as string;
    } catch {
      return this.#fail("a malformed string");
    }
    if (!value.isWellFormed()) this.#fail("a lone surrogate");
    return value;
  }

  #integer(): number {
    const match = /^-?(?:0|[1-9][0-9]*)(?![0-9.eE])/.exec(this.#text.slice(this.#at, this.#at + 20));
    if (match === null) return this.#fail("expected a value; numbers are integers, larger ones decimal strings");
    const value = Number(match[0]);
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) this.#fail("a number outside the safe integers");
    this.#at += match[0].length;
    return value;
  }

  #word<Value>(word: string, value: Value): Value {
    if (!this.#text.startsWith(word, this.#at)) this.#fail("expected a value");
    this.#at += word.length;
    return value;
  }

  #takeIf(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #skipSpace(): void {
    while (" \t\n\r".includes(this.#text.charAt(this.#at)) && this.#at < this.#text.length) this.#at += 1;
  }

  #fail(why: string): never {
    throw new ProtocolError("MALFORMED_JSON", `${why} at offset ${this.#at}`);
  }
}
