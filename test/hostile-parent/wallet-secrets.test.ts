/** A parent that wants a wallet's secret, or wants a secret to end up elsewhere, or a wallet to come back. */
import { randomUUID } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { decodeUnverified } from "../../attestation/index.ts";
import {
  type Client,
  ClientError,
  exportWallet,
  importWallet,
  RefusedError,
  type WalletCaller,
} from "../../client/index.ts";
import {
  decodeBase64url,
  encodeBase64url,
  encodeHex,
  type ImportedSecret,
  type Params,
  RECORDS_PORT,
  REQUEST_PORT,
  type Result,
  sealImport,
} from "../../protocol/index.ts";
import type { HostileParent, Simulator } from "../../simulator/index.ts";
import { ALLOW_ALL } from "../support/allow-all.ts";
import { createApp, type LoggedIn, logIn } from "../support/app.ts";
import { attestedKeys, sendSealed } from "../support/app-requests.ts";
import { startHostileSimulator } from "../support/hostile-world.ts";
import { requestBody, send, stampOf } from "../support/raw-request.ts";
import { usdcTransfer } from "../support/transactions.ts";

const WORDS = Buffer.from("test test test test test test test test test test test junk");
const LIFETIME_MS = 10 * 60_000;

let simulator: Simulator;
let hostile: HostileParent;
let client: Client;
let appId: string;
let alice: LoggedIn;

beforeAll(async () => {
  ({ simulator, hostile } = await startHostileSimulator());
  client = await simulator.connect({ attempts: 1 });
  appId = await createApp(simulator, client, { policy: ALLOW_ALL });
});
afterAll(() => simulator.stop());
beforeEach(async () => {
  alice = await logIn(simulator, client, appId, `alice-${randomUUID()}`);
});
afterEach(() => {
  hostile.hooks.message = undefined;
});

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "done";
  } catch (error) {
    if (error instanceof RefusedError || error instanceof ClientError) return error.code;
    throw error;
  }
}

interface Target extends Result<"begin_import"> {
  readonly key: Uint8Array;
}

async function begin(who: LoggedIn, asked: Omit<Params<"begin_import">, "nonce"> = { kind: "hd" }): Promise<Target> {
  const begun = await who.session.call("begin_import", { ...asked, nonce: "07".repeat(32) });
  const { publicKey } = decodeUnverified(decodeBase64url(begun.attestation));
  return { ...begun, key: publicKey ?? new Uint8Array(0) };
}

interface Sealed {
  readonly to: Target;
  readonly by: LoggedIn;
  /** As the bundle's context has it. */
  readonly audience?: string;
  readonly secret?: ImportedSecret;
}

async function bundleOf({ to, by, audience, secret }: Sealed): Promise<Omit<Params<"import_wallet">, "importId">> {
  const context = {
    audience: audience ?? `${client.deployment}/${appId}`,
    userId: by.session.userId,
    importId: to.importId,
  };
  const words: ImportedSecret = { form: "mnemonic", secret: Uint8Array.from(WORDS) };
  const { enc, ciphertext } = await sealImport(to.key, context, secret ?? words);
  return { enc: `0x${encodeHex(enc)}`, ciphertext: `0x${encodeHex(ciphertext)}` };
}

const complete = (who: LoggedIn, params: Params<"import_wallet">, requestId = randomUUID()) =>
  who.session.call("import_wallet", params, { requestId });

describe("an import's target", () => {
  test("says in its document what it is for, whose, and until when", async () => {
    const target = await begin(alice);
    const { userData, nonce } = decodeUnverified(decodeBase64url(target.attestation));
    const said = Buffer.from(userData ?? []).toString("latin1");
    for (const word of ["cloister/import/v1", alice.session.userId, appId, target.importId])
      expect(said).toContain(word);
    expect(encodeHex(nonce ?? new Uint8Array(0))).toBe("07".repeat(32));
    expect(target.deadlineMs - simulator.nowMs()).toBeGreaterThan(LIFETIME_MS - 10_000);
  });

  test("receives one secret: IMPORT_TARGET_USED for the next, and the wallet again for the same", async () => {
    const target = await begin(alice);
    const bundle = await bundleOf({ to: target, by: alice });
    const wallet = await complete(alice, { importId: target.importId, ...bundle });
    expect(await complete(alice, { importId: target.importId, ...bundle })).toEqual(wallet);
    const other = await bundleOf({ to: target, by: alice });
    expect(await codeOf(complete(alice, { importId: target.importId, ...other }))).toBe("IMPORT_TARGET_USED");
    expect((await alice.session.listWallets()).wallets).toEqual([wallet]);
  });

  test("that is another user's, another app's or none is IMPORT_TARGET_UNKNOWN", async () => {
    const bob = await logIn(simulator, client, appId, "bob");
    const target = await begin(bob);
    const { importId } = target;
    for (const by of [alice, bob]) {
      const bundle = await bundleOf({ to: target, by });
      expect(await codeOf(complete(alice, { importId, ...bundle }))).toBe("IMPORT_TARGET_UNKNOWN");
    }
    const elsewhere = await createApp(simulator, client, { policy: ALLOW_ALL });
    const there = await logIn(simulator, client, elsewhere, "bob");
    const bundle = await bundleOf({ to: target, by: bob });
    expect(await codeOf(complete(there, { importId, ...bundle }))).toBe("IMPORT_TARGET_UNKNOWN");
    const nobodys = `imp_${"0".repeat(32)}`;
    expect(await codeOf(complete(alice, { importId: nobodys, ...bundle }))).toBe("IMPORT_TARGET_UNKNOWN");
    expect(await codeOf(complete(bob, { importId, ...bundle }))).toBe("done");
  });

  test("takes no bundle of another import, user, app or key: IMPORT_BUNDLE_INVALID", async () => {
    const [target, other] = [await begin(alice), await begin(alice)];
    const bob = await logIn(simulator, client, appId, "bob");
    const { importId } = target;
    const good = await bundleOf({ to: target, by: alice });
    const foreign = [
      await bundleOf({ to: other, by: alice }),
      await bundleOf({ to: { ...target, key: other.key }, by: alice }),
      await bundleOf({ to: { ...target, importId: other.importId }, by: alice }),
      await bundleOf({ to: target, by: bob }),
      await bundleOf({ to: target, by: alice, audience: `${client.deployment}/app_${"0".repeat(32)}` }),
      { ...good, enc: `0x${"00".repeat(32)}` },
      { ...good, ciphertext: `${good.ciphertext.slice(0, -2)}${good.ciphertext.endsWith("00") ? "01" : "00"}` },
      { ...good, ciphertext: "0x" },
    ];
    for (const bundle of foreign) {
      expect(await codeOf(complete(alice, { importId, ...bundle }))).toBe("IMPORT_BUNDLE_INVALID");
    }
    expect(await codeOf(complete(alice, { importId, ...good }))).toBe("done");
  });

  test("that has had a secret which is none is used up, and one for a key takes no words", async () => {
    const target = await begin(alice);
    const { importId } = target;
    const secret = { form: "mnemonic", secret: Buffer.from("test test") } as const;
    const bad = await bundleOf({ to: target, by: alice, secret });
    expect(await codeOf(complete(alice, { importId, ...bad }))).toBe("MNEMONIC_INVALID");
    const good = await bundleOf({ to: target, by: alice });
    expect(await codeOf(complete(alice, { importId, ...good }))).toBe("IMPORT_TARGET_USED");
    const forKey = await begin(alice, { kind: "single-key" });
    const words = await bundleOf({ to: forKey, by: alice });
    expect(await codeOf(complete(alice, { importId: forKey.importId, ...words }))).toBe("WALLET_KIND_MISMATCH");
  });

  test("is one of eight: the oldest goes", async () => {
    const targets: Target[] = [];
    for (let count = 0; count < 9; count += 1) targets.push(await begin(alice));
    const [oldest, second] = targets;
    if (oldest === undefined || second === undefined) throw new Error("no targets");
    const late = complete(alice, { importId: oldest.importId, ...(await bundleOf({ to: oldest, by: alice })) });
    expect(await codeOf(late)).toBe("IMPORT_TARGET_UNKNOWN");
    const kept = complete(alice, { importId: second.importId, ...(await bundleOf({ to: second, by: alice })) });
    expect(await codeOf(kept)).toBe("done");
  });

  test("that the parent replays after a restart is no target any more; what was imported is found", async () => {
    const [done, open] = [await begin(alice), await begin(alice)];
    const [first, second] = [await bundleOf({ to: done, by: alice }), await bundleOf({ to: open, by: alice })];
    const wallet = await complete(alice, { importId: done.importId, ...first });
    await simulator.killEnclave();
    await simulator.startEnclave();
    client = await simulator.connect({ attempts: 1 });
    // The same session, by a client that knows the enclave of now.
    const completeAgain = (params: Params<"import_wallet">) =>
      client.call("import_wallet", params, { appId, keys: [alice.key] });
    expect(await completeAgain({ importId: done.importId, ...first })).toEqual(wallet);
    expect(await codeOf(completeAgain({ importId: open.importId, ...second }))).toBe("IMPORT_TARGET_UNKNOWN");
    const changed = { ...first, ciphertext: `${first.ciphertext}00` };
    expect(await codeOf(completeAgain({ importId: done.importId, ...changed }))).toBe("IMPORT_TARGET_USED");
  });

  test("loses nothing to a parent that keeps the answer, or the record, to itself", async () => {
    const target = await begin(alice);
    const bundle = await bundleOf({ to: target, by: alice });
    let writes = 0;
    // The record store takes the write, and says that it did not answer.
    hostile.hooks.message = (_port, direction, message) => {
      if (direction === "to-enclave" && "kind" in message && message.kind === "written" && writes++ === 0) {
        return { id: message.id, kind: "failed" };
      }
      return message;
    };
    const params = { importId: target.importId, ...bundle };
    const first = await codeOf(complete(alice, params));
    hostile.hooks.message = undefined;
    expect(first).not.toBe("done");
    const wallet = await complete(alice, params);
    expect((await alice.session.listWallets()).wallets).toEqual([wallet]);
  });
});

describe("a client", () => {
  const caller = (): WalletCaller => ({
    ...{ client, appId, userId: alice.session.userId },
    call: (name, params, options) => client.call(name, params, { ...options, appId, keys: [alice.key] }),
  });

  /** A parent that could answer in the enclave's place: its words, not its documents. */
  function answering(change: (begun: Result<"begin_import">) => Result<"begin_import">): WalletCaller {
    const { call, ...own } = caller();
    return {
      ...own,
      call: async (name, params, options) => {
        const result = await call(name, params, options);
        if (name !== "begin_import") throw new Error("a secret was sealed to a target that was not verified");
        return change(result as Result<"begin_import">) as typeof result;
      },
    };
  }

  test("seals nothing to another import's document, nor to one for callers, nor past its deadline", async () => {
    const bob = await logIn(simulator, client, appId, "bob");
    const others = (await begin(bob)).attestation;
    const fresh = await fetch(`${simulator.url}/v1/attestation?nonce=${"07".repeat(32)}`);
    const forCallers = encodeBase64url(new Uint8Array(await fresh.arrayBuffer()));
    const secret = Uint8Array.from(WORDS);
    const attempts: readonly ((begun: Result<"begin_import">) => Result<"begin_import">)[] = [
      (begun) => ({ ...begun, attestation: others }),
      (begun) => ({ ...begun, attestation: forCallers }),
      (begun) => ({ ...begun, importId: `imp_${"0".repeat(32)}` }),
      (begun) => ({ ...begun, deadlineMs: begun.deadlineMs + 1 }),
      (begun) => ({ ...begun, attestation: encodeBase64url(flipped(decodeBase64url(begun.attestation))) }),
    ];
    for (const attempt of attempts) {
      const imported = importWallet(answering(attempt), { kind: "hd", secret });
      await expect(imported).rejects.toThrow();
      await expect(imported).rejects.not.toThrow("was not verified");
    }
    const mismatched = importWallet(
      answering((begun) => ({ ...begun, importId: `imp_${"0".repeat(32)}` })),
      { kind: "hd", secret },
    );
    expect(await codeOf(mismatched)).toBe("IMPORT_TARGET_MISMATCH");
    expect(Buffer.compare(secret, WORDS)).toBe(0);
  });

  test("does not take an old document of the same target for a new one", async () => {
    const old = await begin(alice);
    const replayed = importWallet(
      answering(() => ({ importId: old.importId, deadlineMs: old.deadlineMs, attestation: old.attestation })),
      {
        ...{ kind: "hd", secret: Uint8Array.from(WORDS) },
      },
    );
    await expect(replayed).rejects.toMatchObject({ code: "NONCE_MISMATCH" });
  });

  test("opens no bundle but that of its own request: EXPORT_NOT_OPENED", async () => {
    const { walletId } = await alice.session.createWallet({ kind: "hd" });
    const { call, ...own } = caller();
    const elsewhere: WalletCaller = {
      ...own,
      call: async (name, params, options) => call(name, params, { ...options, requestId: randomUUID() }),
    };
    expect(await codeOf(exportWallet(elsewhere, { walletId, form: "mnemonic" }))).toBe("EXPORT_NOT_OPENED");
  });
});

describe("an export", () => {
  test("whose recipient the parent swaps is refused: the request is stamped, and sealed", async () => {
    const { walletId } = await alice.session.createWallet({ kind: "hd" });
    const params = { walletId, form: "mnemonic", recipientPublicKey: "09".repeat(32) } as const;
    const body = requestBody(simulator, { operation: "export_wallet", appId, params });
    const stamps = [await stampOf(alice.key, body)];
    const swapped = Buffer.from(Buffer.from(body).toString().replace("09".repeat(32), "08".repeat(32)));
    const audience = `${client.deployment}/${appId}`;
    const keys = await attestedKeys(simulator);
    expect((await sendSealed(simulator, keys, audience, { stamps, body: Uint8Array.from(swapped) })).code).toBe(
      "STAMP_INVALID",
    );
    expect((await send(simulator, body, alice.key)).code).toBe("SEALING_REQUIRED");
    expect((await sendSealed(simulator, keys, audience, { stamps, body })).code).toBeNull();
    expect((await sendSealed(simulator, keys, audience, { stamps, body })).code).toBe("REQUEST_REPLAYED");
  });

  test("never shows its words to who relays and stores: they are nowhere on the wire", async () => {
    const seen: string[] = [];
    hostile.hooks.message = (_port, _direction, message) => {
      seen.push(
        JSON.stringify(message, (_key, value) =>
          value instanceof Uint8Array ? Buffer.from(value).toString("latin1") : value,
        ),
      );
      return message;
    };
    const wallet = await alice.session.importWallet({ kind: "hd", secret: Uint8Array.from(WORDS) });
    await alice.session.exportWallet({ walletId: wallet.walletId, form: "mnemonic" });
    hostile.hooks.message = undefined;
    expect(seen.length).toBeGreaterThan(4);
    expect(seen.join()).not.toContain("test test test");
  });
});

describe("what has ended", () => {
  const rowsOf = (database: DatabaseSync, like: string) =>
    database.prepare("SELECT name, version, value FROM records WHERE name LIKE ?").all(like) as unknown as {
      name: string;
      version: number;
      value: Uint8Array;
    }[];

  /** A sealed deletion, which stands where a record was, is of one byte. */
  const isDeletion = ({ value }: { readonly value: Uint8Array }) => value.length === 1 + 4 + 12 + 1 + 16;
  const heldIn = (database: DatabaseSync, like: string) => rowsOf(database, like).filter((row) => !isDeletion(row));
  const bringBack = (database: DatabaseSync, kept: ReturnType<typeof rowsOf>) => {
    for (const { name, version, value } of kept) {
      database.prepare("UPDATE records SET version = ?, value = ? WHERE name = ?").run(version, value, name);
    }
  };

  test("a wallet whose record the parent brings back stays ended while the enclave lives", async () => {
    using database = new DatabaseSync(simulator.recordsFile);
    const { walletId } = await alice.session.createWallet({ kind: "hd" });
    const kept = rowsOf(database, `%${walletId}`);
    expect(kept).toHaveLength(1);
    await alice.session.deleteWallet({ walletId, withoutExport: true });
    expect(heldIn(database, `%${walletId}`)).toEqual([]);
    bringBack(database, kept);
    expect(await codeOf(alice.session.signMessage({ walletId, message: "0x00" }))).toBe("RECORD_ROLLED_BACK");
    expect(await codeOf(alice.session.listWallets())).toBe("RECORD_ROLLED_BACK");
  });

  test("an erased user leaves no record behind, and none of those kept lets anybody in while the enclave lives", async () => {
    using database = new DatabaseSync(simulator.recordsFile);
    const { session } = alice;
    await session.createWallet({ kind: "hd" });
    const before = heldIn(database, "%");
    const own = rowsOf(database, `%${session.userId}%`);
    expect(own.length).toBeGreaterThanOrEqual(3);
    await session.account.eraseUser();
    expect(heldIn(database, `%${session.userId}%`)).toEqual([]);
    const left = new Set(heldIn(database, "%").map(({ name }) => name));
    const gone = before.filter(({ name }) => !left.has(name)).map(({ name }) => name.split("/")[0]);
    // What led to the session goes by itself, once the session would have ended.
    expect(gone.sort()).toEqual(["event", "identity", "user", "wallet"]);
    bringBack(database, own);
    expect(await codeOf(session.listWallets())).toBe("RECORD_ROLLED_BACK");
  });

  test("a user is erased whole although the record store fails halfway", async () => {
    const { session } = alice;
    for (let count = 0; count < 16; count += 1) await session.createWallet({ kind: "single-key" });
    let writes = 0;
    hostile.hooks.message = (port, direction, message) =>
      port !== REQUEST_PORT &&
      direction === "to-enclave" &&
      "kind" in message &&
      message.kind === "written" &&
      ++writes === 2
        ? { id: message.id, kind: "failed" }
        : message;
    expect(await codeOf(session.account.eraseUser())).toBe("RECORDS_UNAVAILABLE");
    hostile.hooks.message = undefined;
    expect(await codeOf(session.account.eraseUser())).toBe("done");
    using database = new DatabaseSync(simulator.recordsFile);
    expect(heldIn(database, `%${session.userId}%`)).toEqual([]);
  });

  test("an erasure that fails, wherever it does, lets nothing be signed beyond a limit", async () => {
    const limits = [{ asset: "requests", amount: "1", windowS: 3600, per: "user" }] as const;
    const policy = { v: 1 as const, rules: [{ id: "one", effect: "allow" as const, when: [], limits }] };
    const limited = await createApp(simulator, client, { policy });
    for (let made = 0; made < 4; made += 1) {
      const { session } = await logIn(simulator, client, limited, `thief-${made}`);
      const { walletId } = await session.createWallet({ kind: "single-key" });
      const sign = (nonce: number) =>
        session.signTransaction({ walletId, chainId: "1", unsignedTransaction: usdcTransfer({ nonce }) });
      await sign(0);
      let writes = 0;
      // Another write comes between, from then on: a thief can see to that by changing what is erased meanwhile.
      hostile.hooks.message = (port, direction, message) =>
        port === RECORDS_PORT &&
        direction === "to-parent" &&
        "kind" in message &&
        message.kind === "write" &&
        ++writes > made
          ? { ...message, changes: message.changes.map((each) => ({ ...each, expectedVersion: 1_000_000 })) }
          : message;
      expect(await codeOf(session.account.eraseUser())).toBe("RECORD_CONFLICT");
      hostile.hooks.message = undefined;
      expect(await codeOf(sign(1)), `after ${made} writes`).not.toBe("done");
    }
  });
});

test("IMPORT_TARGET_EXPIRED when its time is over", async () => {
  const target = await begin(alice);
  const params = { importId: target.importId, ...(await bundleOf({ to: target, by: alice })) };
  await simulator.advanceClock(LIFETIME_MS + 1000);
  client = await simulator.connect({ attempts: 1 });
  expect(await codeOf(client.call("import_wallet", params, { appId, keys: [alice.key] }))).toBe(
    "IMPORT_TARGET_EXPIRED",
  );
});

function flipped(bytes: Uint8Array): Uint8Array {
  const changed = Uint8Array.from(bytes);
  const at = changed.length >> 1;
  changed[at] = (changed[at] ?? 0) ^ 1;
  return changed;
}
