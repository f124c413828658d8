import { randomBytes } from "node:crypto";
import { encode } from "cborg";
import { beforeEach, describe, expect, test } from "vitest";
import { Nsm } from "../../../enclave/nsm/nsm.ts";
import { Randomness } from "../../../enclave/nsm/randomness.ts";
import { ethereumAddress } from "../../../enclave/signing/ethereum-address.ts";
import { publicKeyOf } from "../../../enclave/signing/secp256k1.ts";
import { TrustedClock } from "../../../enclave/trusted-clock.ts";
import { Ids } from "../../../enclave/vault/ids.ts";
import { RecordCipher } from "../../../enclave/vault/record-cipher.ts";
import { RecordStore } from "../../../enclave/vault/record-store.ts";
import { Records } from "../../../enclave/vault/records.ts";
import { Wallets } from "../../../enclave/wallets/wallets.ts";
import { encodeHex } from "../../../protocol/index.ts";
import { MemoryParent } from "../../support/memory-parent.ts";

const ALICE = { appId: "app_1", userId: "usr_1" } as const;
const BOB = { appId: "app_1", userId: "usr_2" } as const;
const ALICE_ELSEWHERE = { appId: "app_2", userId: "usr_1" } as const;
const REQUEST_ID = "3f0a1c9e-5d1e-4b44-9a57-0d9f3b6f8f10";
const OTHER_REQUEST_ID = "00000000-5d1e-4b44-9a57-0d9f3b6f8f10";

let parent: MemoryParent;
let wallets: Wallets;
beforeEach(async () => {
  parent = new MemoryParent();
  wallets = await boot();
});

async function boot(): Promise<Wallets> {
  const device = { process: async () => encode({ GetRandom: { random: randomBytes(256) } }) };
  const cipher = new RecordCipher(new Uint8Array(32).fill(1), { deployment: "test", generation: 1 });
  return new Wallets({
    records: new Records(new RecordStore(parent.vsock), cipher),
    ids: new Ids(new Uint8Array(32).fill(2)),
    randomness: await Randomness.seed(new Nsm(device, new TrustedClock(() => 0))),
    nowMs: () => 1_790_000_000_000,
  });
}

const addressOf = (key: Uint8Array) => ethereumAddress(publicKeyOf(key, false));

describe.each(["hd", "single-key"] as const)("a wallet of kind %s", (kind) => {
  test("is what its key is, before and after a restart", async () => {
    const wallet = await wallets.create(ALICE, REQUEST_ID, kind);
    expect(wallet).toMatchObject({
      kind,
      path: kind === "hd" ? "m/44'/60'/0'/0/0" : null,
      createdAtMs: 1_790_000_000_000,
    });
    for (const each of [wallets, await boot()]) {
      const { address, publicKey } = await each.withKey(ALICE, wallet.walletId, (key) => ({
        address: addressOf(key),
        publicKey: encodeHex(publicKeyOf(key, true)),
      }));
      expect({ address, publicKey }).toEqual({ address: wallet.accounts[0].address, publicKey: wallet.publicKey });
    }
  });

  test("is found again by the same request's id, and by no other's", async () => {
    const wallet = await wallets.create(ALICE, REQUEST_ID, kind);
    expect(await wallets.create(ALICE, REQUEST_ID, kind)).toEqual(wallet);
    expect(await (await boot()).create(ALICE, REQUEST_ID, kind)).toEqual(wallet);
    const others = [
      await wallets.create(ALICE, OTHER_REQUEST_ID, kind),
      await wallets.create(BOB, REQUEST_ID, kind),
      await wallets.create(ALICE_ELSEWHERE, REQUEST_ID, kind),
    ];
    for (const other of others) {
      expect(other.walletId).not.toBe(wallet.walletId);
      expect(other.address).not.toBe(wallet.accounts[0].address);
    }
  });

  test("keeps its secrets out of what is stored in the clear and of what is answered", async () => {
    const wallet = await wallets.create(ALICE, REQUEST_ID, kind);
    const key = await wallets.withKey(ALICE, wallet.walletId, (bytes) => Buffer.from(bytes));
    const stored = [...parent.records].map(([name, { value }]) => name + Buffer.from(value).toString("hex")).join();
    expect(stored).not.toContain(key.toString("hex"));
    expect(JSON.stringify([wallet, await wallets.list(ALICE, null)])).not.toContain(key.toString("hex"));
    expect(Object.keys(wallet).sort()).toEqual(["address", "createdAtMs", "kind", "path", "publicKey", "walletId"]);
  });
});

test("RECORD_CONFLICT for another kind under the same request's id", async () => {
  await wallets.create(ALICE, REQUEST_ID, "hd");
  await expect(wallets.create(ALICE, REQUEST_ID, "single-key")).rejects.toMatchObject({ code: "RECORD_CONFLICT" });
});

test("RECORD_CONFLICT for a store that says there is one, and has none", async () => {
  parent.answer = (call, act) => (call.kind === "write" ? { kind: "conflict", name: "wallet/x" } : act());
  await expect(wallets.create(ALICE, REQUEST_ID, "hd")).rejects.toMatchObject({ code: "RECORD_CONFLICT" });
});

describe("withKey", () => {
  test("wipes the key when the work is done, and when it throws", async () => {
    const { walletId } = await wallets.create(ALICE, REQUEST_ID, "single-key");
    const lent: Uint8Array[] = [];
    await wallets.withKey(ALICE, walletId, (key) => {
      lent.push(key);
      expect(key.some((byte) => byte !== 0)).toBe(true);
    });
    const failing = wallets.withKey(ALICE, walletId, (key) => {
      lent.push(key);
      throw new Error("the work failed");
    });
    await expect(failing).rejects.toThrow("the work failed");
    expect(lent).toEqual([new Uint8Array(32), new Uint8Array(32)]);
  });

  test.each([
    ["another user's", BOB],
    ["the same user's of another app", ALICE_ELSEWHERE],
  ])("is WALLET_NOT_FOUND for %s", async (_whose, owner) => {
    const { walletId } = await wallets.create(ALICE, REQUEST_ID, "hd");
    const work = () => expect.unreachable("a key was lent");
    await expect(wallets.withKey(owner, walletId, work)).rejects.toMatchObject({ code: "WALLET_NOT_FOUND" });
  });
});

test("a list has a user's own wallets and nobody else's", async () => {
  const mine = [
    await wallets.create(ALICE, REQUEST_ID, "hd"),
    await wallets.create(ALICE, OTHER_REQUEST_ID, "single-key"),
  ];
  await wallets.create(BOB, REQUEST_ID, "hd");
  await wallets.create(ALICE_ELSEWHERE, REQUEST_ID, "hd");
  const { wallets: listed, more } = await wallets.list(ALICE, null);
  expect(more).toBe(false);
  expect(listed).toEqual(mine.sort((one, other) => (one.walletId < other.walletId ? -1 : 1)));
});
