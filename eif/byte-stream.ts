/** Reads a stream of chunks piece by piece. What it holds is one chunk, and a piece that lies across two. */
export class ByteStream {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);
  #at = 0;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** How many bytes have been taken. */
  get at(): number {
    return this.#at;
  }

  async isAtEnd(): Promise<boolean> {
    return !(await this.#fill());
  }

  /** Up to `length` of the next bytes, left where they are; fewer only at the end. `length` is small. */
  async peek(length: number): Promise<Uint8Array> {
    while (this.#chunk.length < length) {
      // The chunk's memory may be written over when the next is asked for.
      const held = this.#chunk.slice();
      const next = await this.#chunks.next();
      if (next.done === true) {
        this.#chunk = held;
        break;
      }
      this.#chunk = new Uint8Array(Buffer.concat([held, next.value]));
    }
    return this.#chunk.subarray(0, length);
  }

  /** The next bytes as a copy; fewer than `length` only at the end. `length` is small. */
  async take(length: number): Promise<Uint8Array> {
    const bytes = (await this.peek(length)).slice();
    this.#chunk = this.#chunk.subarray(bytes.length);
    this.#at += bytes.length;
    return bytes;
  }

  /** Up to `length` bytes, as they come; each piece is the reader's until the next. Fewer only at the end. */
  async *pieces(length: number): AsyncGenerator<Uint8Array> {
    for (let left = length; left > 0 && (await this.#fill()); ) {
      const piece = this.#chunk.subarray(0, left);
      this.#chunk = this.#chunk.subarray(piece.length);
      this.#at += piece.length;
      left -= piece.length;
      yield piece;
    }
  }

  async skipZeros(): Promise<void> {
    while (await this.#fill()) {
      let zeros = 0;
      while (this.#chunk[zeros] === 0) zeros += 1;
      this.#chunk = this.#chunk.subarray(zeros);
      this.#at += zeros;
      if (this.#chunk.length > 0) return;
    }
  }

  /** Gives back what was taken last, to be read again. The bytes are the stream's from then on. */
  putBack(bytes: Uint8Array): void {
    this.#chunk = this.#chunk.length === 0 ? bytes : new Uint8Array(Buffer.concat([bytes, this.#chunk]));
    this.#at -= bytes.length;
  }

  /** Lets the source close its file. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #fill(): Promise<boolean> {
    while (this.#chunk.length === 0) {
      const next = await this.#chunks.next();
      if (next.done === true) return false;
      this.#chunk = next.value;
    }
    return true;
  }
}
