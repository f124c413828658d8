/** Enclaves that start at the same moment on an empty store, again and again, and stores that mean ill. */
import { expect, test } from "vitest";
import { openVault, type Vault } from "../../enclave/vault/open-vault.ts";
import { RecordStore } from "../../enclave/vault/record-store.ts";
import { seededRandomness } from "../support/enclave-parts.ts";
import { FakeKms, MANIFEST } from "../support/fake-kms.ts";
import { MemoryParent } from "../support/memory-parent.ts";

const ROUNDS = 200;
const ENCLAVES = 4;

async function boot(parent: MemoryParent, kms: FakeKms): Promise<Vault> {
  const store = new RecordStore(parent.vsock);
  return openVault({ store, kms, manifest: MANIFEST, randomness: await seededRandomness() });
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** Lets every answer wait for a while of its own, so that each round has another order. */
function dawdle(parent: MemoryParent): void {
  const honest = parent.answer;
  parent.answer = async (call, act) => {
    for (let turns = Math.floor(Math.random() * 6); turns > 0; turns -= 1) await new Promise(setImmediate);
    const answer = await honest(call, act);
    for (let turns = Math.floor(Math.random() * 6); turns > 0; turns -= 1) await new Promise(setImmediate);
    return answer;
  };
}

test("at the same moment on an empty store they make one vault, every time", async () => {
  for (let round = 0; round < ROUNDS; round += 1) {
    const parent = new MemoryParent();
    dawdle(parent);
    const kms = new FakeKms();
    const vaults = await Promise.all(Array.from({ length: ENCLAVES }, () => boot(parent, kms)));
    expect(new Set(vaults.map(({ ids }) => hex(ids.vaultId()))).size).toBe(1);
    expect(vaults.filter(({ isNew }) => isNew)).toHaveLength(1);
    expect([...parent.records.keys()].sort()).toEqual(["keys/ids", "keys/vault", "vault/1"]);
  }
});

test("a store that tells each of them that its vault was the first leaves them with the one that it keeps", async () => {
  for (let round = 0; round < 20; round += 1) {
    const parent = new MemoryParent();
    parent.answer = (call, act) => {
      const answer = act();
      return call.kind === "write" && answer.kind === "conflict" ? { kind: "written" } : answer;
    };
    dawdle(parent);
    const kms = new FakeKms();
    const vaults = await Promise.all(Array.from({ length: ENCLAVES }, () => boot(parent, kms)));
    expect(new Set(vaults.map(({ ids }) => hex(ids.vaultId()))).size).toBe(1);
  }
});

test("a store that loses the answer to whoever was first: that start is tried again, and finds it", async () => {
  const parent = new MemoryParent();
  const kms = new FakeKms();
  let lost = 0;
  parent.answer = (call, act) => {
    const answer = act();
    if (call.kind !== "write" || lost > 0) return answer;
    lost += 1;
    return { kind: "failed" };
  };
  await expect(boot(parent, kms)).rejects.toMatchObject({ code: "RECORDS_UNAVAILABLE", isWorthRetrying: true });
  const vaults = [await boot(parent, kms), await boot(parent, kms)];
  expect(vaults.map(({ isNew }) => isNew)).toEqual([false, false]);
  expect(new Set(vaults.map(({ ids }) => hex(ids.vaultId()))).size).toBe(1);
});

test("parts of two vaults mixed by the store open as none", async () => {
  const parents = [new MemoryParent(), new MemoryParent()] as const;
  const kms = new FakeKms();
  for (const parent of parents) await boot(parent, kms);
  const [one, another] = parents;
  for (const name of ["keys/ids", "keys/vault", "vault/1"]) {
    const own = one.records.get(name);
    const foreign = another.records.get(name);
    if (own === undefined || foreign === undefined) throw new Error("no such record");
    one.records.set(name, foreign);
    await expect(boot(one, kms)).rejects.toMatchObject({ code: "VAULT_INVALID" });
    one.records.set(name, own);
  }
});

test("two stores, one shown to each, are two vaults, and their ids tell a client so", async () => {
  const kms = new FakeKms();
  const vaults = [await boot(new MemoryParent(), kms), await boot(new MemoryParent(), kms)];
  expect(new Set(vaults.map(({ ids }) => hex(ids.vaultId()))).size).toBe(2);
});
