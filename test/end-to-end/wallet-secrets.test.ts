/** Wallets that leave, come in and end; and users who see what is held on them, and erase it. */
import { randomUUID } from "node:crypto";
import { mnemonicToAccount, privateKeyToAddress } from "viem/accounts";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  type Client,
  exportWallet,
  importWallet,
  verifyErasure,
  verifyEvents,
  type WalletCaller,
} from "../../client/index.ts";
import { decodeHex, encodeHex, type HeldOnUser } from "../../protocol/index.ts";
import { type Simulator, startSimulator } from "../../simulator/index.ts";
import { enrol } from "../support/account.ts";
import { ALLOW_ALL } from "../support/allow-all.ts";
import { createApp, type LoggedIn, logIn } from "../support/app.ts";
import { apiKeyOf, generateKeyOf } from "../support/app-requests.ts";
import { decryptKeystore } from "../support/keystore.ts";
import { requestBody, send } from "../support/raw-request.ts";
import { codeOf } from "../support/refusals.ts";
import { usdcTransfer } from "../support/transactions.ts";

const WORDS = "test test test test test test test test test test test junk";
const FIRST = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
const utf8 = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

let simulator: Simulator;
let client: Client;
let appId: string;
let alice: LoggedIn;

beforeAll(async () => {
  simulator = await startSimulator();
  client = await simulator.connect();
  appId = await createApp(simulator, client, { policy: ALLOW_ALL });
});
afterAll(() => simulator.stop());
beforeEach(async () => {
  alice = await logIn(simulator, client, appId, `alice-${randomUUID()}`);
});

async function eventsOf({
  session,
}: LoggedIn): Promise<readonly (readonly [string, Readonly<Record<string, string>>])[]> {
  const { events, publicKey } = await session.account.listEvents();
  return (await verifyEvents(events, publicKey)).map(({ kind, details }) => [kind, details] as const);
}

describe("an export", () => {
  test.each([12, 24] as const)("of %i words is what viem derives the wallet's address from", async (words) => {
    const { walletId, accounts } = await alice.session.createWallet({ kind: "hd", words });
    const exported = await alice.session.exportWallet({ walletId, form: "mnemonic" });
    expect(exported).toMatchObject({ form: "mnemonic", address: null });
    expect(text(exported.secret).split(" ")).toHaveLength(words);
    expect(mnemonicToAccount(text(exported.secret)).address).toBe(accounts[0].address);
  });

  test("of an account's key is that key", async () => {
    const accounts = [{ format: "ethereum" }, { format: "ethereum", index: 3 }] as const;
    const wallet = await alice.session.createWallet({ kind: "hd", accounts: [...accounts] });
    const { walletId } = wallet;
    const exported = await alice.session.exportWallet({ walletId, form: "private-key", account: "m/44'/60'/0'/0/3" });
    expect(exported.address).toBe(wallet.accounts[1]?.address);
    expect(privateKeyToAddress(`0x${encodeHex(exported.secret)}`)).toBe(exported.address);
  });

  test("as a keystore is one that another's software opens, with the password alone", async () => {
    const { walletId, accounts } = await alice.session.createWallet({ kind: "single-key" });
    const password = "pässword ﬁne";
    const { secret } = await alice.session.exportWallet({ walletId, form: "keystore-v3", password });
    const key = await decryptKeystore(text(secret), password);
    expect(privateKeyToAddress(`0x${encodeHex(key)}`)).toBe(accounts[0].address);
    await expect(decryptKeystore(text(secret), `${password}!`)).rejects.toThrow();
  });

  test("leaves an event that says what left, and to whom", async () => {
    const { walletId } = await alice.session.createWallet({ kind: "hd" });
    await alice.session.exportWallet({ walletId, form: "mnemonic" });
    expect(await eventsOf(alice)).toEqual([
      ["wallet-created", { walletId, kind: "hd" }],
      [
        "wallet-exported",
        { walletId, form: "mnemonic", address: "", recipient: expect.stringMatching(/^[0-9a-f]{64}$/) },
      ],
    ]);
  });

  test("WALLET_KIND_MISMATCH for the words of a single key, ACCOUNT_NOT_FOUND for a keystore of another chain's", async () => {
    const single = await alice.session.createWallet({ kind: "single-key", curve: "ed25519" });
    const { walletId } = single;
    expect(await codeOf(alice.session.exportWallet({ walletId, form: "mnemonic" }))).toBe("WALLET_KIND_MISMATCH");
    const keystore = { walletId, form: "keystore-v3", password: "password" } as const;
    expect(await codeOf(alice.session.exportWallet(keystore))).toBe("ACCOUNT_NOT_FOUND");
    expect(await codeOf(alice.session.exportWallet({ walletId, form: "private-key" }))).toBe("done");
    expect((await eventsOf(alice)).map(([kind]) => kind)).toEqual(["wallet-created", "wallet-exported"]);
  });

  test.each(["00".repeat(32), `01${"00".repeat(31)}`])(
    "EXPORT_RECIPIENT_INVALID for the point %s",
    async (recipientPublicKey) => {
      const { walletId } = await alice.session.createWallet({ kind: "hd" });
      const params = { walletId, form: "mnemonic", recipientPublicKey } as const;
      expect(await codeOf(alice.session.call("export_wallet", params))).toBe("EXPORT_RECIPIENT_INVALID");
      expect((await eventsOf(alice)).map(([kind]) => kind)).toEqual(["wallet-created"]);
    },
  );

  test("SEALING_REQUIRED where it comes in the open", async () => {
    const { walletId } = await alice.session.createWallet({ kind: "hd" });
    const params = { walletId, form: "mnemonic", recipientPublicKey: "09".repeat(32) };
    const body = requestBody(simulator, { operation: "export_wallet", appId, params });
    expect((await send(simulator, body, alice.key)).code).toBe("SEALING_REQUIRED");
  });

  test("POLICY_DENIED unless a policy allows it, whatever else it allows", async () => {
    const strict = await createApp(simulator, client);
    const { session } = await logIn(simulator, client, strict, "alice");
    const { walletId } = await session.createWallet({ kind: "hd" });
    expect(await codeOf(session.signMessage({ walletId, message: "0x00" }))).toBe("done");
    expect(await codeOf(session.exportWallet({ walletId, form: "mnemonic" }))).toBe("POLICY_DENIED");
  });

  test("WALLET_NOT_FOUND for another's, OUT_OF_SCOPE for a session that lists wallets, chains or operations", async () => {
    const { walletId } = await alice.session.createWallet({ kind: "hd" });
    const bob = await logIn(simulator, client, appId, "bob");
    expect(await codeOf(bob.session.exportWallet({ walletId, form: "mnemonic" }))).toBe("WALLET_NOT_FOUND");
    for (const scope of [
      { operations: ["sign_message" as const], wallets: null, chains: null },
      { operations: null, wallets: [`wal_${"0".repeat(32)}`], chains: null },
      { operations: null, wallets: null, chains: ["eip155:1"] },
    ]) {
      const key = generateKeyOf("SIGNATURE_SCHEME_TK_API_ED25519");
      const jwt = await simulator.issuer.mint({ subject: "bob", audience: "test" });
      const session = await client.login({ appId, jwt, key, scope });
      expect(await codeOf(session.exportWallet({ walletId, form: "mnemonic" }))).toBe("OUT_OF_SCOPE");
    }
  });

  test("needs a one-time password of whoever has one, and so do an end and an erasure", async () => {
    const { walletId } = await alice.session.createWallet({ kind: "hd" });
    const { app } = await enrol(alice.session.account, () => simulator.nowMs());
    const { session } = alice;
    expect(await codeOf(session.exportWallet({ walletId, form: "mnemonic" }))).toBe("SECOND_FACTOR_REQUIRED");
    expect(await codeOf(session.deleteWallet({ walletId, withoutExport: true }))).toBe("SECOND_FACTOR_REQUIRED");
    expect(await codeOf(session.account.eraseUser())).toBe("SECOND_FACTOR_REQUIRED");
    expect(await codeOf(session.account.exportUser().next())).toBe("SECOND_FACTOR_REQUIRED");
    const secondFactor = app.code();
    expect(await codeOf(session.exportWallet({ walletId, form: "mnemonic" }, { secondFactor }))).toBe("done");
  });
});

describe("an import", () => {
  test("of words is the wallet that they are anywhere, and says so in an event", async () => {
    const wallet = await alice.session.importWallet({ kind: "hd", secret: utf8(` ${WORDS.toUpperCase()}\n`) });
    expect(wallet).toMatchObject({ kind: "hd", accounts: [{ address: FIRST, path: "m/44'/60'/0'/0/0" }] });
    expect((await alice.session.listWallets()).wallets).toEqual([wallet]);
    const { walletId } = wallet;
    const importId = expect.stringMatching(/^imp_/);
    expect(await eventsOf(alice)).toEqual([["wallet-imported", { walletId, kind: "hd", importId }]]);
    const { secret } = await alice.session.exportWallet({ walletId, form: "mnemonic" });
    expect(text(secret)).toBe(WORDS);
  });

  test("of words has the accounts that were asked for", async () => {
    const accounts = [{ format: "solana" }, { format: "bitcoin-p2wpkh" }] as const;
    const secret = utf8(`${"abandon ".repeat(11)}about`);
    const wallet = await alice.session.importWallet({ kind: "hd", secret, accounts: [...accounts] });
    expect(wallet.accounts.map(({ address }) => address)).toEqual([
      "HAgk14JpMQLgt6rVgv7cBQFJWFto5Dqxi472uT3DKpqk",
      "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu",
    ]);
  });

  test.each(["secp256k1", "ed25519", "p256"] as const)("of a key on %s is that key", async (curve) => {
    const secret = new Uint8Array(32).fill(0x11);
    const { walletId } = await alice.session.importWallet({ kind: "single-key", curve, secret });
    const exported = await alice.session.exportWallet({ walletId, form: "private-key" });
    expect(exported.secret).toEqual(secret);
  });

  test("signs", async () => {
    const { walletId } = await alice.session.importWallet({ kind: "hd", secret: utf8(WORDS) });
    const signed = alice.session.signTransaction({ walletId, chainId: "1", unsignedTransaction: usdcTransfer() });
    expect(await codeOf(signed)).toBe("done");
  });

  test.each([
    ["a word less", "test test test test test test test test test test test"],
    ["a checksum that is wrong", `${"test ".repeat(11)}test`],
    ["a word that is none", `${"test ".repeat(11)}junky`],
    ["nothing", ""],
    ["27 words", `${"abandon ".repeat(26)}art`],
  ])("MNEMONIC_INVALID for %s", async (_what, words) => {
    expect(await codeOf(alice.session.importWallet({ kind: "hd", secret: utf8(words) }))).toBe("MNEMONIC_INVALID");
    expect((await alice.session.listWallets()).wallets).toEqual([]);
  });

  test.each([
    ["secp256k1", "00".repeat(32)],
    ["secp256k1", "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"],
    ["p256", "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"],
  ] as const)("PRIVATE_KEY_INVALID on %s for %s", async (curve, hex) => {
    const imported = alice.session.importWallet({ kind: "single-key", curve, secret: decodeHex(hex) });
    expect(await codeOf(imported)).toBe("PRIVATE_KEY_INVALID");
  });

  test("INVALID_PARAMS for accounts that it cannot have, before there is a target", async () => {
    const params = { kind: "single-key", accounts: [{ format: "solana" as const }], nonce: "00".repeat(32) } as const;
    const begun = alice.session.call("begin_import", { ...params, accounts: [...params.accounts] });
    expect(await codeOf(begun)).toBe("INVALID_PARAMS");
  });
});

describe("a wallet's end", () => {
  test("needs an export of all that it is, or to be meant", async () => {
    const { session } = alice;
    const { walletId } = await session.createWallet({ kind: "hd" });
    expect(await codeOf(session.deleteWallet({ walletId }))).toBe("WALLET_NOT_EXPORTED");
    await session.exportWallet({ walletId, form: "private-key" });
    expect(await codeOf(session.deleteWallet({ walletId }))).toBe("WALLET_NOT_EXPORTED");
    await session.exportWallet({ walletId, form: "mnemonic" });
    expect(await codeOf(session.deleteWallet({ walletId }))).toBe("done");
    const other = await session.createWallet({ kind: "single-key" });
    expect(await codeOf(session.deleteWallet({ walletId: other.walletId, withoutExport: true }))).toBe("done");
    expect((await session.listWallets()).wallets).toEqual([]);
    expect(await codeOf(session.signMessage({ walletId, message: "0x00" }))).toBe("WALLET_NOT_FOUND");
    expect(await codeOf(session.deleteWallet({ walletId }))).toBe("WALLET_NOT_FOUND");
    const ends = (await eventsOf(alice)).filter(([kind]) => kind === "wallet-deleted");
    expect(ends).toEqual([
      ["wallet-deleted", { walletId, exported: expect.stringMatching(/^[0-9]+$/) }],
      ["wallet-deleted", { walletId: other.walletId, exported: "never" }],
    ]);
  });
});

describe("an API key", () => {
  test("takes out, brings in and ends the app's own wallets if it may, and they have events too", async () => {
    const key = generateKeyOf("SIGNATURE_SCHEME_TK_API_P256");
    const operations = [
      ...(["create_wallet", "create_accounts", "export_wallet", "begin_import", "import_wallet"] as const),
      ...(["delete_wallet", "list_events"] as const),
    ];
    const own = await createApp(simulator, client, {
      policy: ALLOW_ALL,
      apiKeys: [apiKeyOf(key, [...operations])],
    });
    const caller: WalletCaller = {
      ...{ client, appId: own, userId: "app" },
      call: (name, params, options) => client.call(name, params, { ...options, appId: own, keys: [key] }),
    };
    const { walletId } = await importWallet(caller, { kind: "hd", secret: utf8(WORDS) });
    await client.call("create_accounts", { walletId, accounts: [{ format: "solana" }] }, { appId: own, keys: [key] });
    expect(text((await exportWallet(caller, { walletId, form: "mnemonic" })).secret)).toBe(WORDS);
    await client.call("delete_wallet", { walletId }, { appId: own, keys: [key] });
    const { events, publicKey } = await client.call("list_events", { after: 0 }, { appId: own, keys: [key] });
    const verified = await verifyEvents(events, publicKey);
    expect(verified.map(({ kind, by, userId }) => [kind, by, userId])).toEqual(
      ["wallet-imported", "accounts-created", "wallet-exported", "wallet-deleted"].map((kind) => [
        ...[kind, encodeHex(key.publicKey), "app"],
      ]),
    );
  });

  test("OUT_OF_SCOPE unless its permissions name it", async () => {
    const key = generateKeyOf("SIGNATURE_SCHEME_TK_API_P256");
    const apiKeys = [apiKeyOf(key, ["create_wallet", "sign_message"])];
    const own = await createApp(simulator, client, { policy: ALLOW_ALL, apiKeys });
    const { walletId } = await client.call("create_wallet", { kind: "hd" }, { appId: own, keys: [key] });
    const params = { walletId, form: "mnemonic", recipientPublicKey: "09".repeat(32) } as const;
    expect(await codeOf(client.call("export_wallet", params, { appId: own, keys: [key] }))).toBe("OUT_OF_SCOPE");
  });
});

describe("a user", () => {
  async function all(work: AsyncGenerator<HeldOnUser>): Promise<HeldOnUser[]> {
    const items: HeldOnUser[] = [];
    for await (const item of work) items.push(item);
    return items;
  }

  test("sees all that is held on them, in pages", async () => {
    const { session } = alice;
    const made = await Promise.all(Array.from({ length: 17 }, () => session.createWallet({ kind: "single-key" })));
    const items = await all(session.account.exportUser());
    expect(items[0]).toMatchObject({
      kind: "user",
      userId: session.userId,
      events: 17,
      passkeys: [],
      secondFactor: null,
    });
    const wallets = items.flatMap((item) => (item.kind === "wallet" ? [item.wallet.walletId] : []));
    expect(wallets.sort()).toEqual(made.map(({ walletId }) => walletId).sort());
    const events = items.flatMap((item) => (item.kind === "event" ? [item.event] : []));
    const { publicKey } = await session.account.listEvents();
    expect(await verifyEvents(events, publicKey)).toHaveLength(17);
    const page = await session.call("export_user", { after: "events/15" });
    expect(page.items).toHaveLength(2);
    expect(page.next).toBeNull();
  });

  test("erases it, gets a receipt, and comes back as somebody else", async () => {
    const subject = `leaver-${randomUUID()}`;
    const leaver = await logIn(simulator, client, appId, subject);
    const other = await logIn(simulator, client, appId, subject);
    for (let count = 0; count < 17; count += 1) await leaver.session.createWallet({ kind: "single-key" });
    const { publicKey } = await leaver.session.account.listEvents();
    const { userId } = leaver.session;
    const wrong = leaver.session.call("erase_user", { userId: alice.session.userId });
    expect(await codeOf(wrong)).toBe("INVALID_PARAMS");
    const receipt = await leaver.session.account.eraseUser();
    expect(await verifyErasure(receipt, publicKey)).toEqual({
      ...{ v: 1, deployment: client.deployment, appId, userId, erasedAtMs: expect.any(Number) },
      records: { wallets: 17, events: 17, identities: 1, sessions: 2, passkeys: 0 },
    });
    for (const { session } of [leaver, other]) expect(await codeOf(session.listWallets())).toBe("SESSION_UNKNOWN");
    const again = await logIn(simulator, client, appId, subject);
    expect(again.session.userId).not.toBe(userId);
    expect(await all(again.session.account.exportUser())).toMatchObject([{ kind: "user", events: 0 }]);
    const forged = { ...receipt, receipt: receipt.receipt.replace('"events":17', '"events":16') };
    await expect(verifyErasure(forged, publicKey)).rejects.toThrow("not signed");
    await expect(verifyErasure({ ...receipt, signature: "00" }, publicKey)).rejects.toThrow("not signed");
  });
});
