/** The store's formats, old and new, and its lock. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CreateAliasCommand,
  CreateGrantCommand,
  CreateKeyCommand,
  DecryptCommand,
  DescribeKeyCommand,
  EnableKeyRotationCommand,
  EncryptCommand,
  GetKeyRotationStatusCommand,
  GetPublicKeyCommand,
  ListGrantsCommand,
  ListResourceTagsCommand,
  RotateKeyOnDemandCommand,
  ScheduleKeyDeletionCommand,
  TagResourceCommand,
} from "@aws-sdk/client-kms";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openBlob, sealBlob } from "../../../simulator/kms/ciphertext-blob.ts";
import { KeyStore } from "../../../simulator/kms/key-store.ts";
import { lockStore } from "../../../simulator/kms/store-lock.ts";
import { ADMIN, ENCLAVE_ROLE, OPEN_POLICY, startForTest, startHarness } from "./harness.ts";

const OWNER = { region: "eu-west-1", accountId: "123456789012" };
const NOW_MS = 1_790_000_000_000;
const refused = (code: string) => expect.objectContaining({ code });

let folder = "";
let storeFile = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kms-file-"));
  storeFile = join(folder, "kms.json");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Written by the simulator before it knew rotation, with the blob that it made then. */
const V1 = {
  format: "cloister simulator KMS store v1: holds keys in the clear",
  ...OWNER,
  keys: [
    {
      keyId: "vault",
      createdMs: NOW_MS,
      policy: JSON.stringify({
        ...(OPEN_POLICY as object),
        Statement: [(OPEN_POLICY as { Statement: object }).Statement],
      }),
      backingKey: "a5d5f56e9a71761d984ac55fb7206576ba6c08195da20d68839baeea345778d9",
    },
  ],
};
const V1_BLOB = Buffer.from("Y3NrMQV2YXVsdG5SHfY2gnsuj/7nA6D4KekXvoHDrGosL+TwndJ5oMYy26o=", "base64");
const context = new Map([["a", "b"]]);

describe("a file of version 1", () => {
  const open = () => new KeyStore({ ...OWNER, storeFile });
  beforeEach(() => writeFileSync(storeFile, JSON.stringify(V1)));

  test("is read, and stays as it is until something changes", () => {
    const key = open().find("vault");
    expect(key).toMatchObject({ createdMs: NOW_MS, state: { name: "Enabled" }, rotation: null, grants: [] });
    expect(openBlob(key, V1_BLOB, context).plaintext.toString()).toBe("secret");
    // What is sealed before the file is written anew opens after it.
    const blob = sealBlob(key, Buffer.from("newer"), context);
    expect(JSON.parse(readFileSync(storeFile, "utf8"))).toEqual(V1);
    const store = open();
    store.putPolicy("vault", OPEN_POLICY);
    expect(readFileSync(storeFile, "utf8")).toContain("store v2");
    const again = open().find("vault");
    expect(openBlob(again, V1_BLOB, context).plaintext.toString()).toBe("secret");
    expect(openBlob(again, blob, context).plaintext.toString()).toBe("newer");
  });

  test("its blobs open after rotations too, and with their own key alone", async () => {
    const { kms, client } = await startForTest({ storeFile });
    const [KeyId] = kms.keyArns();
    await client(ADMIN).send(new RotateKeyOnDemandCommand({ KeyId }));
    const command = new DecryptCommand({ CiphertextBlob: V1_BLOB, EncryptionContext: { a: "b" } });
    expect(Buffer.from((await client(ADMIN).send(command)).Plaintext ?? []).toString()).toBe("secret");
    const other = kms.createKey({ policy: OPEN_POLICY });
    const wrong = client(ADMIN).send(new DecryptCommand({ ...command.input, KeyId: other }));
    await expect(wrong).rejects.toMatchObject({ name: "IncorrectKeyException" });
    const changed = Buffer.from(V1_BLOB);
    changed[0] = (changed[0] ?? 0) ^ 0x40;
    const broken = client(ADMIN).send(new DecryptCommand({ CiphertextBlob: changed, EncryptionContext: { a: "b" } }));
    await expect(broken).rejects.toMatchObject({ name: "InvalidCiphertextException" });
  });

  test.each([
    ["a key id that is none", { keys: [{ ...V1.keys[0], keyId: "a/b" }] }],
    ["a short key", { keys: [{ ...V1.keys[0], backingKey: "00" }] }],
    ["no keys", { keys: undefined }],
  ])("with %s is refused", (_what, change) => {
    writeFileSync(storeFile, JSON.stringify({ ...V1, ...change }));
    expect(open).toThrow(refused("STORE_MALFORMED"));
  });
});

test("everything survives a restart", async () => {
  const before = await startHarness({ storeFile });
  const admin = before.client(ADMIN);
  const { KeyMetadata } = await admin.send(new CreateKeyCommand({ Description: "vault", MultiRegion: true }));
  const KeyId = KeyMetadata?.Arn;
  const pair = await admin.send(new CreateKeyCommand({ KeySpec: "ECC_NIST_P256", KeyUsage: "KEY_AGREEMENT" }));
  const CiphertextBlob = (await admin.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from("secret") })))
    .CiphertextBlob;
  await admin.send(new RotateKeyOnDemandCommand({ KeyId }));
  await admin.send(new EnableKeyRotationCommand({ KeyId, RotationPeriodInDays: 100 }));
  await admin.send(new TagResourceCommand({ KeyId, Tags: [{ TagKey: "a", TagValue: "b" }] }));
  await admin.send(new CreateAliasCommand({ AliasName: "alias/vault", TargetKeyId: KeyId }));
  const terms = { KeyId, GranteePrincipal: ENCLAVE_ROLE, RetiringPrincipal: ADMIN.arn, Name: "n" };
  for (const Constraints of [{ EncryptionContextSubset: { x: "y" } }, { EncryptionContextEquals: {} }, undefined]) {
    await admin.send(new CreateGrantCommand({ ...terms, Operations: ["Decrypt"], Constraints }));
  }
  const doomed = before.kms.createKey({ policy: OPEN_POLICY });
  await admin.send(new ScheduleKeyDeletionCommand({ KeyId: doomed }));
  const look = async (client: typeof admin) => {
    const answers = await Promise.all([
      client.send(new DescribeKeyCommand({ KeyId: "alias/vault" })),
      client.send(new DescribeKeyCommand({ KeyId: doomed })),
      client.send(new ListGrantsCommand({ KeyId })),
      client.send(new GetKeyRotationStatusCommand({ KeyId })),
      client.send(new ListResourceTagsCommand({ KeyId })),
      client.send(new GetPublicKeyCommand({ KeyId: pair.KeyMetadata?.KeyId })),
      client.send(new DecryptCommand({ CiphertextBlob })),
    ]);
    return answers.map(({ $metadata: _metadata, ...answer }) => answer);
  };
  const seen = await look(admin);
  await before.kms.close();
  const after = await startForTest({ storeFile });
  expect(await look(after.client(ADMIN))).toEqual(seen);
});

describe("the lock", () => {
  test("a second simulator is told who has the file", async () => {
    const first = await startHarness({ storeFile });
    await expect(startHarness({ storeFile })).rejects.toMatchObject({
      code: "STORE_IN_USE",
      message: expect.stringMatching(new RegExp(`in use by process ${process.pid}, since 20`)),
    });
    await first.kms.close();
    await startForTest({ storeFile });
  });

  test("a start that fails lets go of it", async () => {
    writeFileSync(storeFile, "{}");
    await expect(startHarness({ storeFile })).rejects.toMatchObject({ code: "STORE_MALFORMED" });
    rmSync(storeFile);
    const { kms } = await startForTest({ storeFile });
    await expect(startHarness({ storeFile: join(folder, "other"), port: kms.port })).rejects.toMatchObject({
      code: "EADDRINUSE",
    });
    (await lockStore(join(folder, "other"), "me"))();
  });

  test("ends with the process that held it, however that ended", async () => {
    const holder = spawn(process.execPath, [
      "--input-type=module-typescript",
      "--eval",
      `import { lockStore } from "./simulator/kms/store-lock.ts";
       await lockStore(${JSON.stringify(storeFile)}, "the child");
       process.stdout.write("locked");
       setInterval(() => {}, 1000);`,
    ]);
    await once(holder.stdout, "data");
    await expect(lockStore(storeFile, "me")).rejects.toMatchObject({
      ...{ code: "STORE_IN_USE", message: expect.stringContaining("in use by the child") },
    });
    holder.kill("SIGKILL");
    await once(holder, "close");
    expect(existsSync(`${storeFile}.holder`)).toBe(true);
    const unlock = await lockStore(storeFile, "me");
    expect(readFileSync(`${storeFile}.holder`, "utf8")).toBe("me\n");
    unlock();
    expect(existsSync(`${storeFile}.holder`)).toBe(false);
  });

  test("no folder, no lock", async () => {
    await expect(lockStore(join(folder, "none", "kms.json"), "me")).rejects.toMatchObject({ code: "STORE_UNREADABLE" });
  });
});
