import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openBlob, sealBlob } from "../../../simulator/kms/ciphertext-blob.ts";
import { KeyStore } from "../../../simulator/kms/key-store.ts";
import { OPEN_POLICY } from "./harness.ts";

const CHANGED_POLICY = JSON.stringify(OPEN_POLICY).replace("Account", "Changed");
const OWNER = { region: "eu-west-1", accountId: "123456789012" };
const NOW_MS = 1_790_000_000_000;
const context = new Map([["a", "b"]]);

let folder = "";
let storeFile = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kms-store-"));
  storeFile = join(folder, "keys.json");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const open = (owner = OWNER) => new KeyStore({ ...owner, storeFile });

test("keys and policies survive, and old blobs open", () => {
  const store = open();
  const key = store.create({ keyId: "vault", policy: OPEN_POLICY, nowMs: NOW_MS });
  const other = store.create({ policy: OPEN_POLICY, nowMs: NOW_MS });
  const blob = sealBlob(key, Buffer.from("secret"), context);
  store.putPolicy(key.arn, CHANGED_POLICY);

  const again = open();
  expect(again.arns()).toEqual([key.arn, other.arn]);
  expect(other.arn).toMatch(/^arn:aws:kms:eu-west-1:123456789012:key\/[0-9a-f-]{36}$/);
  expect(again.find("vault")).toMatchObject({ arn: key.arn, createdMs: NOW_MS, policy: { text: CHANGED_POLICY } });
  expect(openBlob(again.find(key.arn), blob, context).plaintext.toString()).toBe("secret");
});

test("the file is its owner's alone, and no half-written one is left", () => {
  const store = open();
  store.create({ keyId: "a", policy: OPEN_POLICY, nowMs: NOW_MS });
  writeFileSync(storeFile, readFileSync(storeFile), { mode: 0o644 });
  store.create({ keyId: "b", policy: OPEN_POLICY, nowMs: NOW_MS });
  expect(statSync(storeFile).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder)).toEqual(["keys.json"]);
});

test("what cannot be written is not there either", () => {
  const store = open();
  store.create({ keyId: "a", policy: OPEN_POLICY, nowMs: NOW_MS });
  rmSync(folder, { recursive: true });
  expect(() => store.create({ keyId: "b", policy: OPEN_POLICY, nowMs: NOW_MS })).toThrow(/ENOENT/);
  expect(() => store.putPolicy("a", CHANGED_POLICY)).toThrow(/ENOENT/);
  expect(store.arns()).toHaveLength(1);
  expect(store.find("a").policy.text).toBe(JSON.stringify(OPEN_POLICY));
});

describe("refusals", () => {
  const refused = (code: string) => expect.objectContaining({ code });

  test("keys", () => {
    const store = open();
    const create = (keyId: string) => store.create({ keyId, policy: OPEN_POLICY, nowMs: NOW_MS });
    create("a");
    expect(() => create("a")).toThrow(refused("AlreadyExistsException"));
    for (const keyId of ["", "a/b", "alias/x", "ä", "x".repeat(65)]) {
      expect(() => create(keyId)).toThrow(refused("ValidationException"));
    }
    expect(() => store.create({ policy: "{}", nowMs: NOW_MS })).toThrow(refused("MalformedPolicyDocumentException"));
    expect(() => store.putPolicy("a", "{}")).toThrow(refused("MalformedPolicyDocumentException"));
    expect(() => store.putPolicy("b", OPEN_POLICY)).toThrow(refused("NotFoundException"));
    expect(store.arns()).toHaveLength(1);
  });

  test.each([
    "b",
    "alias/a",
    "arn:aws:kms:eu-west-1:123456789012:key/b",
    "arn:aws:kms:eu-west-1:123456789012:alias/a",
    "arn:aws:kms:eu-west-2:123456789012:key/a",
    "arn:aws:kms:eu-west-1:210987654321:key/a",
    "key/a",
  ])("no key is called %s", (name) => {
    const store = open();
    store.create({ keyId: "a", policy: OPEN_POLICY, nowMs: NOW_MS });
    expect(() => store.find(name)).toThrow(refused("NotFoundException"));
  });

  test("the store of another account or region", () => {
    open().create({ policy: OPEN_POLICY, nowMs: NOW_MS });
    for (const owner of [
      { ...OWNER, region: "eu-west-2" },
      { ...OWNER, accountId: "210987654321" },
    ]) {
      expect(() => open(owner)).toThrow(refused("STORE_OF_ANOTHER_ACCOUNT"));
    }
  });

  test.each([
    ["cut", (text: string) => text.slice(0, -10)],
    ["empty", () => ""],
    ["a list", () => "[]"],
    ["another format", (text: string) => text.replace("store v2", "store v3")],
    ["no keys", (text: string) => text.replace('"keys"', '"keyz"')],
    ["a short secret", (text: string) => text.replace(/("secret": ")../, "$1")],
    ["a secret that is no hex", (text: string) => text.replace(/("secret": ")./, "$1x")],
    ["a malformed policy", (text: string) => text.replace("2012-10-17", "2012-10-18")],
    ["a malformed key id", (text: string) => text.replace('"keyId": "a"', '"keyId": "a/"')],
    ["a key twice", (text: string) => text.replace('"keyId": "b"', '"keyId": "a"')],
    ["a field of another type", (text: string) => text.replace(/"createdMs": \d+/, '"createdMs": "1"')],
  ])("a file that is %s is refused and left as it was", (_what, damage) => {
    const store = open();
    for (const keyId of ["a", "b"]) store.create({ keyId, policy: OPEN_POLICY, nowMs: NOW_MS });
    const damaged = damage(readFileSync(storeFile, "utf8"));
    writeFileSync(storeFile, damaged);
    expect(() => open()).toThrow(refused("STORE_MALFORMED"));
    expect(readFileSync(storeFile, "utf8")).toBe(damaged);
  });

  test("a file that cannot be read", () => {
    expect(() => new KeyStore({ ...OWNER, storeFile: folder })).toThrow(refused("STORE_UNREADABLE"));
  });
});

describe("blobs", () => {
  const store = new KeyStore({ ...OWNER, storeFile: null });
  const key = store.create({ keyId: "a", policy: OPEN_POLICY, nowMs: NOW_MS });
  const other = store.create({ keyId: "b", policy: OPEN_POLICY, nowMs: NOW_MS });
  const blob = sealBlob(key, Buffer.from("secret"), new Map([...context, ["c", "d"]]));
  const refused = expect.objectContaining({ code: "InvalidCiphertextException" });

  test("the order of the encryption context makes no difference, everything else does", () => {
    expect(openBlob(key, blob, new Map([["c", "d"], ...context])).plaintext.toString()).toBe("secret");
    const others = [
      [],
      [["a", "b"]],
      [
        ["a", "b"],
        ["c", "D"],
      ],
      [
        ["a", "bc"],
        ["", "d"],
      ],
      [
        ["a", "b"],
        ["c", "d"],
        ["e", ""],
      ],
    ];
    for (const pairs of others as [string, string][][])
      expect(() => openBlob(key, blob, new Map(pairs))).toThrow(refused);
    expect(() => openBlob(other, blob, context)).toThrow(refused);
  });

  test("no bit of it can be changed, and no byte cut off or added", () => {
    const whole = new Map([...context, ["c", "d"]]);
    // The key id in it only says which key to take; the caller compares it.
    const keyIdAt = 5;
    for (let bit = 0; bit < blob.length * 8; bit += 1) {
      const changed = Buffer.from(blob);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      if (bit >> 3 !== keyIdAt) expect(() => openBlob(key, changed, whole)).toThrow(refused);
    }
    for (let size = 0; size < blob.length; size += 1) {
      expect(() => openBlob(key, blob.subarray(0, size), whole)).toThrow(refused);
    }
    expect(() => openBlob(key, Buffer.concat([blob, Buffer.of(0)]), whole)).toThrow(refused);
  });
});
