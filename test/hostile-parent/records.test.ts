/** A parent that edits its own database, and that answers for it with what it likes. */
import { DatabaseSync } from "node:sqlite";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Client, loginNonce } from "../../client/index.ts";
import { RECORDS_PORT, type Wallet } from "../../protocol/index.ts";
import type { HostileParent, Simulator } from "../../simulator/index.ts";
import { AUDIENCE, createApp, type LoggedIn, logIn } from "../support/app.ts";
import { apiKeyOf, generateKeyOf } from "../support/app-requests.ts";
import { startHostileSimulator } from "../support/hostile-world.ts";
import { requestBody, send } from "../support/raw-request.ts";
import { usdcTransfer } from "../support/transactions.ts";

interface Row {
  readonly name: string;
  readonly version: number;
  readonly value: Uint8Array;
}

let simulator: Simulator;
let hostile: HostileParent;
let client: Client;
let appId: string;
let alice: LoggedIn;
let bob: LoggedIn;
let ofAlice: Wallet;
let ofBob: Wallet;
let database: DatabaseSync;
let untouched: Row[];

beforeAll(async () => {
  ({ simulator, hostile } = await startHostileSimulator());
  client = await simulator.connect();
  appId = await createApp(simulator, client);
  alice = await logIn(simulator, client, appId, "alice");
  bob = await logIn(simulator, client, appId, "bob");
  ofAlice = await alice.session.createWallet({ kind: "single-key" });
  ofBob = await bob.session.createWallet({ kind: "hd" });
  database = new DatabaseSync(simulator.recordsFile);
});
afterAll(async () => {
  database.close();
  await simulator.stop();
});
beforeEach(() => {
  untouched = rows();
});
afterEach(() => {
  delete hostile.hooks.message;
  database.exec("DELETE FROM records");
  for (const row of untouched) insert(row);
});

function rows(): Row[] {
  return database.prepare("SELECT name, version, value FROM records ORDER BY name").all() as unknown as Row[];
}

function rowOf(wallet: Wallet): Row {
  const row = rows().find(({ name }) => name.endsWith(wallet.walletId));
  if (row === undefined) throw new Error("no such record");
  return row;
}

function insert({ name, version, value }: Row): void {
  database.prepare("INSERT OR REPLACE INTO records (name, version, value) VALUES (?, ?, ?)").run(name, version, value);
}

async function codeOfSigning(who: LoggedIn, wallet: Wallet): Promise<string | null> {
  const params = { walletId: wallet.walletId, chainId: "1", unsignedTransaction: usdcTransfer() };
  return (await send(simulator, requestBody(simulator, { operation: "sign_transaction", appId, params }), who.key))
    .code;
}

/** As after a restart: this enclave has not read the record yet. */
async function forget(): Promise<void> {
  await simulator.killEnclave();
  await simulator.startEnclave();
  client = await simulator.connect();
}

test("what the parent stores names nobody and shows no key", () => {
  const stored = rows()
    .map(({ name, value }) => name + Buffer.from(value).toString("latin1"))
    .join("\n");
  for (const word of [
    "alice",
    "bob",
    simulator.issuer.issuer,
    ofAlice.accounts[0].address.slice(2),
    ofBob.accounts[0].publicKey,
  ]) {
    expect(stored.toLowerCase()).not.toContain(word.toLowerCase());
  }
});

test("a user cannot name another's wallet, nor an app another app's", async () => {
  expect(await codeOfSigning(alice, ofAlice)).toBeNull();
  expect(await codeOfSigning(alice, ofBob)).toBe("WALLET_NOT_FOUND");
  const otherAppId = await createApp(simulator, client, { name: "other" });
  const there = await logIn(simulator, client, otherAppId, "alice");
  const params = { walletId: ofAlice.walletId, chainId: "1", unsignedTransaction: usdcTransfer() };
  const body = requestBody(simulator, { operation: "sign_transaction", appId: otherAppId, params });
  expect((await send(simulator, body, there.key)).code).toBe("WALLET_NOT_FOUND");
});

describe("a record that the parent swaps", () => {
  test("for another user's wallet is refused, before and after a restart", async () => {
    insert({ ...rowOf(ofBob), name: rowOf(ofAlice).name });
    expect(await codeOfSigning(alice, ofAlice)).toBe("RECORD_ROLLED_BACK");
    await forget();
    expect(await codeOfSigning(alice, ofAlice)).toBe("RECORD_TAMPERED");
  });

  test("into a user's list is refused", async () => {
    await forget();
    const own = rowOf(ofAlice);
    insert({ ...rowOf(ofBob), name: `${own.name.slice(0, -32)}${"0".repeat(32)}` });
    await expect(alice.session.listWallets()).rejects.toMatchObject({ code: "RECORD_TAMPERED", isFromEnclave: true });
  });

  test.each([
    ["by a bit of its value", (row: Row) => ({ ...row, value: flip(row.value, row.value.length - 20) })],
    ["by a bit of its tag", (row: Row) => ({ ...row, value: flip(row.value, row.value.length - 1) })],
    ["by its generation", (row: Row) => ({ ...row, value: flip(row.value, 4) })],
    ["by its format", (row: Row) => ({ ...row, value: flip(row.value, 0) })],
    ["by its version", (row: Row) => ({ ...row, version: row.version + 1 })],
    ["by its end", (row: Row) => ({ ...row, value: row.value.subarray(0, 20) })],
  ])("%s is refused", async (_what, change) => {
    await forget();
    insert(change(rowOf(ofAlice)));
    expect(await codeOfSigning(alice, ofAlice)).toBe("RECORD_TAMPERED");
  });
});

describe("while the enclave lives", () => {
  test("an older version of a record is refused", async () => {
    const { session } = await logIn(simulator, client, appId, "carol");
    const older = rows().filter(({ name }) => name.endsWith(session.userId));
    expect(older).toHaveLength(1);
    await logIn(simulator, client, appId, "carol");
    const newer = rows().filter(({ name }) => name.endsWith(session.userId));
    expect(newer[0]?.version).toBe(2);
    for (const row of older) insert(row);
    await expect(logIn(simulator, client, appId, "carol")).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
  });

  test("a record that is withheld is not taken for one that never was", async () => {
    await codeOfSigning(alice, ofAlice);
    database.prepare("DELETE FROM records WHERE name = ?").run(rowOf(ofAlice).name);
    expect(await codeOfSigning(alice, ofAlice)).toBe("RECORD_ROLLED_BACK");
  });

  test("a session that was put out does not come back with its record", async () => {
    const first = await logIn(simulator, client, appId, "dave");
    const record = rows().filter(({ name }) => name.endsWith(first.session.sessionId));
    for (let device = 2; device <= 11; device += 1) await logIn(simulator, client, appId, "dave");
    for (const row of record) insert(row);
    await expect(first.session.listWallets()).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
    // What leads to it decides nothing, and is missed all the same while it may not have gone by itself.
    database.prepare("DELETE FROM records WHERE name = ?").run(record[0]?.name ?? "");
    await expect(first.session.listWallets()).rejects.toMatchObject({ code: "RECORD_ROLLED_BACK" });
  });
});

test("logins at once through a store that says yes to all of them end with ten sessions", async () => {
  hostile.hooks.message = (port, direction, message) =>
    port === RECORDS_PORT && direction === "to-enclave" && "kind" in message && message.kind === "conflict"
      ? { id: message.id, kind: "written" }
      : message;
  const attempts = await Promise.allSettled(Array.from({ length: 16 }, () => logIn(simulator, client, appId, "crowd")));
  const made = attempts.flatMap((attempt) => (attempt.status === "fulfilled" ? [attempt.value] : []));
  delete hostile.hooks.message;
  const alive = await Promise.allSettled(made.map(({ session }) => session.listWallets()));
  expect(alive.filter(({ status }) => status === "fulfilled").length).toBeLessThanOrEqual(10);
});

test("an eviction whose answer is lost does not leave the old session alive, nor its key locked out", async () => {
  const first = await logIn(simulator, client, appId, "frank");
  for (let device = 2; device <= 10; device += 1) await logIn(simulator, client, appId, "frank");
  await first.session.listWallets();
  hostile.hooks.message = (port, direction, message) =>
    port === RECORDS_PORT && direction === "to-enclave" && "kind" in message && message.kind === "written"
      ? { id: message.id, kind: "failed" }
      : message;
  await expect(logIn(simulator, client, appId, "frank")).rejects.toMatchObject({ code: "RECORDS_UNAVAILABLE" });
  delete hostile.hooks.message;
  await expect(first.session.listWallets()).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
  const jwt = await simulator.issuer.mint({ subject: "frank", audience: AUDIENCE, nonce: await loginNonce(first.key) });
  await client.login({ appId, jwt, key: first.key });
});

test("an app's update whose answer is lost is in force, and asked for again it is found", async () => {
  const backend = generateKeyOf("SIGNATURE_SCHEME_TK_API_P256");
  const administrators = [simulator.administratorKey];
  const id = await createApp(simulator, client, { apiKeys: [apiKeyOf(backend, ["list_wallets"])] });
  const list = async () =>
    send(simulator, requestBody(simulator, { operation: "list_wallets", appId: id, params: { after: null } }), backend);
  expect((await list()).code).toBeNull();
  const { app } = await client.getApp(administrators, id);
  let lost = 0;
  hostile.hooks.message = (port, direction, message) => {
    const isWritten = port === RECORDS_PORT && direction === "to-enclave" && "kind" in message;
    if (!isWritten || message.kind !== "written" || lost > 0) return message;
    lost += 1;
    return { id: message.id, kind: "failed" };
  };
  const update = { appId: id, expectedVersion: 1, app: { ...app, apiKeys: [] } };
  // The client asks again by itself.
  expect(await client.updateApp(administrators, update)).toEqual({ appId: id, version: 2 });
  expect(lost).toBe(1);
  expect((await list()).code).toBe("SESSION_UNKNOWN");
});

describe("a parent that answers for its store", () => {
  test("with a failure, or with nonsense, leaves the wallet where it was", async () => {
    for (const answer of [
      { kind: "failed" },
      { kind: "written" },
      { kind: "record", record: { name: "another", version: 1, value: new Uint8Array(64) } },
      { kind: "records", records: [] },
    ]) {
      hostile.hooks.message = (port, direction, message) =>
        port === RECORDS_PORT && direction === "to-enclave" && "id" in message
          ? { id: message.id, ...answer }
          : message;
      expect(await codeOfSigning(alice, ofAlice)).toBe("RECORDS_UNAVAILABLE");
    }
    delete hostile.hooks.message;
    expect(await codeOfSigning(alice, ofAlice)).toBeNull();
  });

  test("with a page that goes in circles is refused", async () => {
    let page: unknown;
    hostile.hooks.message = (port, direction, message) => {
      if (port !== RECORDS_PORT || direction !== "to-enclave" || !("kind" in message)) return message;
      if (message.kind !== "records") return message;
      page ??= message.records;
      return { ...message, records: page };
    };
    await alice.session.listWallets();
    const after = ofAlice.walletId;
    await expect(alice.session.listWallets({ after })).rejects.toMatchObject({ code: "RECORDS_UNAVAILABLE" });
  });

  test("with conflicts for ever is answered with one", async () => {
    hostile.hooks.message = (port, direction, message) =>
      port === RECORDS_PORT && direction === "to-enclave" && "kind" in message && message.kind === "written"
        ? { id: message.id, kind: "conflict", name: "x" }
        : message;
    await expect(logIn(simulator, client, appId, "erin")).rejects.toMatchObject({ code: "RECORD_CONFLICT" });
  });
});

function flip(bytes: Uint8Array, at: number): Uint8Array {
  const changed = Uint8Array.from(bytes);
  changed[at] = (changed[at] ?? 0) ^ 1;
  return changed;
}
