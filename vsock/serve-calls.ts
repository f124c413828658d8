/** Calls over frames, the answering side. */
import type { Duplex } from "node:stream";
import { decodeCbor, encodeCbor, MAX_IN_FLIGHT, type z } from "../protocol/index.ts";
import type { WithoutId } from "./calls.ts";
import { VsockError } from "./errors.ts";
import { FrameStream } from "./frame-stream.ts";

/** A caller that takes no answer for so long takes none any more, and what waits for it is let go. */
const STALLED_MS = 30_000;

export interface CallServer {
  /**
   * Takes no further call, answers those under way, then ends the stream. Calls that arrive meanwhile are dropped:
   * their caller sees the stream end without an answer, and knows that nothing is known.
   */
  readonly drain: () => Promise<void>;
}

/**
 * Answers the calls that come in on one stream, many at a time. It stops reading while {@link MAX_IN_FLIGHT} calls are
 * being worked on or while the caller does not take its answers, so that no caller can make this side's memory grow; if
 * that lasts, the stream is closed.
 *
 * @param options.handle - Must not reject: turn every failure into an answer. If it does, or if its answer cannot be
 *   sent, the stream is closed.
 */
export function serveCalls<Call extends { readonly id: number }, Answer extends { readonly id: number }>(
  stream: Duplex,
  options: {
    readonly call: z.ZodMiniType<Call>;
    readonly handle: (call: Call) => Promise<WithoutId<Answer>>;
    readonly onClose?: (cause: Error | undefined) => void;
    readonly stalledMs?: number;
  },
): CallServer {
  const drained = Promise.withResolvers<void>();
  let working = 0;
  let isDraining = false;
  let awaitsDrain = false;
  let stalled: NodeJS.Timeout | undefined;

  const frames = new FrameStream(stream, {
    onFrame: (payload) => {
      if (isDraining) return;
      void work(decodeCbor(options.call, payload) as Call);
    },
    onClose: (cause) => {
      clearTimeout(stalled);
      options.onClose?.(cause);
    },
  });

  async function work(call: Call): Promise<void> {
    working += 1;
    if (working >= MAX_IN_FLIGHT) frames.pause();
    try {
      const answer = await options.handle(call);
      frames.send(encodeCbor({ id: call.id, ...answer }));
    } catch (error) {
      frames.destroy(error as Error);
    }
    working -= 1;
    if (working === 0) drained.resolve();
    readOn();
  }

  function readOn(): void {
    if (frames.isBackedUp) {
      frames.pause();
      if (awaitsDrain) return;
      awaitsDrain = true;
      const { stalledMs = STALLED_MS } = options;
      stalled = setTimeout(() => {
        frames.destroy(new VsockError("CONNECTION_LOST", `the caller took no answer for ${stalledMs} ms`));
      }, stalledMs).unref();
      frames.onDrain(() => {
        awaitsDrain = false;
        clearTimeout(stalled);
        readOn();
      });
    } else if (working < MAX_IN_FLIGHT) {
      frames.resume();
    }
  }

  return {
    async drain() {
      isDraining = true;
      if (working === 0) drained.resolve();
      await drained.promise;
      frames.end();
      // Nothing is taken any more, but the other side's end must be read for the stream to close.
      frames.resume();
    },
  };
}
