/**
 * One signing worker, as the main thread sees it: a thread that can fail, and is then started anew. What it had under way is
 * refused, what others have goes on. Its memory of requests is gone with it, so the next one takes none from before its start.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import type { ReceivedRequest, SignedAnswer } from "../answer.ts";
import { answerCall, type ForWorkers } from "./answer-call.ts";
import { alone, type FromWorker, type ToWorker, type WorkerSetup } from "./messages.ts";
import { SharedClock } from "./shared-clock.ts";

/** Heartbeats in a row without a word from it: ten seconds, of which the main thread's own silence does not count. */
const MAX_MISSED = 10;
/** To load and begin: slow where everything is emulated. */
const MAX_MISSED_AT_START = 120;
const FIRST_RETRY_MS = 100;
const MAX_RETRY_MS = 10_000;
/** Having served for so long, it is as good as one that never failed. */
const LONG_MS = 60_000;
const CLOSE_TIMEOUT_MS = 2_000;

export interface SigningWorkerOptions {
  /** The module that a worker begins with. */
  readonly entry: URL;
  /** What the next thread begins with; the clock and its start are its own. */
  readonly setup: () => Omit<WorkerSetup, "clock" | "bootedAtMs">;
  readonly from: ForWorkers;
  /** Of the enclave: before the first start nobody has acted on anything. */
  readonly bootedAtMs: number;
  /** The trusted clock. */
  readonly nowMs: () => number;
  /** `WORKER_FAILED`, signed. */
  readonly refuse: (request: ReceivedRequest) => SignedAnswer;
  readonly writeLine: (line: string) => void;
  readonly onFailure: (code: string, attempt: number) => void;
  readonly maxOldGenerationMb: number;
  readonly heartbeatMs: number;
}

interface Pending {
  readonly request: ReceivedRequest;
  readonly resolve: (answer: SignedAnswer) => void;
}

interface Thread {
  readonly worker: Worker;
  readonly clock: SharedClock;
  readonly startedAt: number;
  isReady: boolean;
  missed: number;
}

export class SigningWorker {
  readonly #options: SigningWorkerOptions;
  readonly #underWay = new Map<number, Pending>();
  readonly #stopping = new AbortController();
  #lastId = 0;
  #failures = 0;
  #bootedAtMs: number;
  /** Undefined between a failure and the next start. */
  #thread: Thread | undefined;

  constructor(options: SigningWorkerOptions) {
    this.#options = options;
    this.#bootedAtMs = options.bootedAtMs;
    this.#start();
  }

  get isServing(): boolean {
    return this.#thread?.isReady === true;
  }

  /** Never rejects. How many are under way is bounded before: `admission/admission.ts`. */
  handle(request: ReceivedRequest): Promise<SignedAnswer> {
    const thread = this.#thread;
    if (thread === undefined) return Promise.resolve(this.#options.refuse(request));
    this.#lastId += 1;
    const id = this.#lastId;
    const isSole = this.#underWay.size === 0;
    const message: ToWorker = { kind: "request", id, request: { ...request, body: alone(request.body) }, isSole };
    thread.worker.postMessage(message);
    return new Promise((resolve) => this.#underWay.set(id, { request, resolve }));
  }

  /** For all that happens to be said to every worker. */
  tell(message: ToWorker): void {
    this.#thread?.worker.postMessage(message);
  }

  setClock(): void {
    this.#thread?.clock.set(this.#options.nowMs());
  }

  /** It wipes what it keeps; one that does not end by itself is ended. */
  async close(): Promise<void> {
    this.#stopping.abort();
    const { worker } = this.#thread ?? {};
    if (worker === undefined) return;
    const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
    this.tell({ kind: "close" });
    await Promise.race([ended, sleep(CLOSE_TIMEOUT_MS, undefined, { ref: false })]);
    await worker.terminate();
    this.#thread = undefined;
    this.#refuseAll();
  }

  #start(): void {
    const { nowMs } = this.#options;
    const clock = new SharedClock();
    clock.set(nowMs());
    const worker = this.#makeWorker(clock);
    const thread: Thread = { worker, clock, startedAt: performance.now(), isReady: false, missed: 0 };
    this.#thread = thread;
    worker.on("message", (messages: readonly FromWorker[]) => {
      for (const message of messages) this.#hear(thread, message);
    });
    worker.once("error", (error: NodeJS.ErrnoException) => this.#fail(thread, error.code ?? "WORKER_THREW"));
    worker.once("exit", () => this.#fail(thread, "WORKER_ENDED"));
    const beat = setInterval(() => this.#beat(thread, beat), this.#options.heartbeatMs);
    beat.unref();
  }

  #makeWorker(clock: SharedClock): Worker {
    const { entry, setup, maxOldGenerationMb } = this.#options;
    const workerData: WorkerSetup = { ...setup(), clock: clock.buffer, bootedAtMs: this.#bootedAtMs };
    const worker = new Worker(entry, {
      ...{ workerData, env: {}, argv: [], resourceLimits: { maxOldGenerationSizeMb: maxOldGenerationMb } },
      // What it might say of an error could hold what the error came from.
      ...{ stdout: true, stderr: true },
    });
    worker.stdout.resume();
    worker.stderr.resume();
    return worker;
  }

  #beat(thread: Thread, timer: NodeJS.Timeout): void {
    if (thread !== this.#thread) {
      clearInterval(timer);
      return;
    }
    thread.clock.set(this.#options.nowMs());
    thread.missed += 1;
    if (thread.missed > (thread.isReady ? MAX_MISSED : MAX_MISSED_AT_START)) this.#fail(thread, "WORKER_SILENT");
    else this.tell({ kind: "ping" });
  }

  #hear(thread: Thread, message: FromWorker): void {
    // What it learnt of records is true even if it has failed since.
    if (thread !== this.#thread && message.kind !== "remember") return;
    // Whatever it says, it lives: one with much to do comes late to a heartbeat.
    thread.missed = 0;
    switch (message.kind) {
      case "remember":
        this.#options.from.sealed.remember(message.name, message.seen);
        return;
      case "ready":
        thread.isReady = true;
        return;
      case "pong":
        return;
      case "call":
        void answerCall(message.call, this.#options.from).then((reply) => {
          thread.worker.postMessage({ kind: "reply", id: message.id, reply } satisfies ToWorker);
        });
        return;
      case "answer": {
        for (const line of message.lines) this.#options.writeLine(line);
        const pending = this.#underWay.get(message.id);
        this.#underWay.delete(message.id);
        pending?.resolve(message.answer);
      }
    }
  }

  #fail(thread: Thread, code: string): void {
    if (thread !== this.#thread) return;
    this.#thread = undefined;
    this.#failures = performance.now() - thread.startedAt >= LONG_MS ? 1 : this.#failures + 1;
    this.#refuseAll();
    if (this.#stopping.signal.aborted) return;
    this.#options.onFailure(code, this.#failures);
    void this.#startAgain(thread);
  }

  /** Never rejects: nobody waits for it. */
  async #startAgain({ worker, clock }: Thread): Promise<void> {
    const { signal } = this.#stopping;
    // Two of them at once could act on one request.
    await worker.terminate();
    while (!signal.aborted) {
      const backoffMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** (this.#failures - 1));
      await sleep(backoffMs, undefined, { ref: false, signal }).catch(() => {});
      if (signal.aborted) return;
      this.#bootedAtMs = Math.max(this.#options.nowMs(), clock.lastMs);
      try {
        this.#start();
        return;
      } catch (error) {
        // The kernel gives no thread: `new Worker` throws, and what others have goes on.
        this.#failures += 1;
        this.#options.onFailure((error as NodeJS.ErrnoException).code ?? "WORKER_NOT_MADE", this.#failures);
      }
    }
  }

  #refuseAll(): void {
    const refused = [...this.#underWay.values()];
    this.#underWay.clear();
    for (const { request, resolve } of refused) resolve(this.#options.refuse(request));
  }
}
