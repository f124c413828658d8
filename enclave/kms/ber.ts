/**
 * The little of BER (ITU-T X.690) that a KMS reply needs: indefinite lengths and octet strings in pieces, which AWS
 * sends and DER parsers refuse. One-byte tags only.
 */

export interface BerElement {
  readonly tag: number;
  /** For a primitive element. */
  readonly content: Uint8Array;
  /** For a constructed one. */
  readonly children: readonly BerElement[];
}

/** KMS's deepest element is the sixth. */
const MAX_DEPTH = 12;
const CONSTRUCTED = 0x20;
const END_OF_CONTENTS = 0x00;
const OCTET_STRING = 0x04;

export class BerError extends Error {
  override readonly name = "BerError";
}

/** Reads one element that takes up all of the input. */
export function decodeBer(bytes: Uint8Array): BerElement {
  const reader = new Reader(bytes);
  const element = reader.element(0);
  if (reader.at !== bytes.length) throw new BerError(`${bytes.length - reader.at} bytes after the element`);
  return element;
}

/** An OCTET STRING's bytes, joined if it came in pieces; `tag` allows for an implicit tag in its place. */
export function octets(element: BerElement, tag: number = OCTET_STRING): Uint8Array {
  if (element.tag === tag) return element.content;
  if (element.tag !== (tag | CONSTRUCTED)) throw new BerError(`tag ${element.tag}, expected ${tag}`);
  return Buffer.concat(element.children.map((child) => octets(child)));
}

class Reader {
  readonly #bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  element(depth: number): BerElement {
    if (depth > MAX_DEPTH) throw new BerError(`nested deeper than ${MAX_DEPTH}`);
    const tag = this.#byte();
    if ((tag & 0x1f) === 0x1f) throw new BerError("a tag of more than one byte");
    const length = this.#length();
    const constructed = (tag & CONSTRUCTED) !== 0;
    if (length === "indefinite") {
      if (!constructed) throw new BerError("a primitive element of indefinite length");
      return { tag, content: new Uint8Array(0), children: this.#childrenUntilEnd(depth) };
    }
    const end = this.at + length;
    if (end > this.#bytes.length)
      throw new BerError(`an element of ${length} bytes, ${this.#bytes.length - this.at} left`);
    if (!constructed) {
      const content = this.#bytes.subarray(this.at, end);
      this.at = end;
      return { tag, content, children: [] };
    }
    const children: BerElement[] = [];
    while (this.at < end) children.push(this.element(depth + 1));
    if (this.at !== end) throw new BerError("an element that reaches over its parent's end");
    return { tag, content: new Uint8Array(0), children };
  }

  #childrenUntilEnd(depth: number): BerElement[] {
    const children: BerElement[] = [];
    for (;;) {
      const child = this.element(depth + 1);
      if (child.tag === END_OF_CONTENTS) {
        if (child.content.length > 0) throw new BerError("an end-of-contents with contents");
        return children;
      }
      children.push(child);
    }
  }

  #length(): number | "indefinite" {
    const first = this.#byte();
    if (first < 0x80) return first;
    if (first === 0x80) return "indefinite";
    const count = first & 0x7f;
    // Two bytes reach 65,535; a reply is 6,144 bytes at most.
    if (count > 2) throw new BerError(`a length of ${count} bytes`);
    let length = 0;
    for (let at = 0; at < count; at += 1) length = length * 256 + this.#byte();
    return length;
  }

  #byte(): number {
    const byte = this.#bytes[this.at];
    if (byte === undefined) throw new BerError(`input ends at byte ${this.at}`);
    this.at += 1;
    return byte;
  }
}
