/** Solidity's types as its ABI writes them, canonical spellings alone: `uint` is `uint256`, and has one name here. */

export type AtomicType =
  | { readonly kind: "uint" | "int"; readonly bits: number }
  | { readonly kind: "fixed-bytes"; readonly size: number }
  | { readonly kind: "address" | "bool" };

export type AbiType =
  | AtomicType
  | { readonly kind: "bytes" | "string" }
  /** `length` is null where each value has its own. */
  | { readonly kind: "array"; readonly item: AbiType; readonly length: number | null }
  | { readonly kind: "tuple"; readonly items: readonly AbiType[] };

/** A signature is a policy's text or ours: far longer ones are nobody's. */
const MAX_SIGNATURE_LENGTH = 512;
/** Arrays and tuples around a value. */
const MAX_TYPE_DEPTH = 8;

/** Such as `uint256`, `bytes32`, `address`; null for anything else, `bytes` and `string` included. */
export function parseAtomicType(text: string): AtomicType | null {
  if (text === "address" || text === "bool") return { kind: text };
  const [, name, digits] = /^(uint|int|bytes)([1-9][0-9]{0,2})$/.exec(text) ?? [];
  const size = Number(digits);
  if (name === "bytes") return size <= 32 ? { kind: "fixed-bytes", size } : null;
  if (name !== "uint" && name !== "int") return null;
  return size % 8 === 0 && size <= 256 ? { kind: name, bits: size } : null;
}

/**
 * The parameters of a function's signature, such as `transfer(address,uint256)`: no spaces, no parameters' names.
 * Null for what is not one.
 */
export function parseParameters(signature: string): readonly AbiType[] | null {
  if (signature.length > MAX_SIGNATURE_LENGTH) return null;
  const name = /^[a-zA-Z_$][a-zA-Z0-9_$]*(?=\()/.exec(signature)?.[0];
  if (name === undefined) return null;
  if (signature === `${name}()`) return [];
  const parser = new TypeParser(signature, name.length);
  const tuple = parser.type(0);
  return tuple?.kind === "tuple" && parser.isAtEnd ? tuple.items : null;
}

class TypeParser {
  readonly #text: string;
  #at: number;

  constructor(text: string, at: number) {
    this.#text = text;
    this.#at = at;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#text.length;
  }

  /** `depth`: what stands around this type. */
  type(depth: number): AbiType | null {
    let type = this.#text[this.#at] === "(" ? this.#tuple(depth) : this.#word();
    // Each pair of brackets makes an array of what stands before it.
    for (let around = depth; type !== null && this.#text[this.#at] === "["; around += 1) {
      const [brackets, length] = /^\[([1-9][0-9]{0,8})?\]/.exec(this.#text.slice(this.#at, this.#at + 11)) ?? [];
      if (brackets === undefined || around >= MAX_TYPE_DEPTH) return null;
      this.#at += brackets.length;
      type = { kind: "array", item: type, length: length === undefined ? null : Number(length) };
    }
    return type;
  }

  #tuple(depth: number): AbiType | null {
    if (depth >= MAX_TYPE_DEPTH) return null;
    const items: AbiType[] = [];
    do {
      this.#at += 1;
      const item = this.type(depth + 1);
      if (item === null) return null;
      items.push(item);
    } while (this.#text[this.#at] === ",");
    if (this.#text[this.#at] !== ")") return null;
    this.#at += 1;
    return { kind: "tuple", items };
  }

  #word(): AbiType | null {
    const start = this.#at;
    while (/[a-z0-9]/.test(this.#text.charAt(this.#at))) this.#at += 1;
    const word = this.#text.slice(start, this.#at);
    return word === "bytes" || word === "string" ? { kind: word } : parseAtomicType(word);
  }
}
