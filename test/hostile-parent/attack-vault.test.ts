/**
 * Rows of the attack table (docs/threat-model.md, "The attack table") that concern the vault, KMS and secrets: each test
 * is named after its row.
 */
import { generateKeyPairSync } from "node:crypto";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { Agent } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { DecryptCommand, GenerateDataKeyCommand, KMSClient } from "@aws-sdk/client-kms";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { afterEach, beforeEach, expect, test } from "vitest";
import { generateStampKey } from "../../client/index.ts";
import { startEnclave } from "../../enclave/index.ts";
import { Nsm } from "../../enclave/nsm/nsm.ts";
import { TrustedClock } from "../../enclave/trusted-clock.ts";
import { keyPolicyFor, type Simulator, type SimulatorOptions, startSimulator } from "../../simulator/index.ts";
import { createNsmPki, createSimulatedNsm } from "../../simulator/nsm/index.ts";
import { guestVsock } from "../../vsock/index.ts";
import { createApp, logIn } from "../support/app.ts";
import { instanceCredentials } from "../support/instance-credentials.ts";
import { requestBody, send } from "../support/raw-request.ts";
import { usdcTransfer } from "../support/transactions.ts";
import { Canaries } from "./random-run/canaries.ts";
import { openState } from "./random-run/open-state.ts";
import { ProcessOutput } from "./random-run/process-output.ts";
import { canariesOf } from "./random-run/run.ts";

interface Row {
  readonly name: string;
  readonly version: number;
  readonly value: Uint8Array;
}

let stateFolder: string;
let simulator: Simulator | undefined;

beforeEach(async () => {
  stateFolder = await mkdtemp(join(tmpdir(), "cl-attack-"));
});
afterEach(async () => {
  await simulator?.stop();
  await rm(stateFolder, { recursive: true, force: true });
});

async function start(options: SimulatorOptions = {}): Promise<Simulator> {
  await simulator?.stop();
  simulator = await startSimulator({ stateFolder, ...options });
  return simulator;
}

function withRecords<Value>(work: (database: DatabaseSync) => Value): Value {
  const database = new DatabaseSync(join(stateFolder, "records.sqlite"));
  try {
    return work(database);
  } finally {
    database.close();
  }
}

const rows = () =>
  withRecords((database) => database.prepare("SELECT name, version, value FROM records").all() as unknown as Row[]);
const put = ({ name, version, value }: Row) =>
  withRecords((database) =>
    database
      .prepare("INSERT OR REPLACE INTO records (name, version, value) VALUES (?, ?, ?)")
      .run(name, version, value),
  );
const clear = () => withRecords((database) => database.exec("DELETE FROM records"));

test("rollback or replay of sealed state: refused while the enclave lives; across a restart it is possible, and said so", async () => {
  const running = await start();
  const client = await running.connect();
  const appId = await createApp(running, client);
  const { session } = await logIn(running, client, appId, "alice");
  const older = rows().filter(({ name }) => name.endsWith(session.userId));
  expect(older).toHaveLength(1);
  await logIn(running, client, appId, "alice");
  for (const row of older) put(row);
  await expect(logIn(running, client, appId, "alice")).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
  await running.killEnclave();
  await running.startEnclave();
  // Nothing inside Nitro could tell. If this ever fails, the documents are to be rewritten, and gladly.
  await expect(logIn(running, await running.connect(), appId, "alice")).resolves.toBeDefined();
  const said = readFileSync("docs/threat-model.md", "utf8").replaceAll(/\s+/g, " ");
  expect(said).toContain("When it boots, a parent that restored an old database is not noticed");
});

test("forged KMS reply or wrapped-key swap: another vault's wrapped secret does not open this vault, though KMS opens it", async () => {
  await start();
  const first = rows().find(({ name }) => name === "vault/1");
  await simulator?.stop();
  clear();
  await start();
  const second = rows().find(({ name }) => name === "vault/1");
  await simulator?.stop();
  if (first === undefined || second === undefined) throw new Error("no wrapped secret");
  expect(Buffer.from(first.value).equals(second.value)).toBe(false);
  put(first);
  const swapped = await start({ waitForReady: false });
  expect(await swapped.enclaveOutcome()).toMatchObject({ event: "failed", code: "VAULT_INVALID" });
  put(second);
  await start();
});

test("downgrade to an older image: once the policy names the new image alone, the old one is denied and harms nothing", async () => {
  const running = await start();
  const appId = await createApp(running, await running.connect());
  const newer = new Uint8Array(48).fill(0x42);
  const old = await start({ waitForReady: false, keyPolicy: (_pcr0, role) => keyPolicyFor(newer, role) });
  expect(await old.enclaveOutcome()).toMatchObject({ event: "failed", code: "KMS_ACCESS_DENIED" });
  const again = await start();
  await expect(logIn(again, await again.connect(), appId, "alice")).resolves.toBeDefined();
});

test("KMS policy pitfalls: what the parent has, credentials and the wrapped secret, opens nothing without attestation", async () => {
  const running = await start();
  const kms = new KMSClient({
    region: "us-east-1",
    endpoint: await kmsEndpointOf(running.parentPid),
    credentials: await instanceCredentials(running),
    maxAttempts: 1,
    requestHandler: new NodeHttpHandler({ httpsAgent: new Agent({ rejectUnauthorized: false }) }),
  });
  const manifest = await readFile(join(stateFolder, "cloister.yaml"), "utf8");
  const arn = /arn:aws:kms:\S+/.exec(manifest)?.[0];
  const pki = createNsmPki({ nowMs: () => running.nowMs() });
  const nsm = createSimulatedNsm({
    pki,
    pcrs: new Map(),
    moduleId: "i-0123456789abcdef0-enc0123456789abcdef",
    nowMs: () => running.nowMs(),
  });
  const debugDocument = await new Nsm(
    { process: (request) => nsm.handle(request) },
    new TrustedClock(() => performance.now()),
  ).attest({
    userData: null,
    nonce: null,
    publicKey: generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey.export({ type: "spki", format: "der" }),
  });
  const recipient = { KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_256", AttestationDocument: debugDocument } as const;
  const wrapped = rows().find(({ name }) => name === "vault/1")?.value ?? new Uint8Array(0);
  const refused = { name: expect.stringMatching(/^(AccessDenied|Validation)Exception$/) };
  const denied = { name: "AccessDeniedException" };
  await expect(kms.send(new GenerateDataKeyCommand({ KeyId: arn, KeySpec: "AES_256" }))).rejects.toMatchObject(denied);
  await expect(
    kms.send(new GenerateDataKeyCommand({ KeyId: arn, KeySpec: "AES_256", Recipient: recipient })),
  ).rejects.toMatchObject(refused);
  const input = { KeyId: arn, CiphertextBlob: dataKeyIn(wrapped), EncryptionContext: CONTEXT };
  await expect(kms.send(new DecryptCommand(input))).rejects.toMatchObject(denied);
  await expect(kms.send(new DecryptCommand({ ...input, Recipient: recipient }))).rejects.toMatchObject(refused);
  kms.destroy();
});

test("error oracle: whatever is wrong with a sealed record, the refusal is the same to the byte", async () => {
  const running = await start();
  const client = await running.connect();
  const appId = await createApp(running, client);
  const { session, key } = await logIn(running, client, appId, "alice");
  const { walletId } = await session.createWallet({ kind: "single-key" });
  const row = rows().find(({ name }) => name.endsWith(walletId));
  if (row === undefined) throw new Error("no record");
  await running.killEnclave();
  await running.startEnclave();
  const answers = new Set<string>();
  const { length } = row.value;
  for (const at of [0, 1, 4, 5, 16, 17, 40, length - 17, length - 16, length - 1]) {
    const value = Uint8Array.from(row.value);
    value[at] = (value[at] ?? 0) ^ 0x80;
    put({ ...row, value });
    answers.add(await refusalOf());
  }
  put({ ...row, value: row.value.subarray(0, 12) });
  answers.add(await refusalOf());
  put({ ...row, version: row.version + 7 });
  answers.add(await refusalOf());
  expect([...answers]).toEqual([expect.stringContaining("RECORD_TAMPERED")]);

  async function refusalOf(): Promise<string> {
    const params = { walletId, chainId: "1", unsignedTransaction: usdcTransfer() };
    const { status, code } = await send(
      running,
      requestBody(running, { operation: "sign_transaction", appId, params }),
      key,
    );
    return `${status} ${code}`;
  }
});

test.each([
  ["constant", () => new Uint8Array(256).fill(0xaa)],
  ["empty", () => new Uint8Array(0)],
  ["short", () => Uint8Array.from({ length: 31 }, (_, at) => at)],
] as const)("RNG: an NSM whose randomness is %s keeps the enclave from starting", async (_name, random) => {
  const nowMs = Date.now;
  const pki = createNsmPki({ nowMs });
  const pcrs = new Map([[0, new Uint8Array(48).fill(1)]]);
  const nsm = createSimulatedNsm({ pki, pcrs, moduleId: "i-0123456789abcdef0-enc0123456789abcdef", nowMs, random });
  await start();
  const enclave = startEnclave({
    manifest: await readFile(join(stateFolder, "cloister.yaml")),
    nsm: { process: (request) => nsm.handle(request) },
    vsock: guestVsock(join(stateFolder, "v")),
    tlsRoots: { kms: [], web: [] },
    monotonicMs: () => performance.now(),
  });
  await expect(enclave.ready).rejects.toMatchObject({ code: "NSM_RANDOMNESS_BAD" });
  await enclave.close();
});

test("memory hygiene: no signal and no argument opens the enclave to an inspector, and it has no TCP socket", async () => {
  const running = await start();
  const { enclavePid } = running;
  const args = readFileSync(`/proc/${enclavePid}/cmdline`, "utf8").split("\0");
  expect(args).toContain("--disable-sigusr1");
  expect(args.join(" ")).not.toMatch(/--inspect|--heapsnapshot|--heap-prof|--abort-on-uncaught|--report/);
  process.kill(enclavePid, "SIGUSR1");
  const client = await running.connect();
  const { session } = await logIn(running, client, await createApp(running, client), "alice");
  await session.createWallet({ kind: "hd" });
  expect(running.enclavePid).toBe(enclavePid);
  // Node's inspector would listen: TCP sockets of the enclave's process, by their inodes. It has none at all.
  const tcp = ["tcp", "tcp6"].map((file) => readFileSync(`/proc/${enclavePid}/net/${file}`, "utf8")).join("\n");
  expect(socketsOf(enclavePid).filter((inode) => new RegExp(`\\s${inode}\\s`).test(tcp))).toEqual([]);
});

test("log exfiltration: after keys were used and requests failed, log, standard output and error hold no secret", async () => {
  const output = new ProcessOutput();
  const lines: string[] = [];
  const running = await start({ log: (line) => lines.push(line), hostileParent: {} });
  output.stop();
  const client = await running.connect();
  const appId = await createApp(running, client);
  const { session, jwt, key } = await logIn(running, client, appId, "alice-who-must-not-be-logged");
  const hd = await session.createWallet({ kind: "hd" });
  const single = await session.createWallet({ kind: "single-key" });
  const payload = "payload-that-must-not-be-logged";
  const message = `0x${Buffer.from(payload).toString("hex")}`;
  for (const { walletId } of [hd, single]) {
    await session.signMessage({ walletId, message });
    await session.signTransaction({ walletId, chainId: "1", unsignedTransaction: usdcTransfer() });
  }
  // Failures carry canaries wherever a caller or the parent can put one.
  const stranger = await generateStampKey();
  const bodies = [
    requestBody(running, { operation: payload, appId }),
    requestBody(running, { operation: "sign_message", appId, params: { walletId: payload, message } }),
    requestBody(running, { operation: "sign_message", appId, params: { [payload]: jwt } }),
    requestBody(running, { operation: "register_session", appId, params: { jwt } }),
    requestBody(running, { operation: "register_session", appId, params: { jwt: `${jwt}x` } }),
    requestBody(running, { operation: "list_wallets", audience: payload }),
    Buffer.from(payload),
  ];
  for (const body of bodies) expect((await send(running, body, stranger)).code).not.toBeNull();
  const { hostileParent } = running;
  if (hostileParent === null) throw new Error("no hostile parent");
  hostileParent.hooks.script = {
    seed: payload,
    rules: [{ of: "record", misdeed: { kind: "flip", bits: 1, where: "payload" } }],
  };
  await send(
    running,
    requestBody(running, { operation: "sign_message", appId, params: { walletId: hd.walletId, message } }),
    key,
  );
  hostileParent.hooks.script = { seed: payload, rules: [{ misdeed: { kind: "replace", with: "garbage" } }] };
  await send(running, requestBody(running, { operation: "list_wallets", appId, params: { after: null } }), key).catch(
    () => {},
  );
  const { secretAccessKey, sessionToken } = await instanceCredentials(running);
  await running.stop();

  const canaries = canariesOf(await openState(stateFolder));
  expect(canaries.count).toBeGreaterThanOrEqual(6);
  const texts = new Canaries();
  for (const text of [jwt, payload, "alice-who-must-not-be-logged", secretAccessKey, sessionToken]) {
    texts.addText(text.slice(0, 20), text);
  }
  const logged = Buffer.from(lines.join("\n"));
  expect(logged.length).toBeGreaterThan(500);
  expect(output.bytes.length).toBeGreaterThan(500);
  for (const [where, bytes] of [
    ["log", logged],
    ["output", output.bytes],
  ] as const) {
    expect([...canaries.search(where, bytes), ...texts.search(where, bytes)]).toEqual([]);
  }
});

const CONTEXT = { "cloister:deployment": "simulator", "cloister:purpose": "vault", "cloister:generation": "1" };

/** What a parent knows: its own configuration. */
async function kmsEndpointOf(pid: number): Promise<string> {
  const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  const file = args[args.indexOf("--config") + 1] ?? "";
  const config = JSON.parse(await readFile(file, "utf8")) as {
    readonly egress: { readonly connectTo: Readonly<Record<string, string>> };
  };
  const kms = Object.entries(config.egress.connectTo).find(([name]) => name.startsWith("kms."))?.[1] ?? "";
  return `https://${kms}`;
}

/** The one data key of an Encryption SDK message: the simulated KMS's blobs begin with "csk", behind their length. */
function dataKeyIn(message: Uint8Array): Uint8Array {
  const bytes = Buffer.from(message);
  const at = bytes.indexOf("csk");
  return bytes.subarray(at, at + bytes.readUInt16BE(at - 2));
}

/** Inodes of a process's sockets. */
function socketsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return /^socket:\[([0-9]+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
    } catch {
      return [];
    }
  });
}
