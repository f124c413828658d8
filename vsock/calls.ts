/** Calls over frames, the calling side: many in flight on one stream, paired with answers by id, each with a deadline. */
import type { Duplex } from "node:stream";
import { decodeCbor, encodeCbor, MAX_IN_FLIGHT, type z } from "../protocol/index.ts";
import { VsockError } from "./errors.ts";
import { FrameStream } from "./frame-stream.ts";

export type WithoutId<Message> = Message extends { readonly id: number } ? Omit<Message, "id"> : never;

/** Calls that gave up waiting leave their bytes behind where nobody reads them: over this there are no more. */
const MAX_UNSENT_BYTES = 32 * 1024 * 1024;

interface PendingCall<Answer> {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: VsockError) => void;
  readonly timer: NodeJS.Timeout;
}

/**
 * Makes calls over one stream at a time, opened when first needed and again after it is lost. A call whose stream is
 * lost fails: whether it was acted on is unknown, so only its caller can tell whether to make it again.
 */
export class CallClient<Call extends { readonly id: number }, Answer extends { readonly id: number }> {
  readonly #open: () => Promise<Duplex>;
  readonly #answerSchema: z.ZodMiniType<Answer>;
  readonly #pending = new Map<number, PendingCall<Answer>>();
  #frames: Promise<FrameStream> | undefined;
  /** The same, once it is there: a call that need not wait for it costs no promise more than its own. */
  #openFrames: FrameStream | undefined;
  #nextId = 1;
  #closed = false;

  constructor(options: { readonly open: () => Promise<Duplex>; readonly answer: z.ZodMiniType<Answer> }) {
    this.#open = options.open;
    this.#answerSchema = options.answer;
  }

  /**
   * Makes one call.
   *
   * @param options.timeoutMs - From here to the answer, opening the stream included. A call that gave up while the
   *   stream was being opened is never sent.
   * @throws {@link VsockError} `CALL_TIMEOUT`, `CONNECTION_LOST`, `TOO_MANY_CALLS`, and what opening the stream throws.
   */
  async call(call: WithoutId<Call>, { timeoutMs }: { readonly timeoutMs: number }): Promise<Answer> {
    if (this.#closed) throw new VsockError("CONNECTION_LOST", "closed");
    if (this.#pending.size >= MAX_IN_FLIGHT) {
      throw new VsockError("TOO_MANY_CALLS", `${MAX_IN_FLIGHT} calls wait for answers already`);
    }
    const id = this.#nextId;
    this.#nextId += 1;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const timer = setTimeout(() => {
      this.#pending.delete(id);
      reject(new VsockError("CALL_TIMEOUT", `no answer within ${timeoutMs} ms`));
    }, timeoutMs);
    this.#pending.set(id, { resolve, reject, timer });
    try {
      // Raced, because an opening stream may outlast the deadline, and a rejection that nobody awaits ends the process.
      const frames = this.#openFrames ?? (await Promise.race([this.#connected(), promise.then(neverBeforeSent)]));
      if (frames.unsentBytes > MAX_UNSENT_BYTES) {
        throw new VsockError("TOO_MANY_CALLS", `${frames.unsentBytes} bytes wait for the other side to read already`);
      }
      frames.send(encodeCbor({ id, ...call }));
    } catch (error) {
      this.#pending.delete(id);
      clearTimeout(timer);
      throw error;
    }
    return promise;
  }

  /** Fails every waiting call and closes the stream. Later calls fail at once. */
  close(): void {
    this.#closed = true;
    this.#failAll(new VsockError("CONNECTION_LOST", "closed"));
    this.#frames?.then(
      (frames) => frames.destroy(),
      () => {},
    );
  }

  /** Calls that wait for an answer. */
  get inFlight(): number {
    return this.#pending.size;
  }

  #connected(): Promise<FrameStream> {
    if (this.#frames !== undefined) return this.#frames;
    const opening = this.#open().then((stream) => {
      const frames = new FrameStream(stream, {
        onFrame: (payload) => this.#settle(decodeCbor(this.#answerSchema, payload) as Answer),
        onClose: (cause) => {
          if (this.#frames === opening) {
            this.#frames = undefined;
            this.#openFrames = undefined;
          }
          this.#failAll(new VsockError("CONNECTION_LOST", "the stream was lost before the answer", { cause }));
        },
      });
      if (this.#closed) frames.destroy();
      else if (this.#frames === opening) this.#openFrames = frames;
      return frames;
    });
    this.#frames = opening;
    opening.catch(() => {
      if (this.#frames === opening) this.#frames = undefined;
    });
    return opening;
  }

  /** Answers to calls that gave up waiting, and answers to calls never made, are dropped. */
  #settle(answer: Answer): void {
    const pending = this.#pending.get(answer.id);
    if (pending === undefined) return;
    this.#pending.delete(answer.id);
    clearTimeout(pending.timer);
    pending.resolve(answer);
  }

  #failAll(error: VsockError): void {
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#pending.clear();
  }
}

function neverBeforeSent(): never {
  throw new VsockError("CONNECTION_LOST", "answered before it was sent");
}
