/** Rotation against a KMS and a store in memory: what interrupts it, and what a parent can do to it. */
import { randomBytes } from "node:crypto";
import { encode } from "cborg";
import { describe, expect, test } from "vitest";
import { StartError } from "../../../enclave/errors.ts";
import type { Manifest } from "../../../enclave/manifest.ts";
import { Nsm } from "../../../enclave/nsm/nsm.ts";
import { Randomness } from "../../../enclave/nsm/randomness.ts";
import { TrustedClock } from "../../../enclave/trusted-clock.ts";
import { openVault, type Vault } from "../../../enclave/vault/open-vault.ts";
import { generationOf } from "../../../enclave/vault/record-cipher.ts";
import { RecordStore } from "../../../enclave/vault/record-store.ts";
import { change, type RecordKind } from "../../../enclave/vault/records.ts";
import { VaultRotation } from "../../../enclave/vault/vault-rotation.ts";
import { z } from "../../../protocol/index.ts";
import { FakeKms, KEY_ARN } from "../../support/fake-kms.ts";
import { MemoryParent } from "../../support/memory-parent.ts";

const MANIFEST: Manifest = {
  version: 1,
  deployment: "test",
  region: "us-east-1",
  kmsKeyArn: KEY_ARN,
  administrators: { threshold: 1, publicKeys: [] },
  egress: [],
  digest: new Uint8Array(32),
};
const SETTLED_MS = 60_000;
const COUNT = 40;

const notes: RecordKind<{ text: string }> = { prefix: "note/", schema: z.strictObject({ text: z.string() }) };

interface Boot {
  readonly vault: Vault;
  readonly rotation: VaultRotation;
  readonly stop: () => void;
}

class World {
  readonly parent = new MemoryParent();
  readonly kms = new FakeKms();
  nowMs = 1_000;

  async boot(): Promise<Boot> {
    const device = { process: async () => encode({ GetRandom: { random: randomBytes(256) } }) };
    const randomness = await Randomness.seed(new Nsm(device, new TrustedClock(() => 0)));
    const { kms } = this;
    const vault = await openVault({ store: new RecordStore(this.parent.vsock), kms, manifest: MANIFEST, randomness });
    const stopping = new AbortController();
    const rotation = new VaultRotation({
      vault,
      kms,
      manifest: MANIFEST,
      randomness,
      nowMs: () => this.nowMs,
      // Every wait is over at once, and takes no time by this clock.
      sleep: () => new Promise(setImmediate),
      log: { info() {}, warn() {}, error() {} },
      signal: stopping.signal,
    });
    return { vault, rotation, stop: () => stopping.abort() };
  }

  generations(): Set<number | null> {
    const sealed = [...this.parent.records.values()].filter(({ name }) => !name.startsWith("vault/"));
    return new Set(sealed.map(({ value }) => generationOf(value)));
  }

  wrapped(): string[] {
    return [...this.parent.records.keys()].filter((name) => name.startsWith("vault/")).sort();
  }
}

async function fill({ vault }: Boot): Promise<void> {
  for (let at = 0; at < COUNT; at += 1) {
    await vault.records.write([change(notes, `a/${at}`, null, { text: `text ${at}` })]);
  }
}

async function expectAllThere({ vault }: Boot): Promise<void> {
  for (let at = 0; at < COUNT; at += 1) {
    expect((await vault.records.read(notes, `a/${at}`))?.value.text).toBe(`text ${at}`);
  }
}

async function finish(world: World, { rotation }: Boot): Promise<void> {
  await expect.poll(() => world.generations().size).toBe(1);
  world.nowMs += SETTLED_MS;
  await expect.poll(() => rotation.status().retiring).toEqual([]);
}

test("seals everything anew, retires the old generation, and the ids stay", async () => {
  const world = new World();
  const boot = await world.boot();
  await fill(boot);
  const id = boot.vault.ids.derive("app", ["x"]);
  expect(boot.rotation.status()).toEqual({ generation: 1, retiring: [], resealed: 0 });

  expect(await boot.rotation.begin()).toMatchObject({ generation: 2, retiring: [1] });
  await boot.vault.records.write([change(notes, "a/new", null, { text: "new" })]);
  await expect.poll(() => [...world.generations()]).toEqual([2]);
  expect(boot.rotation.status()).toMatchObject({ retiring: [1], resealed: COUNT });
  expect(world.wrapped()).toEqual(["vault/1", "vault/2"]);

  await finish(world, boot);
  expect(world.wrapped()).toEqual(["vault/2"]);
  await expectAllThere(boot);
  const next = await world.boot();
  await expectAllThere(next);
  expect(next.vault.ids.derive("app", ["x"])).toBe(id);
  expect(next.rotation.status()).toEqual({ generation: 2, retiring: [], resealed: 0 });
  for (const each of [boot, next]) each.stop();
});

test("asked for twice, or twice at once, it is one rotation", async () => {
  const world = new World();
  const boot = await world.boot();
  await fill(boot);
  const statuses = await Promise.all([boot.rotation.begin(), boot.rotation.begin()]);
  expect(statuses.map(({ generation }) => generation)).toEqual([2, 2]);
  expect((await boot.rotation.begin()).generation).toBe(2);
  await finish(world, boot);
  expect((await boot.rotation.begin()).generation).toBe(3);
  boot.stop();
});

test("asked for again and again while it runs, it neither starts over nor puts off its end", async () => {
  const world = new World();
  const boot = await world.boot();
  await fill(boot);
  await boot.rotation.begin();
  await expect.poll(() => boot.rotation.status().resealed).toBe(COUNT);
  world.nowMs += SETTLED_MS - 1;
  expect(await boot.rotation.begin()).toEqual({ generation: 2, retiring: [1], resealed: COUNT });
  world.nowMs += 1;
  await expect.poll(() => boot.rotation.status().retiring).toEqual([]);
  boot.stop();
});

test("cut off after any of its writes, nothing is lost and the next boot finishes it", async () => {
  for (let writes = 0; writes < 12; writes += 1) {
    const world = new World();
    const boot = await world.boot();
    await fill(boot);
    let left = writes;
    world.parent.answer = (call, act) => {
      if (call.kind !== "write") return act();
      left -= 1;
      // The last one is made, and its answer lost; then the enclave is gone.
      if (left < 0) return { kind: "failed" };
      const answer = act();
      return left === 0 ? { kind: "failed" } : answer;
    };
    await boot.rotation.begin().catch((error: unknown) => expect(error).toMatchObject({ code: "RECORDS_UNAVAILABLE" }));
    if (writes > 1) await expect.poll(() => left).toBeLessThan(0);
    boot.stop();
    world.parent.answer = (_call, act) => act();

    const next = await world.boot();
    await expectAllThere(next);
    if (next.rotation.status().retiring.length > 0) await finish(world, next);
    else expect(world.wrapped()).toHaveLength(1);
    await expectAllThere(next);
    next.stop();
  }
});

test("an attempt whose answer was lost is taken up by the next, in the same boot", async () => {
  const world = new World();
  const boot = await world.boot();
  await fill(boot);
  world.parent.answer = (call, act) => {
    const answer = act();
    return call.kind === "write" ? { kind: "failed" } : answer;
  };
  await expect(boot.rotation.begin()).rejects.toMatchObject({ code: "RECORDS_UNAVAILABLE" });
  world.parent.answer = (_call, act) => act();
  expect(await boot.rotation.begin()).toMatchObject({ generation: 2, retiring: [1] });
  await finish(world, boot);
  await expectAllThere(boot);
  boot.stop();
});

test("records that are written meanwhile are sealed anew by that", async () => {
  const world = new World();
  const boot = await world.boot();
  await fill(boot);
  await boot.rotation.begin();
  for (let at = 0; at < COUNT; at += 1) {
    const read = await boot.vault.records.read(notes, `a/${at}`);
    const isWritten = await boot.vault.records.write([change(notes, `a/${at}`, read, { text: `text ${at}` })]);
    // Otherwise the pass was there first, and a caller would look again.
    if (!isWritten) expect(generationOf(world.parent.records.get(`note/a/${at}`)?.value ?? new Uint8Array())).toBe(2);
  }
  await finish(world, boot);
  await expectAllThere(boot);
  boot.stop();
});

describe("refusals", () => {
  test("KMS_FAILED leaves the generation as it was", async () => {
    const world = new World();
    const boot = await world.boot();
    await fill(boot);
    world.kms.failure = new StartError("KMS_ACCESS_DENIED", "no");
    await expect(boot.rotation.begin()).rejects.toMatchObject({ code: "KMS_FAILED" });
    expect(boot.rotation.status()).toEqual({ generation: 1, retiring: [], resealed: 0 });
    expect(world.wrapped()).toEqual(["vault/1"]);
    await expectAllThere(boot);
    boot.stop();
  });

  test("RECORD_CONFLICT where another enclave was first", async () => {
    const world = new World();
    const boot = await world.boot();
    world.parent.answer = (call, act) => (call.kind === "write" ? { kind: "conflict", name: "vault/2" } : act());
    await expect(boot.rotation.begin()).rejects.toMatchObject({ code: "RECORD_CONFLICT" });
    expect(boot.rotation.status().generation).toBe(1);
    boot.stop();
  });

  test("VAULT_INVALID for a parent that keeps a generation back, or brings a retired one back", async () => {
    const world = new World();
    const boot = await world.boot();
    await fill(boot);
    const old = world.parent.records.get("vault/1");
    const oldNote = world.parent.records.get("note/a/1");
    if (old === undefined || oldNote === undefined) throw new Error("no such record");
    await boot.rotation.begin();
    boot.stop();
    const kept = world.parent.records.get("vault/2");
    if (kept === undefined) throw new Error("no such record");
    world.parent.records.delete("vault/2");
    await expect(world.boot()).rejects.toMatchObject({ code: "VAULT_INVALID" });

    world.parent.records.set("vault/2", kept);
    const next = await world.boot();
    await finish(world, next);
    next.stop();
    world.parent.records.set("vault/1", old);
    world.parent.records.set("note/a/1", oldNote);
    const last = await world.boot();
    // It opens, and counts for nothing: what was sealed under it stays shut.
    await expect(last.vault.records.read(notes, "a/1")).rejects.toMatchObject({ code: "RECORD_TAMPERED" });
    last.stop();
  });
});
