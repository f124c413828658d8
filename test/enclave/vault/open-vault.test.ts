import { describe, expect, test } from "vitest";
import type { Manifest } from "../../../enclave/manifest.ts";
import { openVault } from "../../../enclave/vault/open-vault.ts";
import { RecordStore } from "../../../enclave/vault/record-store.ts";
import { seededRandomness } from "../../support/enclave-parts.ts";
import { FakeKms, MANIFEST } from "../../support/fake-kms.ts";
import { MemoryParent } from "../../support/memory-parent.ts";

async function open(parent: MemoryParent, kms: FakeKms, manifest: Manifest = MANIFEST) {
  return openVault({ store: new RecordStore(parent.vsock), kms, manifest, randomness: await seededRandomness() });
}

function setUp(): { parent: MemoryParent; kms: FakeKms } {
  return { parent: new MemoryParent(), kms: new FakeKms() };
}

describe("an empty store", () => {
  test("gets a vault, which every later start opens: the same ids, the same records", async () => {
    const { parent, kms } = setUp();
    const first = await open(parent, kms);
    expect(first.isNew).toBe(true);
    expect([...parent.records.keys()].sort()).toEqual(["keys/ids", "keys/vault", "vault/1"]);
    const second = await open(parent, kms);
    expect(second.isNew).toBe(false);
    expect(second.ids.derive("app", ["x"])).toBe(first.ids.derive("app", ["x"]));
  });

  test("gets its records in one write that expects none of them", async () => {
    const { parent, kms } = setUp();
    await open(parent, kms);
    const writes = parent.calls.filter((call) => call.kind === "write");
    expect(writes).toHaveLength(1);
    expect(writes[0]?.changes.map(({ name, expectedVersion }) => [name, expectedVersion])).toEqual([
      ["vault/1", 0],
      ["keys/ids", 0],
      ["keys/vault", 0],
    ]);
  });

  test("of two that start at once gets one vault, and both open it", async () => {
    const { parent, kms } = setUp();
    const [one, two] = await Promise.all([open(parent, kms), open(parent, kms)]);
    expect([one.isNew, two.isNew].sort()).toEqual([false, true]);
    expect(one.ids.derive("app", ["x"])).toBe(two.ids.derive("app", ["x"]));
  });

  test("two of them are two vaults", async () => {
    const kms = new FakeKms();
    const [one, two] = [await open(new MemoryParent(), kms), await open(new MemoryParent(), kms)];
    expect(one.ids.derive("app", ["x"])).not.toBe(two.ids.derive("app", ["x"]));
  });
});

describe("VAULT_INVALID", () => {
  const invalid = { code: "VAULT_INVALID" };

  test("for a parent that says it stored the vault, and has none", async () => {
    const { parent, kms } = setUp();
    parent.answer = (call, act) => (call.kind === "write" ? { kind: "written" } : act());
    await expect(open(parent, kms)).rejects.toMatchObject(invalid);
  });

  test.each(["keys/ids", "keys/vault"])("for a parent that has the vault secret without %s", async (name) => {
    const { parent, kms } = setUp();
    await open(parent, kms);
    parent.records.delete(name);
    await expect(open(parent, kms)).rejects.toMatchObject(invalid);
  });

  test.each(["vault/1", "keys/ids", "keys/vault"])("for another vault's %s", async (name) => {
    const { parent, kms } = setUp();
    await open(parent, kms);
    const other = new MemoryParent();
    await open(other, kms);
    const record = other.records.get(name);
    if (record === undefined) throw new Error("no such record");
    parent.records.set(name, record);
    await expect(open(parent, kms)).rejects.toMatchObject(invalid);
  });

  test("for generations with names that are none, and for too many", async () => {
    const { parent, kms } = setUp();
    await open(parent, kms);
    const record = parent.records.get("vault/1");
    if (record === undefined) throw new Error("no such record");
    parent.records.set("vault/x", { ...record, name: "vault/x" });
    await expect(open(parent, kms)).rejects.toMatchObject(invalid);
    parent.records.delete("vault/x");
    for (let generation = 2; generation <= 5; generation += 1) {
      parent.records.set(`vault/${generation}`, { ...record, name: `vault/${generation}` });
    }
    await expect(open(parent, kms)).rejects.toMatchObject(invalid);
  });

  test("for another deployment's vault, although KMS would open it", async () => {
    const { parent, kms } = setUp();
    await open(parent, kms);
    await expect(open(parent, kms, { ...MANIFEST, deployment: "other" })).rejects.toMatchObject(invalid);
  });

  test("for an id key with another version's number", async () => {
    const { parent, kms } = setUp();
    await open(parent, kms);
    const record = parent.records.get("keys/ids");
    if (record === undefined) throw new Error("no such record");
    parent.records.set("keys/ids", { ...record, version: 2 });
    await expect(open(parent, kms)).rejects.toMatchObject(invalid);
  });
});

test.each(["list", "write"] as const)("RECORDS_UNAVAILABLE for a store that fails at a %s", async (kind) => {
  const { parent, kms } = setUp();
  parent.answer = (call, act) => (call.kind === kind ? { kind: "failed" } : act());
  await expect(open(parent, kms)).rejects.toMatchObject({ code: "RECORDS_UNAVAILABLE", isWorthRetrying: true });
  parent.answer = (_call, act) => act();
  expect((await open(parent, kms)).isNew).toBe(true);
});

test("RECORDS_UNAVAILABLE for a store that fails at the id key, and the vault opens later", async () => {
  const { parent, kms } = setUp();
  await open(parent, kms);
  parent.answer = (call, act) => (call.kind === "get" && call.name === "keys/ids" ? { kind: "failed" } : act());
  await expect(open(parent, kms)).rejects.toMatchObject({ code: "RECORDS_UNAVAILABLE" });
  parent.answer = (_call, act) => act();
  expect((await open(parent, kms)).isNew).toBe(false);
});
