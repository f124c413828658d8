/**
 * Answers that their clients do not take. Each has a time, and all of them together a size: whoever has not read for the
 * longest is cut first.
 */
import type { ServerResponse } from "node:http";

export type CutReason = "slow-reader" | "unsent-bytes";

export interface UnsentAnswersOptions {
  readonly sendTimeoutMs: number;
  readonly maxUnsentBytes: number;
  readonly onCut: (why: CutReason) => void;
}

export class UnsentAnswers {
  readonly #options: UnsentAnswersOptions;
  /** In the order in which they were ready. */
  readonly #unsent = new Map<ServerResponse, number>();
  #bytes = 0;

  constructor(options: UnsentAnswersOptions) {
    this.#options = options;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Watches an answer that is ready, until its last byte is the operating system's or its connection is gone. */
  watch(response: ServerResponse, bytes: number): void {
    if (response.destroyed) return;
    const timer = setTimeout(() => this.#cut(response, "slow-reader"), this.#options.sendTimeoutMs).unref();
    this.#unsent.set(response, bytes);
    this.#bytes += bytes;
    response.once("close", () => {
      clearTimeout(timer);
      this.#forget(response);
    });
    // The one just made is the last to go: it has had no time yet.
    for (const oldest of this.#unsent.keys()) {
      if (this.#bytes <= this.#options.maxUnsentBytes) return;
      this.#cut(oldest, "unsent-bytes");
    }
  }

  #cut(response: ServerResponse, why: CutReason): void {
    this.#options.onCut(why);
    this.#forget(response);
    // One that waits behind another's answer has no socket of its own yet, but its request has.
    response.req.socket.destroy();
  }

  #forget(response: ServerResponse): void {
    this.#bytes -= this.#unsent.get(response) ?? 0;
    this.#unsent.delete(response);
  }
}
