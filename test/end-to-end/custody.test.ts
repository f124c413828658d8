/** The flows of docs/recovery.md, each as a user goes through it. */
import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { verifyMessage } from "viem";
import { mnemonicToAccount, privateKeyToAccount } from "viem/accounts";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { processIo } from "../../cli/command-io.ts";
import { run as recoverCommand } from "../../cli/recover.ts";
import { type Client, memoryDeviceStore, openRecoveryFile, rebuildSecret, verifyEvents } from "../../client/index.ts";
import { deviceFileStore } from "../../client-node/index.ts";
import { generateShareKey, sharePublicKeyOf } from "../../protocol/index.ts";
import { type Simulator, startSimulator } from "../../simulator/index.ts";
import { createPasskeyApp } from "../support/account.ts";
import { called } from "../support/command-call.ts";
import { type Device, deviceOf, linkLogin, MESSAGE, sign } from "../support/custody.ts";
import { codeOf } from "../support/refusals.ts";

let simulator: Simulator;
let client: Client;
let appId: string;
let folder: string;
let home: string;
let work: string;
let phone: Device;

const PASSPHRASE = { kind: "passphrase", passphrase: "correct horse battery" } as const;

beforeAll(async () => {
  simulator = await startSimulator({});
  client = await simulator.connect();
  appId = await createPasskeyApp(simulator, client);
  folder = await mkdtemp(join(tmpdir(), "cloister-test-"));
});
afterAll(async () => {
  await simulator.stop();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  home = `home-${randomUUID()}`;
  work = `work-${randomUUID()}`;
  phone = await deviceOf(simulator, client, appId, home);
  await linkLogin(simulator, phone, work);
});

const laptopOf = (subject: string, store = memoryDeviceStore()) => deviceOf(simulator, client, appId, subject, store);

async function isSignedBy(address: string | undefined, signature: string): Promise<boolean> {
  return verifyMessage({
    address: address as `0x${string}`,
    message: { raw: MESSAGE },
    signature: signature as `0x${string}`,
  });
}

test("a split wallet signs with its device's share, and with no other way", async () => {
  const { wallet, recoveryFile } = await phone.custody.createWallet({ kind: "hd" });
  expect(recoveryFile).toBeNull();
  expect(wallet.custody).toMatchObject({ kind: "split", recovery: "held" });
  expect(await isSignedBy(wallet.accounts[0].address, await sign(phone, wallet.walletId))).toBe(true);
  const { walletId } = wallet;
  expect(await codeOf(phone.session.signMessage({ walletId, message: MESSAGE }))).toBe("SHARE_REQUIRED");
  expect((await phone.session.listWallets()).wallets).toEqual([wallet]);
});

test("accounts are added to a split wallet, and sign", async () => {
  const { wallet } = await phone.custody.createWallet({ kind: "hd" });
  const { walletId } = wallet;
  const asked = { walletId, accounts: [{ format: "ethereum" as const, index: 1 }] };
  expect(await codeOf(phone.session.call("create_accounts", asked))).toBe("SHARE_REQUIRED");
  const [account] = (await phone.custody.call("create_accounts", asked)).accounts;
  const params = { walletId, message: MESSAGE, account: account?.address ?? "" };
  const { signature } = await phone.custody.call("sign_message", params);
  expect(await isSignedBy(account?.address, signature)).toBe(true);
});

describe("a new device", () => {
  test("gets the share from the old one, and both sign", async () => {
    const { wallet } = await phone.custody.createWallet({ kind: "single-key" });
    const { walletId } = wallet;
    const laptop = await laptopOf(home);
    const publicKey = await laptop.custody.expectShare(walletId);
    await laptop.custody.acceptShare(walletId, await phone.custody.handOver(walletId, publicKey));
    for (const device of [phone, laptop]) {
      expect(await isSignedBy(wallet.accounts[0].address, await sign(device, walletId))).toBe(true);
    }
    // The new one makes the old one's share worthless, which is what to do before one gives a device away.
    await laptop.custody.reshare(walletId);
    expect(await isSignedBy(wallet.accounts[0].address, await sign(laptop, walletId))).toBe(true);
    expect(await codeOf(sign(phone, walletId))).toBe("SHARE_OUTDATED");
  });
});

describe("a lost device", () => {
  test("is replaced by a fresh login that had nothing to do with it, and its share is worth nothing", async () => {
    const { wallet } = await phone.custody.createWallet({ kind: "hd" });
    const { walletId } = wallet;
    const laptop = await laptopOf(work);
    const recovered = await laptop.custody.recover(walletId);
    expect(recovered.wallet.accounts).toEqual(wallet.accounts);
    expect(await isSignedBy(wallet.accounts[0].address, await sign(laptop, walletId))).toBe(true);
    expect(await codeOf(sign(phone, walletId))).toBe("SHARE_OUTDATED");
    const { events, publicKey } = await laptop.session.account.listEvents();
    const kinds = (await verifyEvents(events, publicKey)).map(({ kind }) => kind);
    expect(kinds.slice(-2)).toEqual(["wallet-split", "wallet-recovered"]);
  });

  test("is replaced with a recovery file, by a user who has but one login", async () => {
    const { wallet, recoveryFile } = await phone.custody.createWallet({ kind: "hd" }, PASSPHRASE);
    const { walletId } = wallet;
    const laptop = await laptopOf(home);
    expect(await codeOf(laptop.custody.recover(walletId))).toBe("RECOVERY_SHARE_EXPORTED");
    const file = JSON.parse(JSON.stringify(recoveryFile)) as unknown;
    await laptop.custody.recover(walletId, { file, opener: PASSPHRASE });
    expect(await isSignedBy(wallet.accounts[0].address, await sign(laptop, walletId))).toBe(true);
    expect(await codeOf(sign(phone, walletId))).toBe("SHARE_OUTDATED");
    // The file as well is of the old set, and the vault holds what is of this one.
    expect(await codeOf(laptop.custody.recover(walletId, { file, opener: PASSPHRASE }))).toBe("SHARE_UNEXPECTED");
  });
});

describe("a lost login", () => {
  test("takes nothing from the device: another login signs with it, shares anew, and takes the lost one away", async () => {
    const { wallet } = await phone.custody.createWallet({ kind: "hd" });
    const { walletId, custody } = wallet;
    const again = await deviceOf(simulator, client, appId, work, phone.store);
    expect(await isSignedBy(wallet.accounts[0].address, await sign(again, walletId))).toBe(true);
    await again.custody.reshare(walletId);
    const [shared] = (await again.session.listWallets()).wallets;
    expect(shared?.custody).not.toEqual(custody);
    const lost = (await again.session.account.listIdentities()).find(({ subject }) => subject === home);
    await again.session.account.unlinkIdentity(lost?.identityId ?? "");
    expect(await isSignedBy(wallet.accounts[0].address, await sign(again, walletId))).toBe(true);
  });
});

describe("an operator who is gone", () => {
  test("is not needed: the device's share and the recovery file give the key", async () => {
    const store = deviceFileStore(folder, { passphrase: null });
    const device = await laptopOf(home, store);
    const { wallet, recoveryFile } = await device.custody.createWallet({ kind: "single-key" }, PASSPHRASE);
    const share = await device.custody.shareOf(wallet.walletId);
    const { kind, bytes } = await rebuildSecret(share, await openRecoveryFile(recoveryFile, PASSPHRASE));
    expect(kind).toEqual({ kind: "single-key", curve: "secp256k1" });
    const { address } = privateKeyToAccount(`0x${Buffer.from(bytes).toString("hex")}`);
    expect(address).toBe(wallet.accounts[0].address);
  });

  test("is not needed: cloister recover gives the words, and says what does not fit", async () => {
    const store = deviceFileStore(folder, { passphrase: "of this device" });
    const device = await laptopOf(home, store);
    const pair = await generateShareKey(true);
    const recovery = { kind: "public-key", publicKey: await sharePublicKeyOf(pair) } as const;
    const { wallet, recoveryFile } = await device.custody.createWallet({ kind: "hd", words: 24 }, recovery);
    const files = {
      recovery: JSON.stringify(recoveryFile),
      key: JSON.stringify(await crypto.subtle.exportKey("jwk", pair.privateKey)),
      passphrase: "of this device\n",
    };
    const paths = Object.fromEntries(Object.keys(files).map((name) => [name, join(folder, name)]));
    for (const [name, text] of Object.entries(files)) await writeFile(paths[name] ?? "", text, { mode: 0o600 });
    const cli = async (deviceFile: string) => {
      const args = ["--recovery", paths["recovery"] ?? "", "--recovery-key", paths["key"] ?? ""];
      const more = ["--device", deviceFile, "--device-passphrase-file", paths["passphrase"] ?? ""];
      return called((says) =>
        recoverCommand([...args, ...more], { ...says, read: (path) => readFile(path), nowMs: Date.now }),
      );
    };
    const done = await cli(join(folder, `${wallet.walletId}.json`));
    expect(done.status).toBe(0);
    expect(done.out.trim().split(" ").length).toBe(24);
    expect(mnemonicToAccount(done.out.trim()).address).toBe(wallet.accounts[0].address);
    expect(done.err).toContain(wallet.accounts[0].address);
    const other = (await device.custody.createWallet({ kind: "hd" })).wallet.walletId;
    expect(await cli(join(folder, `${other}.json`))).toMatchObject({ status: 1, out: "" });
    expect((await cli(join(folder, `${other}.json`))).err).toContain("SHARES_OF_TWO_WALLETS");
    expect((await cli(join(folder, "absent.json"))).err).toContain("KEY_FILE_UNREADABLE");
    expect(await recoverCommand([], { ...processIo, err: () => undefined })).toBe(2);
  });
});
