import type { Duplex } from "node:stream";
import { encodeCbor, encodeFrame, type LogMessage } from "../protocol/index.ts";

/** Lines wait here while the parent's log port is away; over this the oldest are lost. */
const MAX_WAITING = 1_000;
const RETRY_MS = 1_000;

/** Sends log lines to the parent and never makes the enclave wait for it. */
export class LogStream {
  readonly #open: () => Promise<Duplex>;
  #stream: Duplex | undefined;
  #opening = false;
  #waiting: string[] = [];
  #closed = false;
  #isCorked = false;

  constructor(open: () => Promise<Duplex>) {
    this.#open = open;
  }

  write(line: string): void {
    if (this.#closed) return;
    if (this.#stream !== undefined && !this.#stream.writableNeedDrain) {
      this.#send(this.#stream, line);
      return;
    }
    if (this.#waiting.length >= MAX_WAITING) this.#waiting.shift();
    this.#waiting.push(line);
    if (this.#stream === undefined) this.#connect();
  }

  close(): void {
    this.#closed = true;
    this.#stream?.end();
  }

  #connect(): void {
    if (this.#opening || this.#closed) return;
    this.#opening = true;
    this.#open()
      .then((stream) => {
        if (this.#closed) {
          stream.destroy();
          return;
        }
        this.#stream = stream;
        stream.resume();
        stream.on("drain", () => this.#flush());
        stream.once("close", () => {
          this.#stream = undefined;
        });
        this.#flush();
      })
      .catch(() => {
        setTimeout(() => this.#waiting.length > 0 && this.#connect(), RETRY_MS).unref();
      })
      .finally(() => {
        this.#opening = false;
      });
  }

  #flush(): void {
    while (this.#stream !== undefined && !this.#stream.writableNeedDrain) {
      const line = this.#waiting.shift();
      if (line === undefined) return;
      this.#send(this.#stream, line);
    }
  }

  /** Lines of one turn leave in one write: each write costs as much as the rest of a line's way. */
  #send(stream: Duplex, line: string): void {
    const message: LogMessage = { line };
    if (!this.#isCorked) {
      this.#isCorked = true;
      stream.cork();
      setImmediate(() => {
        this.#isCorked = false;
        stream.uncork();
      });
    }
    stream.write(encodeFrame(encodeCbor(message)));
  }
}
