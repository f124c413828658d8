/** `cloister admin` as administrators run it: two of three, who never meet, and an enclave that counts them itself. */
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeHex, type Params } from "../../protocol/index.ts";
import { type Simulator, startSimulator } from "../../simulator/index.ts";
import { appParams } from "../support/app.ts";
import { generateKeyOf } from "../support/app-requests.ts";
import { enclaveOptions, startCloister } from "../support/cloister-process.ts";

const PASSPHRASE = "correct horse battery";

let folder: string;
let simulator: Simulator;
let trust: string[];
let names = 0;

async function admin(args: readonly string[], env: Readonly<Record<string, string>> = { PASS: PASSPHRASE }) {
  const { exitCode, out, err } = startCloister(["admin", ...args], env);
  return { code: await exitCode, out: out(), err: err() };
}

const inFolder = (name: string) => join(folder, name);
function fresh(name: string): string {
  names += 1;
  return inFolder(`${names}-${name}`);
}
const PASS = ["--passphrase-env", "PASS"];

async function fileOf(json: unknown): Promise<string> {
  const path = fresh("params.json");
  await writeFile(path, JSON.stringify(json));
  return path;
}

/** The file of a request to make an app, which nobody has stamped yet. */
async function prepared(changes: Partial<Params<"create_app">> = {}): Promise<string> {
  const [params, request] = [await fileOf(appParams(simulator, changes)), fresh("request.json")];
  const options = ["--params", params, "--deployment", simulator.deployment, "--out", request];
  expect(await admin(["prepare", "create_app", ...options])).toMatchObject({ code: 0 });
  return request;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "cloister-test-"));
  const publicKeys: string[] = [];
  for (const name of ["alice.key", "bob.key"]) {
    const { out, code, err } = await admin(["init", inFolder(name), ...PASS]);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    publicKeys.push(out.trim());
  }
  simulator = await startSimulator({
    stateFolder: inFolder("state"),
    administrators: { threshold: 2, alsoPublicKeys: publicKeys },
  });
  trust = await enclaveOptions(simulator, folder);
}, 60_000);
afterAll(async () => {
  await simulator?.stop();
  await rm(folder, { recursive: true, force: true });
});

describe("a key", () => {
  test("is encrypted, its owner's alone, and never written over", async () => {
    const path = inFolder("alice.key");
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const before = await readFile(path, "utf8");
    expect(JSON.parse(before)).toMatchObject({ kind: "cloister-key", sealed: { kdf: { name: "scrypt", N: 131_072 } } });
    expect(before).not.toMatch(/"d"/);
    expect((await admin(["public-key", path])).out.trim()).toMatch(/^0[23][0-9a-f]{64}$/);
    expect(await admin(["init", path, ...PASS])).toMatchObject({
      code: 1,
      err: expect.stringContaining("KEY_FILE_EXISTS"),
    });
    expect(await readFile(path, "utf8")).toBe(before);
  });

  test("needs its passphrase, and one worth the name", async () => {
    const args = ["list-apps", ...trust, "--key", inFolder("alice.key"), ...PASS];
    expect(await admin(args, { PASS: "wrong horse" })).toMatchObject({
      code: 2,
      err: expect.stringContaining("not this passphrase"),
    });
    expect(await admin(["init", fresh("x.key"), ...PASS], { PASS: "short" })).toMatchObject({ code: 2 });
    expect(await admin(["init", fresh("x.key")])).toMatchObject({
      code: 2,
      err: expect.stringContaining("no terminal"),
    });
    expect(await admin(["init", fresh("x.key"), "--passphrase-env", "NOT_SET"])).toMatchObject({ code: 2 });
    const file = fresh("passphrase");
    await writeFile(file, `${PASSPHRASE}\nsecond line\n`);
    expect(await admin(["init", fresh("y.key"), "--passphrase-file", file])).toMatchObject({ code: 0 });
  });
});

describe("two of three administrators", () => {
  test("who never meet: one prepares, both stamp, anybody sends, and once only", async () => {
    const request = await prepared({ name: "by two" });
    const [ofAlice, ofBob] = [fresh("alice.json"), fresh("bob.json")];
    const shown = await admin(["stamp", request, "--key", inFolder("alice.key"), "--out", ofAlice, ...PASS]);
    expect(shown).toMatchObject({ code: 0, err: expect.stringContaining('"name": "by two"') });
    expect(await admin(["stamp", request, "--key", inFolder("bob.key"), "--out", ofBob, ...PASS])).toMatchObject({
      code: 0,
    });
    expect(await admin(["send", ofAlice, ...trust])).toMatchObject({
      code: 1,
      err: expect.stringContaining("NOT_ENOUGH_ADMINISTRATORS"),
    });
    const sent = await admin(["send", ofAlice, ofBob, ...trust]);
    expect(sent).toMatchObject({ code: 0, out: expect.stringMatching(/"appId": "app_[0-9a-f]{32}"/) });
    expect(await admin(["send", ofAlice, ofBob, ...trust])).toMatchObject({
      code: 1,
      err: expect.stringContaining("REQUEST_REPLAYED"),
    });
  });

  test("cannot be one who stamps twice", async () => {
    const request = await prepared();
    const [once, twice] = [fresh("once.json"), fresh("twice.json")];
    const key = ["--key", inFolder("alice.key"), ...PASS];
    expect(await admin(["stamp", request, ...key, "--out", once])).toMatchObject({ code: 0 });
    expect(await admin(["stamp", once, ...key, "--out", twice])).toMatchObject({ code: 0 });
    expect(await admin(["send", twice, ...trust])).toMatchObject({
      code: 1,
      err: expect.stringContaining("NOT_ENOUGH_ADMINISTRATORS: 1 of 2"),
    });
  });

  test("cannot have stamped two requests", async () => {
    const files: string[] = [];
    for (const name of ["alice", "bob"]) {
      const request = await prepared({ name });
      const stamped = fresh("stamped.json");
      await admin(["stamp", request, "--key", inFolder(`${name}.key`), "--out", stamped, ...PASS]);
      files.push(stamped);
    }
    expect(await admin(["send", ...files, ...trust])).toMatchObject({
      code: 2,
      err: expect.stringContaining("different"),
    });
    // Whoever joins them by hand gets no further: a stamp over the other body is no stamp.
    const [one, two] = await Promise.all(
      files.map(async (file) => JSON.parse(await readFile(file, "utf8")) as { stamps: string[] }),
    );
    const joined = await fileOf({ ...one, stamps: [...(one?.stamps ?? []), ...(two?.stamps ?? [])] });
    expect(await admin(["send", joined, ...trust])).toMatchObject({
      code: 1,
      err: expect.stringContaining("STAMP_INVALID"),
    });
  });

  test("with both keys at hand make, show, change and list apps, and rotate a key", async () => {
    const keys = ["--key", inFolder("alice.key"), "--key", inFolder("bob.key"), ...PASS];
    const backend = generateKeyOf("SIGNATURE_SCHEME_TK_API_P256");
    const permissions = { operations: ["create_wallet"], wallets: null, chains: null };
    const apiKey = { scheme: backend.scheme, publicKey: encodeHex(backend.publicKey), permissions, expiresAtMs: null };
    const params = await fileOf(appParams(simulator, { name: "whole" }));
    const made = await admin(["create-app", ...trust, ...keys, "--params", params]);
    expect(made).toMatchObject({ code: 0 });
    const { appId } = JSON.parse(made.out) as { appId: string };
    const shown = JSON.parse((await admin(["get-app", appId, ...trust, ...keys])).out) as {
      version: number;
      app: object;
    };
    expect(shown).toMatchObject({ version: 1, app: { name: "whole", apiKeys: [] } });
    const changed = await fileOf({ ...shown.app, apiKeys: [{ name: "backend", ...apiKey }] });
    const update = ["update-app", appId, ...trust, ...keys, "--params", changed, "--expected-version"];
    expect(JSON.parse((await admin([...update, "1"])).out)).toEqual({ appId, version: 2 });
    expect(await admin([...update, "7"])).toMatchObject({
      code: 1,
      err: expect.stringContaining("APP_VERSION_CONFLICT"),
    });
    const next = generateKeyOf("SIGNATURE_SCHEME_TK_API_SECP256K1");
    const rotation = await fileOf({
      ...{ expectedVersion: 2, name: "backend", overlapS: 60 },
      ...{ scheme: next.scheme, publicKey: encodeHex(next.publicKey) },
    });
    const rotated = await admin(["rotate-app-key", appId, ...trust, ...keys, "--params", rotation]);
    expect(JSON.parse(rotated.out)).toEqual({ appId, version: 3 });
    expect((await admin(["list-apps", ...trust, ...keys])).out).toContain(`${appId}  3  whole\n`);
  }, 60_000);
});

test("wrong use says so, before anything is sent", async () => {
  expect(await admin(["--help"])).toMatchObject({ code: 0, out: expect.stringContaining("Usage: cloister admin") });
  const wrong: string[][] = [
    [],
    ["unknown"],
    ["init"],
    ["create-app", ...trust, "--key", inFolder("alice.key")],
    ["list-apps", ...trust],
    ["prepare", "sign_message", "--deployment", "x", "--out", fresh("never")],
    ["prepare", "create_app", "--params", await fileOf({ name: "x" }), "--deployment", "x", "--out", fresh("never")],
    ["send", await fileOf({ kind: "other" }), ...trust],
    ["stamp", fresh("absent"), "--key", "k", "--out", fresh("never")],
    ["list-apps", "--unknown"],
  ];
  for (const args of wrong) expect((await admin(args)).code, args.join(" ")).toBe(2);
});
