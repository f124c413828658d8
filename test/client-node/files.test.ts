/** Keys and sessions in files: who may read them, what a wrong passphrase shows, and that nothing is overwritten. */
import { generateKeyPairSync } from "node:crypto";
import { chmod, chown, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { generateStampPair, type StampKey, type StoredSession, stampKeyOf } from "../../client/index.ts";
import {
  createKeyFile,
  fileStore,
  openKeyFile,
  publicKeyOfFile,
  stampKeyFromKeyObject,
} from "../../client-node/index.ts";
import { readPrivateFile } from "../../client-node/private-file.ts";
import { StampVerifier } from "../../enclave/auth/verify-stamp.ts";
import { encodeHex } from "../../protocol/index.ts";

let folder: string;
let file: string;
let publicKey: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "cloister-test-"));
  file = join(folder, "key");
  publicKey = await createKeyFile(file, "long enough");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function isGood(key: StampKey): Promise<boolean> {
  const body = new TextEncoder().encode("body");
  const { scheme, publicKey } = key;
  return new StampVerifier().verify({ scheme, publicKey, signature: await key.sign(body) }, body);
}

const never = () => Promise.reject(new Error("nobody should be asked"));

describe("a key file", () => {
  test("opens with its passphrase, in either Unicode form, and stamps", async () => {
    const key = await openKeyFile(file, async () => "long enough");
    expect(encodeHex(key.publicKey)).toBe(publicKey);
    expect(await isGood(key)).toBe(true);
    expect(await publicKeyOfFile(file)).toBe(publicKey);
    const accented = join(folder, "accented");
    await createKeyFile(accented, "caf\u00e9 caf\u00e9");
    await expect(openKeyFile(accented, async () => "cafe\u0301 cafe\u0301")).resolves.toBeDefined();
  });

  test("is refused by code", async () => {
    const code = (name: string) => expect.objectContaining({ name: "KeyFileError", code: name });
    await expect(openKeyFile(file, async () => "something else")).rejects.toEqual(code("PASSPHRASE_WRONG"));
    await expect(createKeyFile(file, "long enough")).rejects.toEqual(code("KEY_FILE_EXISTS"));
    await expect(createKeyFile(join(folder, "no", "such"), "x")).rejects.toEqual(code("KEY_FILE_UNREADABLE"));
    await expect(openKeyFile(join(folder, "absent"), never)).rejects.toEqual(code("KEY_FILE_UNREADABLE"));
    for (const text of ["", "{}", "null", '{"kty":"EC"}', "x".repeat(70_000)]) {
      const other = join(folder, "other");
      await writeFile(other, text, { mode: 0o600 });
      await expect(openKeyFile(other, never)).rejects.toEqual(code("KEY_FILE_MALFORMED"));
    }
    await chmod(file, 0o640);
    await expect(openKeyFile(file, never)).rejects.toEqual(code("KEY_FILE_EXPOSED"));
    await chmod(file, 0o600);
  });

  test("with another public key, or a cheaper way to its own, does not open", async () => {
    const json = JSON.parse(await readFile(file, "utf8")) as { publicKey: string; sealed: { kdf: object } };
    const changes = [
      { ...json, publicKey: `02${"11".repeat(32)}` },
      { ...json, sealed: { ...json.sealed, kdf: { ...json.sealed.kdf, N: 2 ** 14 } } },
    ];
    for (const changed of changes) {
      const other = join(folder, "changed");
      await writeFile(other, JSON.stringify(changed), { mode: 0o600 });
      await expect(openKeyFile(other, async () => "long enough")).rejects.toMatchObject({ code: "PASSPHRASE_WRONG" });
    }
  });
});

test("a file of another user's is refused, one of root's is not", async () => {
  const path = join(folder, "owned");
  await writeFile(path, "text", { mode: 0o600 });
  const { uid } = await stat(path);
  expect(await readPrivateFile(path, uid)).toBe("text");
  // Only root can give a file away; everybody can read as if they were somebody else.
  const ourUid = uid === 0 ? 0 : uid + 1;
  if (uid === 0) {
    expect(await readPrivateFile(path, 1234)).toBe("text");
    await chown(path, 1234, 1234);
  }
  await expect(readPrivateFile(path, ourUid)).rejects.toMatchObject({ code: "KEY_FILE_EXPOSED" });
});

describe("a session's file", () => {
  async function session(): Promise<StoredSession> {
    const ids = { deployment: "test", appId: "app_1", sessionId: "ses_1", userId: "usr_1" };
    return { ...ids, expiresAtMs: 1_790_000_000_000, lifetimeMs: 900_000, pair: await generateStampPair(true) };
  }

  test.each([null, "long enough"])("keeps a session for its owner alone, with passphrase %s", async (passphrase) => {
    const path = join(folder, `session-${passphrase}`);
    const store = fileStore(path, { passphrase });
    expect(await store.load()).toBeNull();
    for (let time = 0; time < 2; time += 1) {
      const saved = await session();
      await store.save(saved);
      const loaded = await store.load();
      expect({ ...loaded, pair: null }).toEqual({ ...saved, pair: null });
      if (loaded === null) throw new Error("nothing was loaded");
      const key = await stampKeyOf(loaded.pair);
      expect(encodeHex(key.publicKey)).toBe(encodeHex((await stampKeyOf(saved.pair)).publicKey));
      expect(await isGood(key)).toBe(true);
    }
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(/"d":/.test(await readFile(path, "utf8"))).toBe(passphrase === null);
    expect((await readdir(folder)).filter((name) => name.startsWith(`session-${passphrase}`))).toHaveLength(1);
    await store.clear();
    expect(await store.load()).toBeNull();
  });

  test("is refused by code", async () => {
    const path = join(folder, "refused");
    await fileStore(path, { passphrase: "long enough" }).save(await session());
    await expect(fileStore(path, { passphrase: "something else" }).load()).rejects.toMatchObject({
      code: "PASSPHRASE_WRONG",
    });
    await rm(path);
    await fileStore(path, { passphrase: null }).save(await session());
    await expect(fileStore(path, { passphrase: "long enough" }).load()).rejects.toMatchObject({
      code: "KEY_FILE_MALFORMED",
    });
    await writeFile(path, "{}", { mode: 0o600 });
    await expect(fileStore(path, { passphrase: null }).load()).rejects.toMatchObject({ code: "KEY_FILE_MALFORMED" });
    await chmod(path, 0o644);
    await expect(fileStore(path, { passphrase: null }).load()).rejects.toMatchObject({ code: "KEY_FILE_EXPOSED" });
  });
});

test("keys by node:crypto stamp under every scheme; others are refused", async () => {
  const keys = [
    generateKeyPairSync("ec", { namedCurve: "P-256" }),
    generateKeyPairSync("ec", { namedCurve: "secp256k1" }),
    generateKeyPairSync("ed25519"),
  ];
  for (const { privateKey } of keys) expect(await isGood(stampKeyFromKeyObject(privateKey))).toBe(true);
  for (const { privateKey } of [generateKeyPairSync("x25519"), generateKeyPairSync("ec", { namedCurve: "P-384" })]) {
    expect(() => stampKeyFromKeyObject(privateKey)).toThrow(TypeError);
  }
});
