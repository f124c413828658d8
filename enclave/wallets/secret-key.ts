import { inspect } from "node:util";

/**
 * A private key that is lent and not handed out, and cannot be printed. Wiping is best effort: V8 may have moved the
 * bytes before (docs/threat-model.md, "Memory").
 */
export class SecretKey implements Disposable {
  readonly #bytes: Uint8Array;

  /** Takes the bytes over: nobody else keeps them. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  use<Result>(work: (bytes: Uint8Array) => Result): Result {
    return work(this.#bytes);
  }

  [Symbol.dispose](): void {
    this.#bytes.fill(0);
  }

  toJSON(): string {
    return "[secret]";
  }

  [inspect.custom](): string {
    return "[secret]";
  }
}
