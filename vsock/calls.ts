/** Calls and answers over frames: many in flight on one stream, paired by id, each with a deadline. */
import type { Duplex } from "node:stream";
import { decodeCbor, encodeCbor, MAX_IN_FLIGHT, type z } from "../protocol/index.ts";
import { VsockError } from "./errors.ts";
import { FrameStream } from "./frame-stream.ts";

type WithoutId<Message> = Message extends { readonly id: number } ? Omit<Message, "id"> : never;

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
  #nextId = 1;
  #closed = false;

  constructor(options: { readonly open: () => Promise<Duplex>; readonly answer: z.ZodMiniType<Answer> }) {
    this.#open = options.open;
    this.#answerSchema = options.answer;
  }

  /**
   * Makes one call.
   *
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
      const frames = await this.#connected();
      frames.send(encodeCbor({ id, ...call }));
    } catch (error) {
      this.#pending.delete(id);
      clearTimeout(timer);
      // The timer may have rejected it meanwhile; this error is the better one and the other must not go unhandled.
      promise.catch(() => {});
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
          if (this.#frames === opening) this.#frames = undefined;
          this.#failAll(new VsockError("CONNECTION_LOST", "the stream was lost before the answer", { cause }));
        },
      });
      if (this.#closed) frames.destroy();
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

/**
 * Answers the calls that come in on one stream, many at a time. It stops reading while {@link MAX_IN_FLIGHT} calls are
 * being worked on or while the caller does not take its answers, so that no caller can make this side's memory grow.
 *
 * @param options.handle - Must not reject: turn every failure into an answer. If it does, the stream is closed.
 */
export function serveCalls<Call extends { readonly id: number }, Answer extends { readonly id: number }>(
  stream: Duplex,
  options: {
    readonly call: z.ZodMiniType<Call>;
    readonly handle: (call: Call) => Promise<WithoutId<Answer>>;
    readonly onClose?: (cause: Error | undefined) => void;
  },
): { readonly drain: () => Promise<void> } {
  let working = 0;
  let draining: (() => void) | undefined;

  const resumeIfIdle = () => {
    if (working < MAX_IN_FLIGHT && !frames.isBackedUp) frames.resume();
  };
  const finishOne = () => {
    working -= 1;
    if (frames.isBackedUp) frames.onDrain(resumeIfIdle);
    else resumeIfIdle();
    if (working === 0) draining?.();
  };
  const frames = new FrameStream(stream, {
    onFrame: (payload) => {
      const call = decodeCbor(options.call, payload) as Call;
      working += 1;
      if (working >= MAX_IN_FLIGHT) frames.pause();
      options
        .handle(call)
        .then(
          (answer) => frames.send(encodeCbor({ id: call.id, ...answer })),
          (error: unknown) => frames.destroy(error as Error),
        )
        .finally(() => {
          if (frames.isBackedUp) frames.pause();
          finishOne();
        });
    },
    onClose: (cause) => options.onClose?.(cause),
  });

  return {
    /** Takes no further call, answers those under way, then ends the stream. */
    async drain() {
      frames.pause();
      if (working > 0) await new Promise<void>((resolve) => (draining = resolve));
      frames.end();
    },
  };
}
