/**
 * A parent's records in memory for a run of millions of requests: as `MemoryParent` of the tests, but lists are quick, and what
 * belongs to users who never come back is let go, so that memory which grows is the enclave's and not this store's.
 */
import { duplexPair } from "node:stream";
import { RecencyMap } from "../../enclave/recency-map.ts";
import { type RecordsAnswer, type RecordsCall, recordsCall, type StoredRecord } from "../../protocol/index.ts";
import { serveCalls, type Vsock, VsockError, type WithoutId } from "../../vsock/index.ts";

type Answer = WithoutId<RecordsAnswer>;

/** What leads to users: the oldest go, long after their users have. */
const LEADS: ReadonlySet<string> = new Set(["identity", "session", "claim"]);

export class SoakRecords {
  /** In each, the one that was not written for longest is the oldest. */
  readonly #folders = new Map<string, RecencyMap<string, StoredRecord>>();
  readonly #maxLeads: number;

  /** @param maxLeads - Of each kind and app. */
  constructor(maxLeads: number) {
    this.#maxLeads = maxLeads;
  }

  readonly vsock: Vsock = {
    connect: async () => {
      const [theirs, ours] = duplexPair();
      serveCalls<RecordsCall, RecordsAnswer>(ours, {
        call: recordsCall,
        handle: async (call) => this.#act(call),
        onClose: () => theirs.destroy(),
      });
      return theirs;
    },
    listen: () => Promise.reject(new VsockError("PORT_IN_USE", "this parent is not listened to")),
    close: async () => {},
  };

  /** Of a user who is not asked about any more. */
  forgetUser(appId: string, userId: string): void {
    this.#folders.get(`user/${appId}/`)?.delete(`user/${appId}/${userId}`);
    for (const kind of ["wallet", "event"]) this.#folders.delete(`${kind}/${appId}/${userId}/`);
  }

  get count(): number {
    let count = 0;
    for (const folder of this.#folders.values()) count += folder.size;
    return count;
  }

  #act(call: RecordsCall): Answer {
    switch (call.kind) {
      case "get":
        return { kind: "record", record: this.#get(call.name) ?? null };
      case "write":
        for (const { name, expectedVersion } of call.changes) {
          if ((this.#get(name)?.version ?? 0) !== expectedVersion) return { kind: "conflict", name };
        }
        for (const { name, version, value, expiresAtMs } of call.changes) {
          const expiry = expiresAtMs === undefined ? {} : { expiresAtMs };
          this.#put(name, value === null ? null : { name, version, value: Uint8Array.from(value), ...expiry });
        }
        return { kind: "written" };
      case "list": {
        const records = [...(this.#folders.get(call.prefix) ?? [])].map(([, record]) => record);
        const behind = records.filter(({ name }) => name > (call.after ?? ""));
        behind.sort((one, other) => (one.name < other.name ? -1 : 1));
        return { kind: "records", records: behind.slice(0, call.limit) };
      }
    }
  }

  #get(name: string): StoredRecord | undefined {
    return this.#folders.get(folderOf(name))?.get(name);
  }

  #put(name: string, record: StoredRecord | null): void {
    const path = folderOf(name);
    const max = LEADS.has(path.slice(0, path.indexOf("/"))) ? this.#maxLeads : Number.POSITIVE_INFINITY;
    const folder = this.#folders.get(path) ?? new RecencyMap<string, StoredRecord>(max);
    this.#folders.set(path, folder);
    if (record === null) folder.delete(name);
    else folder.set(name, record);
  }
}

function folderOf(name: string): string {
  return name.slice(0, name.lastIndexOf("/") + 1);
}
