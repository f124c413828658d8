/** A parent's records port in memory, over real frames: honest unless a test says what else it answers. */
import { type Duplex, duplexPair } from "node:stream";
import { type RecordsAnswer, type RecordsCall, recordsCall, type StoredRecord } from "../../protocol/index.ts";
import { serveCalls, type Vsock, VsockError, type WithoutId } from "../../vsock/index.ts";

type Answer = WithoutId<RecordsAnswer>;

export class MemoryParent {
  readonly records = new Map<string, StoredRecord>();
  readonly calls: RecordsCall[] = [];
  /** Takes the place of the honest answer; `act` gives it, having done what was asked. */
  answer: (call: RecordsCall, act: () => Answer) => Answer | Promise<Answer> = (_call, act) => act();
  readonly #streams = new Set<Duplex>();

  /** What the enclave connects to. */
  readonly vsock: Vsock = {
    connect: async () => {
      const [theirs, ours] = duplexPair();
      // A pair does not pass on that one end was destroyed, as a socket does.
      for (const stream of [theirs, ours]) this.#streams.add(stream);
      serveCalls<RecordsCall, RecordsAnswer>(ours, {
        call: recordsCall,
        handle: async (call) => {
          this.calls.push(call);
          return this.answer(call, () => this.#act(call));
        },
        onClose: () => theirs.destroy(),
      });
      return theirs;
    },
    listen: () => Promise.reject(new VsockError("PORT_IN_USE", "this parent is not listened to")),
    close: async () => this.cut(),
  };

  /** Loses every stream, as a parent that dies does. */
  cut(): void {
    for (const stream of this.#streams) stream.destroy();
    this.#streams.clear();
  }

  #act(call: RecordsCall): Answer {
    switch (call.kind) {
      case "get":
        return { kind: "record", record: this.records.get(call.name) ?? null };
      case "write":
        for (const { name, expectedVersion } of call.changes) {
          if ((this.records.get(name)?.version ?? 0) !== expectedVersion) return { kind: "conflict", name };
        }
        for (const { name, version, value, expiresAtMs } of call.changes) {
          const expiry = expiresAtMs === undefined ? {} : { expiresAtMs };
          if (value === null) this.records.delete(name);
          else this.records.set(name, { name, version, value, ...expiry });
        }
        return { kind: "written" };
      case "list": {
        const { prefix, after, limit } = call;
        const names = [...this.records.keys()].filter((name) => name.startsWith(prefix) && name > (after ?? "")).sort();
        const records = names.slice(0, limit).flatMap((name) => this.records.get(name) ?? []);
        return { kind: "records", records };
      }
    }
  }
}
