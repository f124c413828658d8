/**
 * A parent that lies about records with what it was given to keep: older versions, none at all, another's under this name,
 * changed ones, another number, an outcome that is not so. Each lie is of a seed.
 */
import type { RecordsAnswer, RecordsCall, StoredRecord } from "../../../protocol/index.ts";
import type { Random } from "../../../simulator/hostile-parent/random.ts";

type Lie<Truth> = readonly [name: string, told: Truth];

const OLDER_PART = 4;

export class RecordsLiar {
  /** What was done, and how often. */
  readonly told = new Map<string, number>();
  /** Of all answers. */
  probability = 0;
  /** Of all writes: says that they were made, and makes none. */
  destroyed = 0;
  readonly #random: Random;
  readonly #kept = new Map<string, StoredRecord[]>();
  readonly #asked = new Map<number, string>();
  /** Writes that were turned into a look, and are to be acknowledged. */
  readonly #notMade = new Set<number>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** What goes on to the store in a call's place. */
  call(call: RecordsCall): RecordsCall {
    if (call.kind === "get") this.#asked.set(call.id, call.name);
    if (call.kind !== "write") return call;
    for (const { value, expectedVersion: _, ...record } of call.changes) {
      if (value !== null) this.#kept.set(record.name, [...(this.#kept.get(record.name) ?? []), { ...record, value }]);
    }
    const [{ name } = { name: "" }] = call.changes;
    if (this.#random.next() >= this.destroyed) return call;
    this.#count("a write that is not made");
    this.#notMade.add(call.id);
    return { id: call.id, kind: "get", name };
  }

  /** What goes on to the enclave in an answer's place. */
  answer(answer: RecordsAnswer): RecordsAnswer {
    const { id } = answer;
    const name = this.#asked.get(id);
    this.#asked.delete(id);
    if (this.#notMade.delete(id)) return { id, kind: "written" };
    if (this.#random.next() >= this.probability) return answer;
    switch (answer.kind) {
      case "record":
        return {
          id,
          kind: "record",
          record: this.#choose(answer.record, this.#aboutRecord(name ?? "", answer.record)),
        };
      case "written":
        this.#count("a write whose answer is lost");
        return { id, kind: "failed" };
      default:
        return answer;
    }
  }

  #aboutRecord(name: string, record: StoredRecord | null): readonly Lie<StoredRecord | null>[] {
    const older = (this.#kept.get(name) ?? []).filter(({ version }) => version !== record?.version);
    const others = [...this.#kept.keys()].filter((each) => each !== name);
    const [other] = this.#kept.get(others[this.#random.below(others.length)] ?? "") ?? [];
    // The one lie that would pay, so it is told most.
    const brought = Array.from({ length: older.length === 0 ? 0 : OLDER_PART }, () => {
      return ["an older record", older[this.#random.below(older.length)] ?? null] as const;
    });
    return [
      ...brought,
      ...(other === undefined ? [] : [["another's record", { ...other, name }] as const]),
      ...(record === null ? [] : [["no record", null] as const, ...this.#changed(record)]),
    ];
  }

  #changed(record: StoredRecord): readonly Lie<StoredRecord>[] {
    const value = Uint8Array.from(record.value);
    const at = this.#random.below(value.length);
    value[at] = (value[at] ?? 0) ^ (1 << this.#random.below(8));
    return [
      ["a changed record", { ...record, value }],
      ["another number", { ...record, version: record.version + 1 }],
    ];
  }

  #choose<Truth>(truth: Truth, lies: readonly Lie<Truth>[]): Truth {
    const chosen = lies[this.#random.below(lies.length)];
    if (chosen === undefined) return truth;
    this.#count(chosen[0]);
    return chosen[1];
  }

  #count(what: string): void {
    this.told.set(what, (this.told.get(what) ?? 0) + 1);
  }
}
