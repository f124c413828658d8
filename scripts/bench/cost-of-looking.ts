/** One user's record, read by an enclave's own code through a parent from PostgreSQL: from memory, looked at again, read. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { FreshCache } from "../../enclave/vault/fresh-cache.ts";
import { RecordCipher } from "../../enclave/vault/record-cipher.ts";
import { RecordStore } from "../../enclave/vault/record-store.ts";
import { change, Records } from "../../enclave/vault/records.ts";
import { startParentProxy } from "../../parent-proxy/index.ts";
import { z } from "../../protocol/index.ts";
import { startLocalPostgres } from "../../simulator/local-postgres.ts";
import { guestVsock, hostVsock } from "../../vsock/index.ts";
import type { Section } from "./figures.ts";
import { perSecond } from "./rounds.ts";

export async function costOfLooking(isQuick: boolean): Promise<Section> {
  const undo: (() => Promise<void> | void)[] = [];
  try {
    const folder = await mkdtemp(join(tmpdir(), "cl-bench-"));
    undo.push(() => rm(folder, { recursive: true, force: true }));
    const { admin } = await startLocalPostgres({}, (each) => void undo.push(each));
    const path = join(folder, "v");
    const parent = await startParentProxy({
      vsock: hostVsock(path),
      http: { host: "127.0.0.1", port: 0 },
      records: { kind: "postgres", ...admin, passwordFile: null, tls: { kind: "none" }, maxConnections: 8 },
      egress: { allow: [], connectTo: new Map() },
      credentials: () => Promise.reject(new Error("none")),
      log: pino({ level: "silent" }),
    });
    undo.push(() => parent.close());
    const store = new RecordStore(guestVsock(path));
    undo.push(() => store.close());
    const cipher = new RecordCipher(new Uint8Array(32), { deployment: "bench", generation: 1 });
    const records = new Records(store, cipher, undefined, Date.now);
    const kind = { prefix: "user/", schema: z.strictObject({ text: z.string() }) };
    await records.write([change(kind, "a", null, { text: "x".repeat(1_000) })]);
    const cache = new FreshCache({ records, kind, nowMs: Date.now, maxBytes: 1024 * 1024 });
    const calls = isQuick ? 500 : 5_000;
    const us = async (count: number, work: () => Promise<unknown>) => 1e6 / (await perSecond(count, 1, work));
    return {
      ...{ name: "looking", title: "Looking at a user anew" },
      method:
        "A user's record of 1 kB, one at a time, through a parent in the same process from PostgreSQL on this machine.",
      columns: [{ label: "µs", digits: 1 }],
      rows: [
        { name: "trusted for a second", cells: [await us(20 * calls, () => cache.read("a"))] },
        { name: "looked at again each time", cells: [await us(calls, () => cache.read("a", 0))] },
        { name: "read and opened each time", cells: [await us(calls, () => records.read(kind, "a"))] },
      ],
    };
  } finally {
    for (const each of undo.toReversed()) await each();
  }
}
