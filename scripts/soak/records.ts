/** The parent's own store in a file that goes with the run: what it holds is on disk, so that memory which grows is the enclave's. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { duplexPair } from "node:stream";
import { pino } from "pino";
import { createMetrics } from "../../parent-proxy/metrics.ts";
import { serveRecords } from "../../parent-proxy/records/serve-records.ts";
import { openSqliteRecordStore } from "../../parent-proxy/records/sqlite-record-store.ts";
import { type Vsock, VsockError } from "../../vsock/index.ts";

export interface SoakRecords extends AsyncDisposable {
  /** What the enclave connects to. */
  readonly vsock: Vsock;
}

export async function openSoakRecords(): Promise<SoakRecords> {
  const folder = await mkdtemp(join(tmpdir(), "cloister-soak-"));
  const store = openSqliteRecordStore(join(folder, "records.sqlite"));
  const served = { store, metrics: createMetrics(), log: pino({ level: "silent" }) };
  return {
    vsock: {
      connect: async () => {
        const [theirs, ours] = duplexPair();
        serveRecords(ours, served);
        ours.once("close", () => theirs.destroy());
        return theirs;
      },
      listen: () => Promise.reject(new VsockError("PORT_IN_USE", "this parent is not listened to")),
      close: async () => {},
    },
    async [Symbol.asyncDispose]() {
      await store.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
