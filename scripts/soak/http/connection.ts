/**
 * HTTP/1.1 over one TCP connection, by hand: so little of this process's time that the deployment has the most of it, and a caller
 * can stop anywhere.
 */
import { connect, type Socket } from "node:net";
import { isWebauthnStamp, STAMP_HEADER, WEBAUTHN_STAMP_HEADER } from "../../../protocol/index.ts";

export interface HttpAnswer {
  /** 0: none came, and `body` is an answer made up of why. */
  readonly status: number;
  readonly head: string;
  readonly body: Buffer;
}

/** Over the parent's own for a request. */
const ANSWER_TIMEOUT_MS = 45_000;
const HEAD_END = Buffer.from("\r\n\r\n");

export class Connection {
  readonly #socket: Socket;
  readonly #waiting: ((answer: HttpAnswer) => void)[] = [];
  #held: Buffer = Buffer.alloc(0);
  #error = "CONNECTION_CLOSED";

  constructor(port: number) {
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.#socket.on("data", (chunk: Buffer) => this.#take(chunk));
    this.#socket.on("error", (error: NodeJS.ErrnoException) => {
      this.#error = error.code ?? "CONNECTION_FAILED";
    });
    this.#socket.once("close", () => {
      for (const answered of this.#waiting.splice(0)) answered(noAnswer(this.#error));
    });
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed && !this.#socket.writableEnded;
  }

  get socket(): Socket {
    return this.#socket;
  }

  /** Sends one request and waits for its answer. Does not reject. */
  async ask(request: Uint8Array | string): Promise<HttpAnswer> {
    const answer = this.answer();
    this.#socket.write(request);
    return answer;
  }

  /** The next answer, whatever it answers. */
  async answer(): Promise<HttpAnswer> {
    if (this.#socket.destroyed) return noAnswer(this.#error);
    const { promise, resolve } = Promise.withResolvers<HttpAnswer>();
    this.#waiting.push(resolve);
    const timer = setTimeout(() => {
      this.#error = "CALLER_TIMEOUT";
      this.#socket.destroy();
    }, ANSWER_TIMEOUT_MS);
    const answer = await promise;
    clearTimeout(timer);
    return answer;
  }

  /** Once the other side has closed, too. */
  async close(how: "end" | "destroy" | "reset" = "end"): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    if (this.#socket.closed) return;
    this.#socket.once("close", () => resolve());
    // What it says about it is of no interest; unread, it would keep the connection.
    this.#socket.resume();
    if (how === "end") this.#socket.end();
    else if (how === "destroy") this.#socket.destroy();
    else this.#socket.resetAndDestroy();
    const timer = setTimeout(() => this.#socket.destroy(), 1_000);
    await promise;
    clearTimeout(timer);
  }

  #take(chunk: Buffer): void {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    for (;;) {
      const end = this.#held.indexOf(HEAD_END);
      if (end < 0) return;
      const head = this.#held.toString("latin1", 0, end);
      const from = end + HEAD_END.length;
      const length = Number(/^content-length: *([0-9]+)\r?$/im.exec(head)?.[1] ?? 0);
      if (this.#held.length < from + length) return;
      // Copied: a slice would keep all of what one read has brought.
      const body = Buffer.from(this.#held.subarray(from, from + length));
      this.#held = this.#held.subarray(from + length);
      this.#waiting.shift()?.({ status: Number(head.slice(9, 12)), head, body });
    }
  }
}

export function headOf(path: string, length: number, stamps: readonly string[] = []): string {
  const lines = stamps.map((stamp) => `${isWebauthnStamp(stamp) ? WEBAUTHN_STAMP_HEADER : STAMP_HEADER}: ${stamp}\r\n`);
  return `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: ${length}\r\n${lines.join("")}\r\n`;
}

export function requestOf(path: string, body: Uint8Array, stamps: readonly string[] = []): Buffer {
  return Buffer.concat([Buffer.from(headOf(path, body.length, stamps), "latin1"), body]);
}

function noAnswer(code: string): HttpAnswer {
  return { status: 0, head: "", body: Buffer.from(JSON.stringify({ error: { code, message: "no answer came" } })) };
}
