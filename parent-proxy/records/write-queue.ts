/** Writes for which no connection is free go together into the next transaction: a commit costs more than what it commits. */
import type { RecordChange, WriteOutcome } from "./record-store.ts";

/** In one transaction, beyond its first write. */
const MAX_WRITES = 64;
const MAX_BYTES = 1024 * 1024;

export type Write = readonly RecordChange[];

interface Waiting {
  readonly changes: Write;
  readonly sizeBytes: number;
  readonly resolve: (outcome: WriteOutcome) => void;
  readonly reject: (error: unknown) => void;
}

export interface WriteQueueOptions {
  /** Transactions at a time. */
  readonly maxUnderWay: number;
  /** Makes each write as if it came by itself, all in one transaction, and gives their outcomes in order. */
  readonly commit: (writes: readonly Write[]) => Promise<readonly WriteOutcome[]>;
  /** Whether it is certain that such a failure of `commit` has left nothing: then each is tried by itself. */
  readonly leftNothing: (error: unknown) => boolean;
}

export class WriteQueue {
  readonly #options: WriteQueueOptions;
  #waiting: Waiting[] = [];
  #underWay = 0;

  constructor(options: WriteQueueOptions) {
    this.#options = options;
  }

  write(changes: Write): Promise<WriteOutcome> {
    const sizeBytes = changes.reduce((sum, { name, value }) => sum + name.length + (value?.length ?? 0), 0);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ changes, sizeBytes, resolve, reject });
      this.#goOn();
    });
  }

  #goOn(): void {
    while (this.#underWay < this.#options.maxUnderWay && this.#waiting.length > 0) void this.#commit(this.#takeGroup());
  }

  #takeGroup(): readonly Waiting[] {
    let sizeBytes = 0;
    const end = this.#waiting.findIndex((each, at) => {
      sizeBytes += each.sizeBytes;
      return at > 0 && (at >= MAX_WRITES || sizeBytes > MAX_BYTES);
    });
    return this.#waiting.splice(0, end === -1 ? this.#waiting.length : end);
  }

  /** Never rejects. */
  async #commit(group: readonly Waiting[]): Promise<void> {
    this.#underWay += 1;
    try {
      await this.#settle(group);
    } catch (error) {
      // What is wrong with one of them is not for the others to suffer from.
      if (group.length > 1 && this.#options.leftNothing(error)) {
        await Promise.all(group.map((each) => this.#settle([each]).catch(each.reject)));
      } else {
        for (const { reject } of group) reject(error);
      }
    }
    this.#underWay -= 1;
    this.#goOn();
  }

  async #settle(group: readonly Waiting[]): Promise<void> {
    const outcomes = await this.#options.commit(group.map(({ changes }) => changes));
    if (outcomes.length !== group.length) throw new Error(`${outcomes.length} outcomes of ${group.length} writes`);
    for (const [at, { resolve }] of group.entries()) resolve(outcomes[at] as WriteOutcome);
  }
}
