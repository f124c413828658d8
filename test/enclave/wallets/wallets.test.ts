import { recoverAddress } from "viem";
import { beforeEach, describe, expect, test } from "vitest";
import type { Authorised } from "../../../enclave/policy/authorised.ts";
import { secp256k1 } from "../../../enclave/wallets/open-wallet.ts";
import type { Signer } from "../../../enclave/wallets/signer.ts";
import { type Owner, Wallets } from "../../../enclave/wallets/wallets.ts";
import type { Account, NewWallet } from "../../../protocol/index.ts";
import { bootParts, putUser } from "../../support/enclave-parts.ts";
import { MemoryParent } from "../../support/memory-parent.ts";

const ALICE = { appId: "app_1", userId: "usr_1", by: "ses_1" } as const;
const BOB = { appId: "app_1", userId: "usr_2", by: "ses_2" } as const;
const ALICE_ELSEWHERE = { appId: "app_2", userId: "usr_1", by: "ses_3" } as const;
const REQUEST_ID = "3f0a1c9e-5d1e-4b44-9a57-0d9f3b6f8f10";
const OTHER_REQUEST_ID = "00000000-5d1e-4b44-9a57-0d9f3b6f8f10";

let parent: MemoryParent;
let wallets: Wallets;
beforeEach(async () => {
  parent = new MemoryParent();
  wallets = await boot();
});

async function boot(): Promise<Wallets> {
  const parts = await bootParts(parent, () => 1_790_000_000_000);
  for (const owner of [ALICE, BOB, ALICE_ELSEWHERE]) await putUser(parent, parts, owner);
  return new Wallets(parts);
}

const walletsIn = (records: MemoryParent["records"]) =>
  [...records.keys()].filter((name) => name.startsWith("wallet/"));

/** As policies do it, once they allow something. */
function authorised(walletId: string, accounts: readonly Account[]): Authorised {
  return {
    walletId,
    publicKeys: accounts.map(({ publicKey }) => publicKey),
    facts: { kind: "evm-message", from: "", message: new Uint8Array(0) },
  } as unknown as Authorised;
}

const DIGEST = new Uint8Array(32).fill(7);

async function signerOf(each: Wallets, owner: Owner, walletId: string): Promise<string> {
  using wallet = await each.open(owner, walletId);
  const account = wallet.account(undefined, ["ethereum"]);
  const { rs, recoveryId } = wallet.sign(authorised(walletId, [account]), account, (signer) =>
    secp256k1(signer).signDigest(DIGEST),
  );
  const signature = `0x${Buffer.from(rs).toString("hex")}${(27 + recoveryId).toString(16)}` as const;
  return await recoverAddress({ hash: DIGEST, signature });
}

describe.each([{ kind: "hd" }, { kind: "single-key" }] as const)("a wallet of $kind", (asked) => {
  test("signs as the address that it says, before and after a restart", async () => {
    const { kind } = asked;
    const wallet = await wallets.create(ALICE, REQUEST_ID, asked);
    expect(wallet).toMatchObject({ kind, createdAtMs: 1_790_000_000_000 });
    expect(wallet.accounts).toEqual([
      {
        ...{ format: "ethereum", curve: "secp256k1", path: kind === "hd" ? "m/44'/60'/0'/0/0" : null },
        ...{ address: expect.stringMatching(/^0x/), publicKey: expect.stringMatching(/^0[23][0-9a-f]{64}$/) },
      },
    ]);
    for (const each of [wallets, await boot()]) {
      expect(await signerOf(each, ALICE, wallet.walletId)).toBe(wallet.accounts[0].address);
    }
  });

  test("is found again by the same request's id, and by no other's", async () => {
    const wallet = await wallets.create(ALICE, REQUEST_ID, asked);
    expect(await wallets.create(ALICE, REQUEST_ID, asked)).toEqual(wallet);
    expect(await (await boot()).create(ALICE, REQUEST_ID, asked)).toEqual(wallet);
    const others = [
      await wallets.create(ALICE, OTHER_REQUEST_ID, asked),
      await wallets.create(BOB, REQUEST_ID, asked),
      await wallets.create(ALICE_ELSEWHERE, REQUEST_ID, asked),
    ];
    for (const other of others) {
      expect(other.walletId).not.toBe(wallet.walletId);
      expect(other.accounts[0].address).not.toBe(wallet.accounts[0].address);
    }
  });

  test("keeps its secrets out of what is stored in the clear and of what is answered", async () => {
    const wallet = await wallets.create(ALICE, REQUEST_ID, asked);
    const stored = [...parent.records].map(([name, { value }]) => name + Buffer.from(value).toString("hex")).join();
    expect(stored).not.toContain(wallet.accounts[0].publicKey);
    expect(stored).not.toContain(Buffer.from("privateKey").toString("hex"));
    expect(Object.keys(wallet).sort()).toEqual(["accounts", "createdAtMs", "custody", "kind", "walletId"]);
    expect(Object.keys(wallet.accounts[0]).sort()).toEqual(["address", "curve", "format", "path", "publicKey"]);
    expect((await wallets.list(ALICE, null)).wallets).toEqual([wallet]);
  });
});

describe("many at once", () => {
  const MANY = Array.from({ length: 150 }, () => ({ kind: "single-key" }) as const);
  const codes = (made: readonly object[]) =>
    made.map((each) => ("error" in each ? (each.error as { code: string }).code : null));
  const writes = () => parent.calls.filter(({ kind }) => kind === "write");

  test("in writes of sixty-two; each signs as its address", async () => {
    const before = writes().length;
    const made = await wallets.createMany(ALICE, REQUEST_ID, MANY);
    expect(writes().length - before).toBe(Math.ceil(150 / 62));
    for (const at of [0, 61, 62, 149]) {
      const each = made[at];
      if (each === undefined || !("wallet" in each)) throw new Error("refused");
      expect(await signerOf(wallets, ALICE, each.wallet.walletId)).toBe(each.wallet.accounts[0].address);
    }
  });

  test("a write that fails ends them, and asked again they are all there, once", async () => {
    let written = 0;
    parent.answer = (call, act) => {
      written += call.kind === "write" ? 1 : 0;
      // The second was made, and nobody hears of it.
      const answer = act();
      return call.kind === "write" && written === 2 ? { kind: "record", record: null } : answer;
    };
    const first = await wallets.createMany(ALICE, REQUEST_ID, MANY);
    expect(codes(first)).toEqual([...Array(62).fill(null), ...Array(88).fill("RECORDS_UNAVAILABLE")]);
    parent.answer = (_, act) => act();
    const again = await (await boot()).createMany(ALICE, REQUEST_ID, MANY);
    expect(codes(again)).toEqual(Array(150).fill(null));
    expect(again.slice(0, 62)).toEqual(first.slice(0, 62));
    expect(walletsIn(parent.records).length).toBe(150);
  });

  test("where the first write fails there is no result at all", async () => {
    parent.answer = (call, act) => (call.kind === "write" ? { kind: "record", record: null } : act());
    const attempt = wallets.createMany(ALICE, REQUEST_ID, MANY);
    await expect(attempt).rejects.toMatchObject({ code: "RECORDS_UNAVAILABLE" });
  });

  test("a user who has other wallets, events, and another request's batch at the same time, loses none", async () => {
    await wallets.create(ALICE, OTHER_REQUEST_ID, { kind: "single-key" });
    const both = await Promise.all([REQUEST_ID, OTHER_REQUEST_ID].map((id) => wallets.createMany(ALICE, id, MANY)));
    expect(both.flatMap(codes)).toEqual(Array(300).fill(null));
    expect(walletsIn(parent.records).length).toBe(301);
  });
});

describe("what a wallet is asked for", () => {
  test.each([12, 15, 18, 21, 24] as const)("%i words are so many bits of entropy", async (words) => {
    const asked = { kind: "hd", words } as const;
    const { walletId } = await wallets.create(ALICE, REQUEST_ID, asked);
    expect(await wallets.create(ALICE, REQUEST_ID, asked)).toMatchObject({ walletId });
    const other = { kind: "hd", words: words === 12 ? 24 : 12 } as const;
    await expect(wallets.create(ALICE, REQUEST_ID, other)).rejects.toMatchObject({ code: "RECORD_CONFLICT" });
  });

  test.each([
    ["secp256k1", "ethereum"],
    ["ed25519", "solana"],
    ["p256", "none"],
  ] as const)("a single key on %s is an account of %s", async (curve, format) => {
    const wallet = await wallets.create(ALICE, REQUEST_ID, { kind: "single-key", curve });
    expect(wallet.accounts).toMatchObject([{ curve, format, path: null }]);
  });

  test("accounts are those that were asked for, each once", async () => {
    const accounts = [
      { format: "bitcoin-p2wpkh" },
      { format: "solana", index: 3 },
      { format: "bitcoin-p2wpkh", path: "m/84'/0'/0'/0/0" },
      { format: "none", curve: "p256", path: "m/1'/2" },
    ] as const;
    const wallet = await wallets.create(ALICE, REQUEST_ID, { kind: "hd", accounts: [...accounts] });
    expect(wallet.accounts.map(({ format, curve, path }) => [format, curve, path])).toEqual([
      ["bitcoin-p2wpkh", "secp256k1", "m/84'/0'/0'/0/0"],
      ["solana", "ed25519", "m/44'/501'/3'/0'"],
      ["none", "p256", "m/1'/2"],
    ]);
  });

  test.each<[string, NewWallet]>([
    ["a path of a single key", { kind: "single-key", accounts: [{ format: "ethereum", path: "m/0" }] }],
    ["an index of a single key", { kind: "single-key", accounts: [{ format: "ethereum", index: 0 }] }],
    ["a single key in another curve's format", { kind: "single-key", accounts: [{ format: "solana" }] }],
    ["a format with another curve", { kind: "hd", accounts: [{ format: "ethereum", curve: "ed25519" }] }],
    ["path and index", { kind: "hd", accounts: [{ format: "ethereum", path: "m/0", index: 0 }] }],
    ["no path where none is usual", { kind: "hd", accounts: [{ format: "none" }] }],
    ["a step on ed25519 that is not hardened", { kind: "hd", accounts: [{ format: "solana", path: "m/44'/501'/0" }] }],
  ])("INVALID_PARAMS for %s", async (_what, asked) => {
    await expect(wallets.create(ALICE, REQUEST_ID, asked)).rejects.toMatchObject({ code: "INVALID_PARAMS" });
    expect(walletsIn(parent.records)).toEqual([]);
  });
});

test.each<[string, NewWallet]>([
  ["kind", { kind: "single-key" }],
  ["length", { kind: "hd", words: 24 }],
  ["account", { kind: "hd", accounts: [{ format: "solana" }] }],
])("RECORD_CONFLICT for another %s under the same request's id", async (_what, asked) => {
  await wallets.create(ALICE, REQUEST_ID, { kind: "hd" });
  await expect(wallets.create(ALICE, REQUEST_ID, asked)).rejects.toMatchObject({ code: "RECORD_CONFLICT" });
});

test("RECORD_CONFLICT for a store that says there is one, and has none", async () => {
  parent.answer = (call, act) => (call.kind === "write" ? { kind: "conflict", name: "wallet/x" } : act());
  await expect(wallets.create(ALICE, REQUEST_ID, { kind: "hd" })).rejects.toMatchObject({ code: "RECORD_CONFLICT" });
});

describe("addAccounts", () => {
  test("adds what is not there yet, and gives all that was asked for", async () => {
    const wallet = await wallets.create(ALICE, REQUEST_ID, { kind: "hd" });
    const asked = [{ format: "solana" }, { format: "ethereum" }, { format: "solana", index: 1 }] as const;
    const added = await wallets.addAccounts(ALICE, wallet.walletId, asked);
    expect(added.map(({ path }) => path)).toEqual(["m/44'/501'/0'/0'", "m/44'/60'/0'/0/0", "m/44'/501'/1'/0'"]);
    expect(await (await boot()).addAccounts(ALICE, wallet.walletId, asked)).toEqual(added);
    const [listed] = (await wallets.list(ALICE, null)).wallets;
    expect(listed?.accounts).toEqual([wallet.accounts[0], added[0], added[2]]);
  });

  test("many at once are all there in the end", async () => {
    const { walletId } = await wallets.create(ALICE, REQUEST_ID, { kind: "hd" });
    const indices = Array.from({ length: 12 }, (_, index) => index);
    await Promise.all(indices.map((index) => wallets.addAccounts(ALICE, walletId, [{ format: "ethereum", index }])));
    const [listed] = (await wallets.list(ALICE, null)).wallets;
    expect(listed?.accounts).toHaveLength(12);
  });

  test("TOO_MANY_ACCOUNTS beyond 64, and a page of such wallets is still listed", async () => {
    const accounts = Array.from({ length: 64 }, (_, index) => ({ format: "bitcoin-p2tr", index }) as const);
    const { walletId } = await wallets.create(ALICE, REQUEST_ID, { kind: "hd", accounts });
    expect(await wallets.addAccounts(ALICE, walletId, accounts)).toHaveLength(64);
    await expect(wallets.addAccounts(ALICE, walletId, [{ format: "solana" }])).rejects.toMatchObject({
      code: "TOO_MANY_ACCOUNTS",
    });
  });

  test("a single key has one address in each format of its curve", async () => {
    const { walletId } = await wallets.create(ALICE, REQUEST_ID, { kind: "single-key" });
    const added = await wallets.addAccounts(ALICE, walletId, [{ format: "ethereum" }, { format: "bitcoin-p2tr" }]);
    expect(added[0]?.publicKey).toBe(added[1]?.publicKey);
  });

  test("WALLET_NOT_FOUND for another's", async () => {
    const { walletId } = await wallets.create(ALICE, REQUEST_ID, { kind: "hd" });
    const asked = wallets.addAccounts(BOB, walletId, [{ format: "solana" }]);
    await expect(asked).rejects.toMatchObject({ code: "WALLET_NOT_FOUND" });
  });
});

describe("an open wallet", () => {
  test.each([
    ["another user's", BOB],
    ["the same user's of another app", ALICE_ELSEWHERE],
  ])("is WALLET_NOT_FOUND where it is %s", async (_whose, owner) => {
    const { walletId } = await wallets.create(ALICE, REQUEST_ID, { kind: "hd" });
    await expect(wallets.open(owner, walletId)).rejects.toMatchObject({ code: "WALLET_NOT_FOUND" });
  });

  test("finds an account by address or path, and the first of a format", async () => {
    const accounts = [{ format: "solana" }, { format: "ethereum" }, { format: "ethereum", index: 1 }] as const;
    const made = await wallets.create(ALICE, REQUEST_ID, { kind: "hd", accounts: [...accounts] });
    using wallet = await wallets.open(ALICE, made.walletId);
    expect(wallet.account(undefined, ["ethereum"])).toEqual(made.accounts[1]);
    expect(wallet.account("m/44'/60'/0'/0/1", ["ethereum"])).toEqual(made.accounts[2]);
    expect(wallet.account(made.accounts[2]?.address, ["ethereum"])).toEqual(made.accounts[2]);
    for (const [selector, format] of [
      [made.accounts[1]?.address, "solana"],
      ["m/44'/60'/0'/0/2", "ethereum"],
      [undefined, "bitcoin-p2tr"],
    ] as const) {
      expect(() => wallet.account(selector, [format])).toThrow(expect.objectContaining({ code: "ACCOUNT_NOT_FOUND" }));
    }
  });

  test("signs with a key at a path that is no account yet, if that key was authorised", async () => {
    const made = await wallets.create(ALICE, REQUEST_ID, { kind: "hd" });
    const [kept] = await wallets.addAccounts(ALICE, made.walletId, [{ format: "ethereum", index: 5 }]);
    using wallet = await wallets.open(ALICE, made.walletId);
    expect(wallet.accountAt("m/44'/60'/0'/0/5", "ethereum")).toEqual(kept);
    const change = wallet.accountAt("m/84'/0'/0'/1/9", "bitcoin-p2wpkh");
    const work = (signer: Signer) => secp256k1(signer).signDigest(DIGEST).rs;
    expect(wallet.sign(authorised(made.walletId, [change]), change, work)).toHaveLength(64);
    for (const wrong of [
      authorised(made.walletId, [made.accounts[0]]),
      authorised(made.walletId, []),
      authorised("wal_0", [change]),
    ]) {
      expect(() => wallet.sign(wrong, change, work)).toThrow("another key was authorised");
    }
    const stranger = { ...change, publicKey: `02${"11".repeat(32)}` };
    expect(() => wallet.sign(authorised(made.walletId, [stranger]), stranger, work)).toThrow("another key");
  });

  test.each(["m/", "m/01", "m/0/x", "m/4294967296", "", `m${"/0".repeat(11)}`])(
    "INVALID_PARAMS for the path %j",
    async (path) => {
      const { walletId } = await wallets.create(ALICE, REQUEST_ID, { kind: "hd" });
      using wallet = await wallets.open(ALICE, walletId);
      expect(() => wallet.accountAt(path, "ethereum")).toThrow(expect.objectContaining({ code: "INVALID_PARAMS" }));
    },
  );

  test("has a master fingerprint if it has paths", async () => {
    using hd = await wallets.open(ALICE, (await wallets.create(ALICE, REQUEST_ID, { kind: "hd" })).walletId);
    expect(hd.masterFingerprint()).toHaveLength(4);
    const single = await wallets.create(ALICE, OTHER_REQUEST_ID, { kind: "single-key" });
    using wallet = await wallets.open(ALICE, single.walletId);
    expect(wallet.masterFingerprint()).toBeNull();
    expect(() => wallet.accountAt("m/0", "ethereum")).toThrow(expect.objectContaining({ code: "INVALID_PARAMS" }));
  });

  test("a key that was lent is wiped when the work is done, and when it throws", async () => {
    const { walletId } = await wallets.create(ALICE, REQUEST_ID, { kind: "single-key", curve: "ed25519" });
    using wallet = await wallets.open(ALICE, walletId);
    const account = wallet.account(undefined, ["solana"]);
    const lent: Signer[] = [];
    const sign = (signer: Signer) => (signer.curve === "ed25519" ? signer.signMessage(DIGEST) : DIGEST);
    const first = wallet.sign(authorised(walletId, [account]), account, (signer) => {
      lent.push(signer);
      return sign(signer);
    });
    const failing = () =>
      wallet.sign(authorised(walletId, [account]), account, (signer) => {
        lent.push(signer);
        throw new Error("the work failed");
      });
    expect(failing).toThrow("the work failed");
    // What is left signs as the key of zeros.
    for (const signer of lent) expect(sign(signer)).not.toEqual(first);
  });
});

test("a list has a user's own wallets and nobody else's", async () => {
  const mine = [
    await wallets.create(ALICE, REQUEST_ID, { kind: "hd" }),
    await wallets.create(ALICE, OTHER_REQUEST_ID, { kind: "single-key" }),
  ];
  await wallets.create(BOB, REQUEST_ID, { kind: "hd" });
  await wallets.create(ALICE_ELSEWHERE, REQUEST_ID, { kind: "hd" });
  const { wallets: listed, more } = await wallets.list(ALICE, null);
  expect(more).toBe(false);
  expect(listed).toEqual(mine.sort((one, other) => (one.walletId < other.walletId ? -1 : 1)));
});
