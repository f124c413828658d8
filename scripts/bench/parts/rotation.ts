/**
 * The pass that seals all records anew while the vault is rotated: an enclave's own code, through a parent in the same process,
 * over SQLite and over PostgreSQL. Somebody writes a record of their own meanwhile.
 */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { encode } from "cborg";
import { pino } from "pino";
import { Latencies } from "../../../bench/index.ts";
import { Nsm } from "../../../enclave/nsm/nsm.ts";
import { Randomness } from "../../../enclave/nsm/randomness.ts";
import { TrustedClock } from "../../../enclave/trusted-clock.ts";
import { openVault, type Vault } from "../../../enclave/vault/open-vault.ts";
import { RecordStore } from "../../../enclave/vault/record-store.ts";
import { change, type RecordKind } from "../../../enclave/vault/records.ts";
import { VaultRotation } from "../../../enclave/vault/vault-rotation.ts";
import { startParentProxy } from "../../../parent-proxy/index.ts";
import { MAX_RECORD_CHANGES, z } from "../../../protocol/index.ts";
import { isPostgresAbsent, startLocalPostgres } from "../../../simulator/local-postgres.ts";
import { FakeKms, MANIFEST } from "../../../test/support/fake-kms.ts";
import { guestVsock, hostVsock } from "../../../vsock/index.ts";
import type { Section } from "../figures.ts";
import type { PartContext } from "../part.ts";
import { rateOf } from "../rounds.ts";

const STORES = ["SQLite", "PostgreSQL"] as const;
/** Sealed, some 400 bytes, as many as a wallet's record has. */
const TEXT = "x".repeat(360);
const BETWEEN_WRITES_MS = 10;
/** Of enclave/vault/vault-rotation.ts: what it waits for after the change. */
const SETTLE_MS = 60_000;

const notes: RecordKind<{ text: string }> = { prefix: "note/", schema: z.strictObject({ text: z.string() }) };
type Undo = (undo: () => Promise<unknown> | unknown) => void;

interface Round {
  readonly sealedASecond: number;
  readonly lookedOverASecond: number;
  readonly meanwhile: Latencies;
}

export async function rotation({ isQuick, say }: PartContext): Promise<readonly Section[]> {
  if (isPostgresAbsent) throw new Error("no PostgreSQL on this machine: apt-get install postgresql");
  const [rounds, count] = isQuick ? [1, 2_000] : [3, 10_000];
  const undo: (() => Promise<unknown> | unknown)[] = [];
  try {
    const measured = new Map<string, Round[]>();
    const rotating = new Map<string, Rotating>();
    for (const store of STORES) rotating.set(store, await Rotating.over(store, count, (each) => void undo.push(each)));
    for (let round = 0; round <= rounds; round += 1) {
      for (const [store, over] of rotating) {
        const { sealedASecond, lookedOverASecond, meanwhile } = await over.round();
        say(`${store}: ${sealedASecond.toFixed(0)} sealed anew a second`);
        if (round === 0) continue;
        measured.set(store, [...(measured.get(store) ?? []), { sealedASecond, lookedOverASecond, meanwhile }]);
      }
    }
    return [
      {
        ...{ name: "rotation", title: "Sealing all records anew" },
        method:
          `A rotation of the vault over ${count.toLocaleString("en")} records of 400 bytes, by an enclave's own code through a parent in the ` +
          "same process. First all are sealed anew, then looked over until none of the older generation is left. " +
          `The best of ${rounds} rounds in turns after one of warm-up. "A write" is one of somebody else's records, every ` +
          `${BETWEEN_WRITES_MS} ms: while all are sealed anew, in that best round.`,
        columns: [
          { label: "sealed anew, a second", digits: 0 },
          { label: "slowest round", digits: 2 },
          { label: "looked over, a second", digits: 0 },
          { label: "a write, p50 ms", digits: 1 },
          { label: "p99 ms", digits: 1 },
        ],
        rows: STORES.map((store) => {
          const of = measured.get(store) ?? [];
          const { best, slowest } = rateOf(of.map(({ sealedASecond }) => sealedASecond));
          const lookedOver = rateOf(of.map(({ lookedOverASecond }) => lookedOverASecond)).best;
          const { p50Ms, p99Ms } = (
            of.find(({ sealedASecond }) => sealedASecond === best)?.meanwhile ?? new Latencies()
          ).summary();
          return { name: store, cells: [best, slowest, lookedOver, p50Ms, p99Ms] };
        }),
      },
    ];
  } finally {
    for (const each of undo.toReversed()) await each();
  }
}

/** A vault over a store of its own, rotated again and again. */
class Rotating {
  readonly #vault: Vault;
  readonly #count: number;
  readonly #rotation: VaultRotation;
  /** The enclave's clock is ahead by so much. */
  #aheadMs = 0;
  /** It has sealed all anew, and waits for old writes to settle. */
  #onWaiting: () => void = () => {};

  private constructor(vault: Vault, kms: FakeKms, randomness: Randomness, count: number, signal: AbortSignal) {
    this.#vault = vault;
    this.#count = count;
    this.#rotation = new VaultRotation({
      ...{ vault, kms, manifest: MANIFEST, randomness, signal },
      nowMs: () => Date.now() + this.#aheadMs,
      sleep: (ms) => {
        this.#onWaiting();
        return sleep(Math.min(ms, 1));
      },
      log: { info() {}, warn() {}, error() {} },
    });
  }

  static async over(store: (typeof STORES)[number], count: number, undo: Undo): Promise<Rotating> {
    const folder = await mkdtemp(join(tmpdir(), "cl-bench-"));
    undo(() => rm(folder, { recursive: true, force: true }));
    const path = join(folder, "v");
    const parent = await startParentProxy({
      vsock: hostVsock(path),
      http: { host: "127.0.0.1", port: 0 },
      records: store === "SQLite" ? { kind: "sqlite", file: join(folder, "records.sqlite") } : await postgres(undo),
      egress: { allow: [], connectTo: new Map() },
      credentials: () => Promise.reject(new Error("none")),
      log: pino({ level: "silent" }),
    });
    undo(() => parent.close());
    const records = new RecordStore(guestVsock(path));
    undo(() => records.close());
    const device = { process: async () => encode({ GetRandom: { random: randomBytes(256) } }) };
    const randomness = await Randomness.seed(new Nsm(device, new TrustedClock(() => 0)));
    const kms = new FakeKms();
    const vault = await openVault({ store: records, kms, manifest: MANIFEST, randomness, nowMs: Date.now });
    for (let from = 0; from < count; from += MAX_RECORD_CHANGES) {
      const size = Math.min(MAX_RECORD_CHANGES, count - from);
      const names = Array.from({ length: size }, () => `a/${randomBytes(16).toString("hex")}`);
      await vault.records.write(names.map((name) => change(notes, name, null, { text: TEXT })));
    }
    const stopping = new AbortController();
    undo(() => stopping.abort());
    return new Rotating(vault, kms, randomness, count, stopping.signal);
  }

  async round(): Promise<Round> {
    const waiting = Promise.withResolvers<void>();
    this.#onWaiting = waiting.resolve;
    const meanwhile = new Latencies();
    const stopping = new AbortController();
    const writing = this.#write(meanwhile, stopping.signal);
    const beganAt = performance.now();
    await this.#rotation.begin();
    while (this.#rotation.status().resealed < this.#count) await sleep(1);
    const sealedMs = performance.now() - beganAt;
    stopping.abort();
    await writing;
    await waiting.promise;
    this.#aheadMs += SETTLE_MS;
    const settledAt = performance.now();
    while (this.#rotation.status().retiring.length > 0) await sleep(1);
    const lookedOverMs = performance.now() - settledAt;
    const perSecond = (ms: number) => (this.#count / ms) * 1000;
    return { sealedASecond: perSecond(sealedMs), lookedOverASecond: perSecond(lookedOverMs), meanwhile };
  }

  /** Of one record, which is the writer's own. */
  async #write(latencies: Latencies, signal: AbortSignal): Promise<void> {
    const { records } = this.#vault;
    while (!signal.aborted) {
      const read = await records.read(notes, "of-somebody");
      const beganAt = performance.now();
      // Made or not: the pass may have sealed it anew in between.
      await records.write([change(notes, "of-somebody", read, { text: TEXT })]);
      latencies.record(performance.now() - beganAt);
      await sleep(BETWEEN_WRITES_MS);
    }
  }
}

async function postgres(undo: Undo) {
  const { admin } = await startLocalPostgres({}, undo);
  return { kind: "postgres", ...admin, passwordFile: null, tls: { kind: "none" }, maxConnections: 8 } as const;
}
