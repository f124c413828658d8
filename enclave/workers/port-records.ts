/** In a worker: the main thread in the place of the parent's store, and of what watches the vault's generations. */
import type { StoredRecord } from "../../protocol/index.ts";
import type { SealedChange, SealedStore, Seen } from "../vault/fresh-records.ts";
import type { StoredChange } from "../vault/record-store.ts";
import type { GenerationWatch } from "../vault/records.ts";
import type { Marks } from "./marks.ts";
import { alone, type FromWorker, type Result, type WorkerCall } from "./messages.ts";

export interface MainThread {
  say(message: FromWorker): void;
  /** @throws {@link RequestError} what the main thread was refused */
  ask<Call extends WorkerCall>(call: Call): Promise<Result<Call>>;
}

export class PortRecords implements SealedStore {
  readonly #main: MainThread;
  readonly #marks: Marks;

  constructor(main: MainThread, marks: Marks) {
    this.#main = main;
    this.#marks = marks;
  }

  get(name: string): Promise<StoredRecord | null> {
    return this.#main.ask({ kind: "get", name });
  }

  list(folder: string, after: string | null): Promise<readonly StoredRecord[]> {
    return this.#main.ask({ kind: "list", folder, after });
  }

  write(changes: readonly StoredChange[], deleted: ReadonlySet<string>): Promise<boolean> {
    const sealed = changes.map((each): SealedChange => {
      if (each.value === null) throw new Error("a worker writes nothing that is not sealed");
      return { ...each, value: alone(each.value) };
    });
    return this.#main.ask({ kind: "write", changes: sealed, deleted });
  }

  /** It arrives before whatever this worker says next: nobody hears of what came of a record before the main thread knows it. */
  remember(name: string, seen: Seen): void {
    this.#main.say({ kind: "remember", name, seen });
  }

  mark(name: string): number {
    return this.#marks.of(name);
  }
}

/** As the main thread's own looks. It spares writes: the main thread sends back what is sealed under another generation. */
const ASK_AGAIN_MS = 5_000;

export class PortGenerations implements GenerationWatch {
  readonly #main: MainThread;
  readonly #nowMs: () => number;
  #askedAtMs = Number.NEGATIVE_INFINITY;

  constructor(main: MainThread, nowMs: () => number) {
    this.#main = main;
    this.#nowMs = nowMs;
  }

  /** By the time that it is answered, the main thread has told what it found. */
  async follow(generation: number): Promise<void> {
    await this.#main.ask({ kind: "follow", generation });
  }

  async beforeSealing(): Promise<void> {
    const nowMs = this.#nowMs();
    if (nowMs - this.#askedAtMs < ASK_AGAIN_MS) return;
    await this.#main.ask({ kind: "before-sealing" });
    this.#askedAtMs = nowMs;
  }
}
