/** A device's share and a recovery file, without an enclave: what opens them, and what does not. */
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  Custody,
  type CustodyErrorCode,
  type DeviceStore,
  memoryDeviceStore,
  openRecoveryFile,
  type RecoveryFile,
} from "../../client/index.ts";
import { recipientOf } from "../../client/recovery-file.ts";
import { deviceFileStore, openDeviceShare } from "../../client-node/index.ts";
import { encodeBase64url, generateShareKey, sealShare, sharePublicKeyOf } from "../../protocol/index.ts";

const WALLET = `wal_${"ab".repeat(16)}`;
const AUDIENCE = "test/app_1";
const SHARE = new Uint8Array(100).fill(7);
const PASSPHRASE = { kind: "passphrase", passphrase: "long enough" } as const;

const refused = (code: CustodyErrorCode) => expect.objectContaining({ name: "CustodyError", code });

function custodyOver(store: DeviceStore): Custody {
  const call = () => Promise.reject(new Error("nobody is asked"));
  return new Custody({ deployment: "test", appId: "app_1", call, store });
}

async function fileFor(recipient: Parameters<typeof recipientOf>[0]): Promise<RecoveryFile> {
  const to = await recipientOf(recipient);
  const share = await sealShare(to.publicKey, { audience: AUDIENCE, walletId: WALLET, role: "recovery" }, SHARE);
  const head = { kind: "cloister-recovery-share", version: 1, audience: AUDIENCE, walletId: WALLET } as const;
  return { ...head, recipient: to.recipient, share };
}

describe("a recovery file", () => {
  test("opens with its passphrase, in either Unicode form, and with no other", async () => {
    const file = await fileFor({ kind: "passphrase", passphrase: "caf\u00e9 caf\u00e9" });
    const opened = await openRecoveryFile(file, { kind: "passphrase", passphrase: "cafe\u0301 cafe\u0301" });
    expect(opened).toBe(encodeBase64url(SHARE));
    const notOpened = refused("RECOVERY_FILE_NOT_OPENED");
    await expect(openRecoveryFile(file, PASSPHRASE)).rejects.toEqual(notOpened);
    const pair = await generateShareKey(false);
    await expect(openRecoveryFile(file, { kind: "key", pair })).rejects.toEqual(notOpened);
  });

  test("opens with its key, and not once it was changed", async () => {
    const pair = await generateShareKey(false);
    const file = await fileFor({ kind: "public-key", publicKey: await sharePublicKeyOf(pair) });
    expect(await openRecoveryFile(file, { kind: "key", pair })).toBe(encodeBase64url(SHARE));
    const notOpened = refused("RECOVERY_FILE_NOT_OPENED");
    await expect(openRecoveryFile(file, PASSPHRASE)).rejects.toEqual(notOpened);
    for (const change of [{ walletId: `wal_${"00".repeat(16)}` }, { audience: "test/app_2" }, { share: "AAAA" }]) {
      await expect(openRecoveryFile({ ...file, ...change }, { kind: "key", pair })).rejects.toEqual(notOpened);
    }
  });

  test("is malformed in no other way than that is said, and makes nobody work more than scrypt's cost", async () => {
    const file = await fileFor({ kind: "public-key", publicKey: "aa".repeat(32) });
    const kdf = { name: "scrypt", N: 2 ** 30, r: 8, p: 1, salt: "A".repeat(22) };
    for (const wrong of [
      ...[null, {}, "", { ...file, version: 2 }, { ...file, more: 1 }, { ...file, share: "!" }],
      { ...file, recipient: { kind: "passphrase", kdf } },
    ]) {
      await expect(openRecoveryFile(wrong, PASSPHRASE)).rejects.toEqual(refused("RECOVERY_FILE_MALFORMED"));
    }
  });

  test("wants a passphrase that is not guessed in an afternoon", async () => {
    await expect(recipientOf({ kind: "passphrase", passphrase: "short" })).rejects.toThrow(TypeError);
  });
});

describe("a device", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "cloister-test-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const stores: readonly (readonly [string, () => DeviceStore])[] = [
    ["memory", memoryDeviceStore],
    ["a file", () => deviceFileStore(folder, { passphrase: null })],
    ["an encrypted file", () => deviceFileStore(folder, { passphrase: "of this device" })],
  ];

  test.each(stores)("keeps in %s what another hands over, until it forgets", async (_where, make) => {
    const store = make();
    const device = custodyOver(store);
    const missing = refused("DEVICE_SHARE_MISSING");
    await expect(device.shareOf(WALLET)).rejects.toEqual(missing);
    await expect(device.acceptShare(WALLET, "AAAA")).rejects.toEqual(missing);
    const address = { audience: AUDIENCE, walletId: WALLET, role: "device" } as const;
    const sealed = await sealShare(await device.expectShare(WALLET), address, SHARE);
    await expect(device.shareOf(WALLET)).rejects.toEqual(missing);
    await device.acceptShare(WALLET, sealed);
    expect(await device.shareOf(WALLET)).toBe(encodeBase64url(SHARE));
    // Another app of the same deployment, in the same store, has none of it.
    const call = () => Promise.reject(new Error("nobody is asked"));
    const elsewhere = new Custody({ deployment: "test", appId: "app_2", call, store });
    await expect(elsewhere.shareOf(WALLET)).rejects.toEqual(missing);
    await device.forget(WALLET);
    await expect(device.shareOf(WALLET)).rejects.toEqual(missing);
  });

  test("does not accept what is not for it, and then goes on waiting", async () => {
    const device = custodyOver(memoryDeviceStore());
    await device.expectShare(WALLET);
    const other = await sharePublicKeyOf(await generateShareKey(false));
    const foreign = await sealShare(other, { audience: AUDIENCE, walletId: WALLET, role: "device" }, SHARE);
    await expect(device.acceptShare(WALLET, foreign)).rejects.toMatchObject({ code: "SHARE_NOT_OPENED" });
    await expect(device.shareOf(WALLET)).rejects.toEqual(refused("DEVICE_SHARE_MISSING"));
  });

  test("has a file that others cannot read, that a wrong passphrase does not open, and that was not put there", async () => {
    const path = join(folder, `${WALLET}.json`);
    const address = { audience: AUDIENCE, walletId: WALLET, role: "device" } as const;
    const device = custodyOver(deviceFileStore(folder, { passphrase: "of this device" }));
    await device.acceptShare(WALLET, await sealShare(await device.expectShare(WALLET), address, SHARE));
    const code = (name: string) => expect.objectContaining({ name: "KeyFileError", code: name });
    const wrong = custodyOver(deviceFileStore(folder, { passphrase: "another" }));
    await expect(wrong.shareOf(WALLET)).rejects.toEqual(code("PASSPHRASE_WRONG"));
    expect(await openDeviceShare(path, async () => "of this device")).toBe(encodeBase64url(SHARE));
    const text = await readFile(path, "utf8");
    await writeFile(path, text.replace("app_1", "app_2"));
    await expect(openDeviceShare(path, async () => "of this device")).rejects.toEqual(code("PASSPHRASE_WRONG"));
    await writeFile(path, "{}");
    await expect(openDeviceShare(path, async () => "")).rejects.toEqual(code("KEY_FILE_MALFORMED"));
    await writeFile(path, text);
    await chmod(path, 0o644);
    await expect(device.shareOf(WALLET)).rejects.toEqual(code("KEY_FILE_EXPOSED"));
    await chmod(path, 0o600);
    const careless = custodyOver(deviceFileStore(folder, { passphrase: null }));
    // What cannot be read is not written over: it may hold the share.
    await expect(careless.expectShare(WALLET)).rejects.toEqual(code("PASSPHRASE_WRONG"));
    expect(await readFile(path, "utf8")).toBe(text);
    // One that is not encrypted may have been put there by somebody who does not know the passphrase.
    await rm(path);
    await careless.expectShare(WALLET);
    await expect(device.shareOf(WALLET)).rejects.toEqual(code("KEY_FILE_MALFORMED"));
    await expect(openDeviceShare(join(folder, "absent"), async () => "")).rejects.toEqual(code("KEY_FILE_UNREADABLE"));
    await expect(custodyOver(deviceFileStore(folder, { passphrase: null })).shareOf("../../etc")).rejects.toThrow(
      TypeError,
    );
  });
});
