/** Reads the members of one request. What KMS does not know is refused, so that a client's typing error shows. */
import { type JsonValue, parseStrictJson } from "../../protocol/index.ts";
import type { EncryptionContext } from "./ciphertext-blob.ts";
import { KmsError } from "./errors.ts";

export class KmsInput {
  readonly #members: ReadonlyMap<string, JsonValue>;
  readonly #read = new Set<string>();

  /** @throws {@link KmsError} `SerializationException` unless the body is one JSON object. */
  static parse(body: Uint8Array): KmsInput {
    try {
      return new KmsInput(parseStrictJson(body));
    } catch (cause) {
      if (cause instanceof KmsError) throw cause;
      throw new KmsError("SerializationException", "the body is not one JSON object", { cause });
    }
  }

  constructor(json: JsonValue) {
    if (typeof json !== "object" || json === null || Array.isArray(json)) serialization("expected an object");
    // A member that is null counts as absent, as in AWS's own parsers.
    this.#members = new Map(Object.entries(json).filter(([, value]) => value !== null));
  }

  has(name: string): boolean {
    return this.#members.has(name);
  }

  /** A member's text, read or not; null if it is none. */
  peek(name: string): string | null {
    const value = this.#members.get(name);
    return typeof value === "string" ? value : null;
  }

  string(name: string, limits: { readonly min: number; readonly max: number }): string | undefined {
    const value = this.#take(name);
    if (value === undefined) return undefined;
    if (typeof value !== "string") return serialization(`${name}: expected a string`);
    checkLength(name, value.length, limits);
    return value;
  }

  blob(name: string, limits: { readonly min: number; readonly max: number }): Buffer | undefined {
    const text = this.#take(name);
    if (text === undefined) return undefined;
    if (typeof text !== "string") return serialization(`${name}: expected base64`);
    const bytes = Buffer.from(text, "base64");
    // Buffer skips what it does not know; only the text that it would write itself is taken.
    if (bytes.toString("base64") !== text) serialization(`${name}: expected base64 with padding`);
    checkLength(name, bytes.length, limits);
    return bytes;
  }

  integer(name: string, limits: { readonly min: number; readonly max: number }): number | undefined {
    const value = this.#take(name);
    if (value === undefined) return undefined;
    if (typeof value !== "number") return serialization(`${name}: expected an integer`);
    if (value < limits.min || value > limits.max) validation(`${name}: expected ${limits.min} to ${limits.max}`);
    return value;
  }

  boolean(name: string): boolean {
    const value = this.#take(name) ?? false;
    return typeof value === "boolean" ? value : serialization(`${name}: expected true or false`);
  }

  word<Word extends string>(name: string, words: readonly Word[]): Word | undefined {
    const value = this.string(name, { min: 1, max: 64 });
    if (value === undefined) return undefined;
    return words.find((word) => word === value) ?? validation(`${name}: expected ${words.join(" or ")}`);
  }

  encryptionContext(name = "EncryptionContext"): EncryptionContext {
    return this.texts(name) ?? new Map();
  }

  /** An object whose members are strings. */
  texts(name: string): ReadonlyMap<string, string> | undefined {
    const value = this.#take(name);
    if (value === undefined) return undefined;
    if (typeof value !== "object" || Array.isArray(value) || value === null) {
      return serialization(`${name}: expected an object`);
    }
    return new Map(
      Object.entries(value).map(([key, text]) => {
        return [key, typeof text === "string" ? text : serialization(`${name}: expected strings`)];
      }),
    );
  }

  strings(name: string, limits: { readonly min: number; readonly max: number }): string[] | undefined {
    return this.#list(name, limits)?.map((item) => {
      return typeof item === "string" ? item : serialization(`${name}: expected strings`);
    });
  }

  objects(name: string, limits: { readonly min: number; readonly max: number }): KmsInput[] | undefined {
    return this.#list(name, limits)?.map((item) => new KmsInput(item));
  }

  object(name: string): KmsInput | undefined {
    const value = this.#take(name);
    return value === undefined ? undefined : new KmsInput(value);
  }

  /** @throws {@link KmsError} `ValidationException` if a member is left that nothing has read. */
  end(): void {
    for (const name of this.#members.keys()) {
      if (!this.#read.has(name)) validation(`${JSON.stringify(name.slice(0, 64))} is not a member of this request`);
    }
  }

  #list(name: string, limits: { readonly min: number; readonly max: number }): JsonValue[] | undefined {
    const value = this.#take(name);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) return serialization(`${name}: expected a list`);
    checkLength(name, value.length, limits);
    return value;
  }

  #take(name: string): JsonValue | undefined {
    this.#read.add(name);
    return this.#members.get(name);
  }
}

function checkLength(name: string, length: number, { min, max }: { readonly min: number; readonly max: number }): void {
  if (length < min || length > max) validation(`${name}: expected a length of ${min} to ${max}, got ${length}`);
}

/** The value must be there. */
export function mustHave<Value>(name: string, value: Value | undefined): Value {
  return value ?? validation(`${name}: must not be null`);
}

export function validation(why: string): never {
  throw new KmsError("ValidationException", why);
}

function serialization(why: string): never {
  throw new KmsError("SerializationException", why);
}
