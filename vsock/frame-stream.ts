/** Frames over one byte stream: joined writes, bounded reads, one place that decides when a stream is broken. */
import type { Duplex } from "node:stream";
import { encodeFrame, FrameDecoder } from "../protocol/index.ts";

export interface FrameHandlers {
  /** One payload. What it throws breaks the stream. */
  readonly onFrame: (payload: Uint8Array) => void;
  /** Called once: the stream is gone, by an end, an error, or a frame that cannot be. */
  readonly onClose: (cause: Error | undefined) => void;
}

export class FrameStream {
  readonly #stream: Duplex;
  readonly #decoder = new FrameDecoder();
  readonly #onFrame: FrameHandlers["onFrame"];
  /** Frames that came in one read with the one at which this was paused. */
  #undelivered: Uint8Array[] = [];
  #isPaused = false;
  #cause: Error | undefined;
  #corked = false;

  constructor(stream: Duplex, { onFrame, onClose }: FrameHandlers) {
    this.#stream = stream;
    this.#onFrame = onFrame;
    stream.on("data", (chunk: Uint8Array) => {
      try {
        this.#undelivered.push(...this.#decoder.push(chunk));
      } catch (error) {
        this.destroy(error as Error);
      }
      this.#deliver();
    });
    stream.on("end", () => {
      try {
        this.#decoder.end();
        stream.end();
      } catch (error) {
        this.destroy(error as Error);
      }
    });
    stream.on("error", (error) => {
      this.#cause ??= error;
    });
    stream.once("close", () => onClose(this.#cause));
  }

  /**
   * Sends one payload. Payloads sent in the same turn of the event loop, whichever of its streams brought what they answer,
   * leave in one write: a write costs some 30 µs, and as much again at the other end.
   */
  send(payload: Uint8Array): void {
    if (this.#stream.destroyed || this.#stream.writableEnded) return;
    if (!this.#corked) {
      this.#corked = true;
      this.#stream.cork();
      setImmediate(() => {
        this.#corked = false;
        this.#stream.uncork();
      });
    }
    this.#stream.write(encodeFrame(payload));
  }

  /** True while the other side does not take what was sent: stop asking it for more work until {@link onDrain}. */
  get isBackedUp(): boolean {
    return this.#stream.writableNeedDrain;
  }

  /** Sent, and not taken by the other side yet. */
  get unsentBytes(): number {
    return this.#stream.writableLength;
  }

  onDrain(resume: () => void): void {
    this.#stream.once("drain", resume);
  }

  /** From here on no frame is handed over, one that has been read already neither. */
  pause(): void {
    this.#isPaused = true;
    this.#stream.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#deliver();
    if (!this.#isPaused) this.#stream.resume();
  }

  /** Sends what is queued, then ends this direction. */
  end(): void {
    this.#stream.end();
  }

  destroy(cause?: Error): void {
    this.#cause ??= cause;
    this.#undelivered = [];
    this.#stream.destroy();
  }

  #deliver(): void {
    try {
      while (!this.#isPaused) {
        const payload = this.#undelivered.shift();
        if (payload === undefined) return;
        this.#onFrame(payload);
      }
    } catch (error) {
      this.destroy(error as Error);
    }
  }
}
