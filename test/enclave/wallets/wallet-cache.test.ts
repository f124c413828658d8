/** What is kept of wallets that sign again and again, for how long, and what is left of it. */
import { beforeEach, describe, expect, test } from "vitest";
import { RecordStore } from "../../../enclave/vault/record-store.ts";
import { change, Records } from "../../../enclave/vault/records.ts";
import { KEPT_IDLE_MS, WalletCache } from "../../../enclave/wallets/wallet-cache.ts";
import { type StoredWallet, walletRecords, wipe } from "../../../enclave/wallets/wallet-value.ts";
import { sameCipher } from "../../support/enclave-parts.ts";
import { MemoryParent } from "../../support/memory-parent.ts";

const NAME = "app_1/usr_1/wal_1";
const KEY = new Uint8Array(32).fill(7);

let parent: MemoryParent;
let records: Records;
let cache: WalletCache;
let nowMs: number;

const enclave = () => new Records(new RecordStore(parent.vsock), sameCipher());
const gets = () => parent.calls.filter(({ kind }) => kind === "get").length;

function wallet(isSplit = false): StoredWallet {
  const publicKey = new Uint8Array(33).fill(2);
  const privateKey = isSplit ? null : Uint8Array.from(KEY);
  return {
    secret: { kind: "single-key", curve: "secp256k1", privateKey: Uint8Array.from(KEY) },
    accounts: [{ address: "0x", format: "ethereum", curve: "secp256k1", publicKey, path: null, privateKey }],
    ...{ createdAtMs: 0, exportedAtMs: null, importedAs: null },
  };
}

const write = (name: string) => records.write([change(walletRecords, name, null, wallet())]);
/** As a signature does: opens, uses, wipes. */
async function use(name = NAME, of = cache, maxAgeMs?: number): Promise<Uint8Array | null> {
  const opened = await of.read(name, maxAgeMs);
  if (opened === null) return null;
  const key = opened.accounts[0].privateKey;
  const used = key === null ? null : Uint8Array.from(key);
  wipe(opened);
  return used;
}

beforeEach(async () => {
  parent = new MemoryParent();
  records = enclave();
  nowMs = 1_000_000;
  cache = new WalletCache({ records, nowMs: () => nowMs, maxKept: 3 });
  await write(NAME);
});

describe("what is kept", () => {
  test("a wallet that signs once is not; one that signs again is read once a second", async () => {
    await use();
    expect(cache.size).toBe(0);
    await use();
    expect(cache.size).toBe(1);
    for (let at = 0; at < 10; at += 1) expect(await use()).toStrictEqual(KEY);
    expect(gets()).toBe(2);
    nowMs += 1_000;
    expect(await use()).toStrictEqual(KEY);
    expect(gets()).toBe(3);
  });

  test("two uses further apart than wallets are kept are two single uses", async () => {
    await use();
    nowMs += KEPT_IDLE_MS;
    await use();
    expect(cache.size).toBe(0);
  });

  test("what is handed out is the user's own: wiping it wipes nothing that is kept", async () => {
    for (let at = 0; at < 3; at += 1) wipe((await cache.read(NAME)) ?? wallet());
    expect(await use()).toStrictEqual(KEY);
  });

  test("no more wallets than its bound: the one not used for longest goes", async () => {
    const names = [1, 2, 3, 4].map((at) => `app_1/usr_1/wal_${at + 1}`);
    for (const name of names) await write(name);
    for (const name of names) for (const _ of [1, 2]) await use(name);
    expect(cache.size).toBe(3);
    const before = gets();
    await use(names[0]);
    expect(gets()).toBe(before + 1);
  });

  test("a split wallet is never kept", async () => {
    const name = "app_1/usr_1/wal_9";
    const split: StoredWallet = {
      ...wallet(true),
      secret: {
        ...{ kind: "split", of: "single-key", curve: "secp256k1" },
        operatorShare: Uint8Array.of(1, 2, 3),
      } as unknown as StoredWallet["secret"],
    };
    // Not a whole record of its kind: what matters is that its secret says that it is split.
    const lenient = { read: async () => ({ name, version: 1, value: split, sizeBytes: 1 }), isLatest: () => true };
    const other = new WalletCache({ records: lenient as unknown as Records, nowMs: () => nowMs });
    for (let at = 0; at < 4; at += 1) await other.read(name);
    expect(other.size).toBe(0);
  });
});

describe("what is wiped", () => {
  /** What the cache itself holds: seen by handing it a record of ours. */
  async function keptSecret(): Promise<{ readonly held: StoredWallet; readonly of: WalletCache }> {
    const held = wallet();
    const read = { name: `wallet/${NAME}`, version: 1, value: held, sizeBytes: 100 };
    const ours = { read: async () => read, isLatest: () => true };
    const of = new WalletCache({ records: ours as unknown as Records, nowMs: () => nowMs, maxKept: 3 });
    await use(NAME, of).then(() => held.accounts[0].privateKey?.set(KEY));
    if (held.secret.kind === "single-key") held.secret.privateKey.set(KEY);
    await use(NAME, of);
    expect(of.size).toBe(1);
    expect(secretsOf(held)).toStrictEqual([KEY, KEY]);
    return { held, of };
  }

  const secretsOf = ({ secret, accounts }: StoredWallet) => [
    accounts[0].privateKey,
    secret.kind === "single-key" ? secret.privateKey : null,
  ];
  const WIPED = [new Uint8Array(32), new Uint8Array(32)];

  test.each<[string, (of: WalletCache) => void]>([
    ["it is dropped", (of) => of.drop(NAME)],
    ["its owner's folder is dropped", (of) => of.dropUnder("app_1/usr_1/")],
    ["the enclave ends", (of) => of.close()],
    [
      "it was not used for a minute",
      (of) => {
        nowMs += KEPT_IDLE_MS;
        of.forgetIdle();
      },
    ],
  ])("its keys, once %s", async (_, act) => {
    const { held, of } = await keptSecret();
    act(of);
    expect(of.size).toBe(0);
    expect(secretsOf(held)).toStrictEqual(WIPED);
  });

  test("another's folder takes nothing with it, and a minute in which it is used neither", async () => {
    const { of } = await keptSecret();
    of.dropUnder("app_1/usr_2/");
    nowMs += KEPT_IDLE_MS - 1;
    of.forgetIdle();
    await use(NAME, of);
    nowMs += KEPT_IDLE_MS - 1;
    of.forgetIdle();
    expect(of.size).toBe(1);
  });

  test("nothing is kept any more after the end", async () => {
    cache.close();
    for (let at = 0; at < 3; at += 1) expect(await use()).toStrictEqual(KEY);
    expect(cache.size).toBe(0);
  });

  test("wiped while the store is asked whether it still stands: read again, never handed out as zeros", async () => {
    await use();
    await use();
    nowMs += 1_000;
    const asked = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    parent.answer = async (call, act) => {
      if (call.kind === "get") {
        asked.resolve();
        await goOn.promise;
      }
      return act();
    };
    const used = use();
    await asked.promise;
    cache.drop(NAME);
    goOn.resolve();
    expect(await used).toStrictEqual(KEY);
  });
});

describe("what another write does", () => {
  beforeEach(async () => {
    await use();
    await use();
  });

  test("deleted here: gone at once", async () => {
    const read = await records.read(walletRecords, NAME);
    await records.write([change(walletRecords, NAME, read, undefined)]);
    expect(await use()).toBeNull();
    expect(cache.size).toBe(0);
  });

  test("deleted by another enclave: gone within a second, and at once for who asks for what stands there now", async () => {
    const there = enclave();
    const read = await there.read(walletRecords, NAME);
    await there.write([change(walletRecords, NAME, read, undefined)]);
    expect(await use()).toStrictEqual(KEY);
    expect(await use(NAME, cache, 0)).toBeNull();
    nowMs += 1_000;
    expect(await use()).toBeNull();
    expect(cache.size).toBe(0);
  });

  test("an older record that a parent brings back is refused, whatever is kept", async () => {
    const old = parent.records.get(`wallet/${NAME}`);
    const read = await records.read(walletRecords, NAME);
    await records.write([change(walletRecords, NAME, read, { ...wallet(), exportedAtMs: 1 })]);
    if (old !== undefined) parent.records.set(old.name, old);
    await expect(use()).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
  });
});
