/**
 * As many signing workers as there are processors, and the main thread for all else. A request is served whole by one thread,
 * always the same one for the same request. What is shared, and how:
 * docs/decisions/0522-signing-workers-share-one-memory-of-records.md
 */
import type { KeyObject } from "node:crypto";
import { totalmem } from "node:os";
import { ERROR_CODES } from "../../protocol/index.ts";
import { type ReceivedRequest, type SignedAnswer, signAnswer } from "../answer.ts";
import type { Log } from "../log.ts";
import type { Manifest } from "../manifest.ts";
import type { Randomness } from "../nsm/randomness.ts";
import type { RequestHandler } from "../request-handler.ts";
import type { Vault } from "../vault/open-vault.ts";
import type { GenerationChange } from "../vault/record-cipher.ts";
import type { GenerationWatch } from "../vault/records.ts";
import { Marks } from "./marks.ts";
import { workerOf } from "./route.ts";
import { SigningWorker } from "./signing-worker.ts";

/** What the main thread keeps and remembers of what one thread would, while workers do most of the work. */
const MAIN_PART = 1 / 8;
/** Of request ids: it makes wallets, and one backend may make a thousand a second. */
const MAIN_PART_OF_REQUEST_IDS = 1 / 2;
const HEARTBEAT_MS = 1_000;
/** V8's heap of one, without what lies outside it; less where all threads' would be more than half of the memory. */
const MAX_OLD_GENERATION_MB = 256;
const MIN_OLD_GENERATION_MB = 64;
const BYTES_PER_MB = 1024 * 1024;
const WORKER_FAILED = {
  code: "WORKER_FAILED",
  message: "what served this request ended before it answered: it may or may not have been done",
} as const;

/** @param workers - How many there are. @returns What services on the main thread take of what all threads may keep. */
export function mainParts(workers: number): { readonly part: number; readonly requestIdsPart: number } {
  return workers === 0 ? { part: 1, requestIdsPart: 1 } : { part: MAIN_PART, requestIdsPart: MAIN_PART_OF_REQUEST_IDS };
}

export interface SigningWorkersOptions {
  readonly count: number;
  readonly entry: URL;
  /** Of the main thread: serves what no worker does. */
  readonly handler: RequestHandler;
  readonly manifest: Manifest;
  readonly answerKey: KeyObject;
  readonly boot: string;
  readonly vault: Pick<Vault, "records" | "ids" | "cipher">;
  readonly watch: GenerationWatch;
  readonly randomness: Randomness;
  readonly bootedAtMs: number;
  readonly nowMs: () => number;
  readonly log: Log;
  readonly writeLine: (line: string) => void;
  /** Every second unless a test has less time. */
  readonly heartbeatMs?: number;
}

export class SigningWorkers {
  readonly #handler: RequestHandler;
  readonly #workers: readonly SigningWorker[];
  readonly #unfollow: () => void;

  constructor(options: SigningWorkersOptions) {
    const { count, handler, vault, manifest, answerKey, boot, randomness, log } = options;
    const { entry, watch, bootedAtMs, nowMs, writeLine, heartbeatMs = HEARTBEAT_MS } = options;
    this.#handler = handler;
    const marks = new Marks();
    const { sealed } = vault.records;
    if (count > 0) sealed.onNews((name) => marks.bump(name));
    const setup = () => ({
      ...{ manifest, answerKey, boot, idKey: vault.ids.key, generations: generationsOf(vault) },
      ...{ seed: randomness.fork(), marks: marks.buffer, part: (1 - MAIN_PART) / count },
      requestIdsPart: (1 - MAIN_PART_OF_REQUEST_IDS) / count,
    });
    this.#workers = Array.from(
      { length: count },
      () =>
        new SigningWorker({
          ...{ entry, setup, from: { sealed, watch, cipher: vault.cipher }, bootedAtMs, nowMs, writeLine, heartbeatMs },
          refuse: (request) => refusal(answerKey, request),
          onFailure: (code, attempt) => log.error("signing-worker-failed", { code, attempt }),
          maxOldGenerationMb: maxOldGenerationMb(count),
        }),
    );
    this.#unfollow = vault.cipher.follow((change) => {
      for (const worker of this.#workers) worker.tell({ kind: "generation", change });
    });
  }

  /** How many serve now. */
  get serving(): number {
    return this.#workers.filter((worker) => worker.isServing).length;
  }

  /** With the main thread, which is the first. */
  get threads(): number {
    return 1 + this.#workers.length;
  }

  threadOf(request: ReceivedRequest): number {
    const worker = workerOf(request.body, this.#workers.length);
    return worker === null ? 0 : 1 + worker;
  }

  /**
   * Never rejects: a refusal is an answer, and signed like one.
   *
   * @param thread - {@link threadOf} it.
   */
  handle(request: ReceivedRequest, thread: number = this.threadOf(request)): Promise<SignedAnswer> {
    return this.#workers[thread - 1]?.handle(request) ?? this.#handler.handle(request);
  }

  /**
   * As {@link handle}, for what came sealed: opened on the main thread.
   *
   * @param handle - What is done with what was inside.
   */
  handleSealed(
    sealed: Uint8Array,
    handle: (request: ReceivedRequest) => Promise<SignedAnswer> = (request) => this.handle(request),
  ): ReturnType<RequestHandler["handleSealed"]> {
    return this.#handler.handleSealed(sealed, handle);
  }

  /** They follow the main thread's clock, and do so at once if it was moved. */
  setClocks(): void {
    for (const worker of this.#workers) worker.setClock();
  }

  async close(): Promise<void> {
    this.#unfollow();
    await Promise.all(this.#workers.map((worker) => worker.close()));
  }
}

function maxOldGenerationMb(workers: number): number {
  const part = Math.floor(totalmem() / BYTES_PER_MB / 2 / (workers + 1));
  return Math.max(MIN_OLD_GENERATION_MB, Math.min(MAX_OLD_GENERATION_MB, part));
}

function generationsOf({ cipher }: SigningWorkersOptions["vault"]): readonly GenerationChange[] {
  const changes: GenerationChange[] = [];
  cipher.follow((change) => changes.push(change))();
  return changes;
}

/** Without the request's id: it was not read here. */
function refusal(answerKey: KeyObject, request: ReceivedRequest): SignedAnswer {
  const { status } = ERROR_CODES[WORKER_FAILED.code];
  return signAnswer(answerKey, request, status, { requestId: null, error: WORKER_FAILED });
}
