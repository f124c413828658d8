/** Policies and approvals against stolen sessions, approvers who are none, and a parent that hides or brings back records. */
import { randomUUID } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  type Client,
  generateStampKey,
  loginNonce,
  RefusedError,
  type Session,
  verifyEvents,
} from "../../client/index.ts";
import { encodeHex, type Params, type Policy, type Rule } from "../../protocol/index.ts";
import { type Simulator, startSimulator } from "../../simulator/index.ts";
import { enrol, passkeyOf, registerPasskey } from "../support/account.ts";
import { ALLOW_ALL } from "../support/allow-all.ts";
import { AUDIENCE, createApp, type LoggedIn, logIn } from "../support/app.ts";
import { Authenticator, PASSKEYS } from "../support/authenticator.ts";
import { usdcTransfer } from "../support/transactions.ts";

let simulator: Simulator;
let client: Client;
let appId: string;
let alice: LoggedIn;
let bob: LoggedIn;
let carol: LoggedIn;
let mallory: LoggedIn;
let aliceSubject: string;
let walletId: string;

beforeAll(async () => {
  simulator = await startSimulator();
  client = await simulator.connect();
  appId = await createApp(simulator, client, { policy: ALLOW_ALL, passkeys: PASSKEYS });
});
afterAll(() => simulator.stop());

beforeEach(async () => {
  aliceSubject = `alice-${randomUUID()}`;
  const logInAs = (name: string) => logIn(simulator, client, appId, `${name}-${randomUUID()}`);
  [alice, bob, carol, mallory] = await Promise.all([
    logIn(simulator, client, appId, aliceSubject),
    logInAs("bob"),
    logInAs("carol"),
    logInAs("mallory"),
  ]);
  ({ walletId } = await alice.session.createWallet({ kind: "single-key" }));
  await setAppPolicy(ALLOW_ALL);
});

async function setAppPolicy(policy: Policy | null, changes: Partial<Params<"create_app">> = {}): Promise<void> {
  const keys = [simulator.administratorKey];
  const { version, app } = await client.getApp(keys, appId);
  await client.updateApp(keys, { appId, expectedVersion: version, app: { ...app, policy, ...changes } });
}

const documentOf = (...rules: Rule[]): Policy => ({ v: 1, rules });
const sign = (options: Parameters<Session["signTransaction"]>[1] = {}, nonce = 0) =>
  alice.session.signTransaction({ walletId, chainId: "1", unsignedTransaction: usdcTransfer({ nonce }) }, options);

async function refusalOf(work: Promise<unknown>): Promise<RefusedError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof RefusedError) return error;
    throw error;
  }
  throw new Error("not refused");
}
const codeOf = async (work: Promise<unknown>) => (await refusalOf(work)).code;
const later = () => new Promise((resolve) => setTimeout(resolve, 5));

describe("POLICY_DENIED", () => {
  test("carries the decision, signed like everything", async () => {
    await setAppPolicy(
      documentOf({ id: "none-over-two", effect: "allow", when: [{ field: "evm.nonce", atMost: "2" }] }),
    );
    await sign({}, 2);
    const refused = await refusalOf(sign({}, 3));
    expect(refused).toMatchObject({ code: "POLICY_DENIED", isFromEnclave: true });
    expect(refused.details).toEqual({
      ...{ decision: "denied", reason: "NOT_ALLOWED", level: "app", rule: null },
      findings: [{ rule: "none-over-two", condition: '{"field":"evm.nonce","atMost":"2"}', is: "no", fact: "3" }],
    });
  });

  test("for everything in an app without a policy", async () => {
    await setAppPolicy(null);
    expect((await refusalOf(sign())).details).toMatchObject({ reason: "NO_APP_POLICY" });
  });

  test("by a document that the enclave cannot make sense of: it is not taken", async () => {
    const rules: Rule[] = [{ id: "odd", effect: "allow", when: [{ call: "transfer(address,uint)" }] }];
    expect(await codeOf(setAppPolicy({ v: 1, rules }))).toBe("INVALID_PARAMS");
    const place: Rule = { id: "odd", effect: "deny", when: [{ call: "f(address)", args: [{ arg: "1", in: ["0x"] }] }] };
    expect(await codeOf(setAppPolicy({ v: 1, rules: [place] }))).toBe("INVALID_PARAMS");
  });

  test("over a limit, whichever of a user's sessions asks and however often", async () => {
    const limits = [{ asset: "requests", amount: "3", windowS: 3600, per: "user" }] as const;
    await setAppPolicy(documentOf({ id: "three", effect: "allow", when: [], limits }));
    const outcomes = await Promise.allSettled(Array.from({ length: 40 }, (_, nonce) => sign({}, nonce)));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
    expect((await refusalOf(sign({}, 50))).details).toMatchObject({ reason: "OVER_LIMIT", rule: "three" });
    const { session } = await logIn(simulator, client, appId, "somebody-else");
    const other = await session.createWallet({ kind: "single-key" });
    await session.signTransaction({ walletId: other.walletId, chainId: "1", unsignedTransaction: usdcTransfer() });
  });
});

describe("a user's own policy", () => {
  const strict = documentOf({ id: "little", effect: "allow", when: [{ field: "evm.nonce", atMost: "1" }] });

  test("binds beside the app's, and a wallet's beside both", async () => {
    expect(await alice.session.getPolicy({ of: "user" })).toEqual({ version: 0, policy: null });
    const { version } = await alice.session.setPolicy({ of: "user", expectedVersion: 0, policy: strict });
    expect(await alice.session.getPolicy({ of: "user" })).toEqual({ version, policy: strict });
    await sign({}, 1);
    expect((await refusalOf(sign({}, 2))).details).toMatchObject({ level: "user" });
    const closed = documentOf({ id: "closed", effect: "deny", when: [] });
    await alice.session.setPolicy({ of: walletId, expectedVersion: 0, policy: closed });
    expect((await refusalOf(sign({}, 1))).details).toMatchObject({ level: "wallet", rule: "closed" });
    const second = await alice.session.createWallet({ kind: "single-key" });
    const elsewhere = { walletId: second.walletId, chainId: "1", unsignedTransaction: usdcTransfer() };
    await alice.session.signTransaction(elsewhere);
  });

  test("is found again when its answer was lost, and not overwritten by whoever read an older one", async () => {
    const change = { of: "user", expectedVersion: 0, policy: strict } as const;
    const requestId = randomUUID();
    expect(await alice.session.setPolicy(change, { requestId })).toEqual({ version: 1 });
    await later();
    expect(await alice.session.setPolicy(change, { requestId })).toEqual({ version: 1 });
    const late = { ...change, policy: documentOf() };
    expect(await codeOf(alice.session.setPolicy(late))).toBe("POLICY_VERSION_CONFLICT");
  });

  test("of a wallet that is not there, or another's, is none", async () => {
    const { walletId: bobs } = await bob.session.createWallet({ kind: "single-key" });
    for (const of of [bobs, `wal_${"0".repeat(32)}`]) {
      expect(await codeOf(alice.session.setPolicy({ of, expectedVersion: 0, policy: strict }))).toBe(
        "WALLET_NOT_FOUND",
      );
    }
  });

  test("cannot be loosened by a stolen session, nor with what that session adds: POLICY_GUARDED", async () => {
    await alice.session.setPolicy({ of: "user", expectedVersion: 0, policy: strict });
    const loosened = { of: "user", expectedVersion: 1, policy: ALLOW_ALL } as const;
    expect(await codeOf(alice.session.setPolicy(loosened))).toBe("POLICY_GUARDED");
    expect(await codeOf(alice.session.setPolicy({ ...loosened, policy: null }))).toBe("POLICY_GUARDED");
    // A passkey and one-time passwords of the thief's own.
    const authenticator = new Authenticator();
    await registerPasskey({ client, appId, ...alice }, authenticator);
    const byPasskey = client.call("set_policy", loosened, { appId, keys: [passkeyOf(authenticator)] });
    expect(await codeOf(byPasskey)).toBe("POLICY_GUARDED");
    const { app } = await enrol(alice.session.account, () => simulator.nowMs());
    const byCode = alice.session.setPolicy(loosened, { secondFactor: app.code() });
    expect(await codeOf(byCode)).toBe("POLICY_GUARDED");
    expect((await alice.session.getPolicy({ of: "user" })).policy).toEqual(strict);
  });

  test("can be tightened by any session, and a change that only looks like it is none", async () => {
    await alice.session.setPolicy({ of: "user", expectedVersion: 0, policy: strict });
    const [little] = strict.rules as [Rule];
    const noFirst: Rule = { id: "not-the-first", effect: "deny", when: [{ field: "evm.nonce", in: ["0"] }] };
    await alice.session.setPolicy({ of: "user", expectedVersion: 1, policy: documentOf(noFirst, little) });
    const refused: Policy[] = [
      documentOf(little),
      documentOf(noFirst, { ...little, when: [] } as Rule),
      documentOf(noFirst, { ...little, id: "renamed" } as Rule),
      documentOf(noFirst, little, { ...little, id: "one-more" } as Rule),
      documentOf({ ...noFirst, when: [{ field: "evm.nonce", in: ["9"] }] } as Rule, little),
    ];
    for (const policy of refused) {
      expect(await codeOf(alice.session.setPolicy({ of: "user", expectedVersion: 2, policy }))).toBe("POLICY_GUARDED");
    }
    await alice.session.setPolicy({ of: "user", expectedVersion: 2, policy: documentOf(noFirst) });
  });

  test("is loosened by a passkey that was there before it, and by a code", async () => {
    const authenticator = new Authenticator();
    await registerPasskey({ client, appId, ...alice }, authenticator);
    await alice.session.setPolicy({ of: "user", expectedVersion: 0, policy: strict });
    const keys = [passkeyOf(authenticator)];
    const loosened = { of: "user", expectedVersion: 1, policy: ALLOW_ALL } as const;
    expect(await client.call("set_policy", loosened, { appId, keys })).toEqual({ version: 2 });

    const { app, recoveryCodes } = await enrol(bob.session.account, () => simulator.nowMs());
    const first = { of: "user", expectedVersion: 0, policy: strict } as const;
    expect(await codeOf(bob.session.setPolicy(first))).toBe("SECOND_FACTOR_REQUIRED");
    await bob.session.setPolicy(first, { secondFactor: app.code() });
    expect(await codeOf(bob.session.setPolicy(loosened))).toBe("SECOND_FACTOR_REQUIRED");
    const [recoveryCode = ""] = recoveryCodes;
    await bob.session.setPolicy(loosened, { secondFactor: recoveryCode });
  });

  test("is taken away by administrators, which leaves an event as every change does", async () => {
    await alice.session.setPolicy({ of: "user", expectedVersion: 0, policy: strict });
    const params = { appId, userId: alice.session.userId, of: "user" } as const;
    const stranger = await generateStampKey();
    expect(await codeOf(client.resetPolicy([stranger], params))).toBe("NOT_ENOUGH_ADMINISTRATORS");
    expect(await client.resetPolicy([simulator.administratorKey], params)).toEqual({ isReset: true });
    expect(await client.resetPolicy([simulator.administratorKey], params)).toEqual({ isReset: false });
    const nobody = { ...params, userId: `usr_${"0".repeat(32)}` };
    expect(await client.resetPolicy([simulator.administratorKey], nobody)).toEqual({ isReset: false });
    await sign({}, 9);
    const kinds = (await eventsOf(alice)).map(({ kind }) => kind);
    expect(kinds).toEqual(["policy-set", "policy-reset"]);
  });

  test("is not asked for by a session whose scope does not cover the account, nor by an API key", async () => {
    const key = await generateStampKey();
    const apiKey = {
      ...{ name: "backend", scheme: key.scheme, publicKey: encodeHex(key.publicKey), expiresAtMs: null },
      permissions: { operations: ["set_policy" as const], wallets: null, chains: null },
    };
    await setAppPolicy(ALLOW_ALL, { apiKeys: [apiKey] });
    const change = { of: "user", expectedVersion: 0, policy: strict } as const;
    expect(await codeOf(client.call("set_policy", change, { appId, keys: [key] }))).toBe("CALLER_NOT_ALLOWED");
  });

  test("a user has so many: TOO_MANY_POLICIES", async () => {
    for (let count = 0; count < 32; count += 1) {
      const wallet = await bob.session.createWallet({ kind: "single-key" });
      await bob.session.setPolicy({ of: wallet.walletId, expectedVersion: 0, policy: strict });
    }
    expect(await codeOf(bob.session.setPolicy({ of: "user", expectedVersion: 0, policy: strict }))).toBe(
      "TOO_MANY_POLICIES",
    );
  });

  describe("of a wallet that is deleted", () => {
    const inRecords = <Result>(work: (records: DatabaseSync) => Result): Result => {
      const records = new DatabaseSync(simulator.recordsFile);
      try {
        return work(records);
      } finally {
        records.close();
      }
    };
    /** With what it says: a deletion is a record as well, of one byte. */
    const documentsOf = ({ session }: LoggedIn): number =>
      inRecords((records) => {
        const like = `policy/${appId}/${session.userId}/%`;
        const sized = records.prepare("SELECT value FROM records WHERE name LIKE ?").all(like);
        return sized.filter(({ value }) => (value as Uint8Array).length > 150).length;
      });
    const padded = { ...strict, rules: strict.rules.map((rule) => ({ ...rule, note: "n".repeat(200) })) };

    test("goes with it, and nothing is signed under that id, whoever has the wallet's record brought back", async () => {
      await alice.session.setPolicy({ of: walletId, expectedVersion: 0, policy: padded });
      expect(documentsOf(alice)).toBe(1);
      const kept = inRecords((records) =>
        records.prepare("SELECT * FROM records WHERE name LIKE ?").get(`wallet/${appId}/%/${walletId}`),
      );
      if (kept === undefined) throw new Error("no such wallet");
      // By a session that may be stolen: the policy is one that it could not loosen.
      await alice.session.deleteWallet({ walletId, withoutExport: true });
      expect(documentsOf(alice)).toBe(0);
      const nothing = { version: 2, policy: documentOf() };
      expect(await alice.session.getPolicy({ of: walletId })).toEqual(nothing);
      await simulator.killEnclave();
      inRecords((records) => {
        const columns = Object.keys(kept);
        const set = columns.map((column) => `${column} = ?`).join(", ");
        const values = [...columns.map((column) => kept[column] ?? null), kept["name"] ?? null];
        records.prepare(`UPDATE records SET ${set} WHERE name = ?`).run(...values);
      });
      await simulator.startEnclave();
      // The wallet is there again: this is what a restart cannot tell.
      const { wallets } = await alice.session.listWallets();
      expect(wallets.map((each) => each.walletId)).toContain(walletId);
      expect((await refusalOf(sign({}, 0))).details).toMatchObject({ level: "wallet", reason: "NOT_ALLOWED" });
      const loosened = { of: walletId, expectedVersion: 2, policy: null } as const;
      expect(await codeOf(alice.session.setPolicy(loosened))).toBe("POLICY_GUARDED");
    });

    test("leaves no other policy behind for one that is made again under its id", async () => {
      const requestId = randomUUID();
      const first = await alice.session.createWallet({ kind: "single-key" }, { requestId });
      await alice.session.setPolicy({ of: first.walletId, expectedVersion: 0, policy: padded });
      await alice.session.deleteWallet({ walletId: first.walletId, withoutExport: true });
      await later();
      const again = await alice.session.createWallet({ kind: "single-key" }, { requestId });
      expect(again.walletId).toBe(first.walletId);
      expect(again.accounts).not.toEqual(first.accounts);
      const unsigned = { walletId: again.walletId, chainId: "1", unsignedTransaction: usdcTransfer({ nonce: 0 }) };
      const { details } = await refusalOf(alice.session.signTransaction(unsigned));
      expect(details).toMatchObject({ level: "wallet", reason: "NOT_ALLOWED" });
      const params = { appId, userId: alice.session.userId, of: first.walletId } as const;
      expect(await client.resetPolicy([simulator.administratorKey], params)).toEqual({ isReset: true });
      await alice.session.signTransaction(unsigned);
    });

    test("takes no more of the room for documents, and a little of that for all: TOO_MANY_POLICIES", async () => {
      for (let count = 0; count < 33; count += 1) {
        const wallet = await carol.session.createWallet({ kind: "single-key" });
        await carol.session.setPolicy({ of: wallet.walletId, expectedVersion: 0, policy: strict });
        await carol.session.deleteWallet({ walletId: wallet.walletId, withoutExport: true });
      }
      await carol.session.setPolicy({ of: "user", expectedVersion: 0, policy: strict });
      for (let count = 0; count < 30; count += 1) {
        const wallet = await carol.session.createWallet({ kind: "single-key" });
        await carol.session.setPolicy({ of: wallet.walletId, expectedVersion: 0, policy: documentOf() });
      }
      const wallet = await carol.session.createWallet({ kind: "single-key" });
      const more = { of: wallet.walletId, expectedVersion: 0, policy: documentOf() };
      expect(await codeOf(carol.session.setPolicy(more))).toBe("TOO_MANY_POLICIES");
    });
  });

  test("that the parent withholds is missed, also by an enclave that was just booted", async () => {
    await alice.session.setPolicy({ of: "user", expectedVersion: 0, policy: strict });
    await simulator.killEnclave();
    const records = new DatabaseSync(simulator.recordsFile);
    const like = `policy/${appId}/${alice.session.userId}/%`;
    expect(records.prepare("DELETE FROM records WHERE name LIKE ?").run(like).changes).toBe(1);
    records.close();
    await simulator.startEnclave();
    expect(await codeOf(sign())).toBe("RECORD_ROLLED_BACK");
    await bob.session.listWallets();
  });
});

/** Verified: the chain is whole, and the vault's. */
async function eventsOf({ session }: LoggedIn) {
  const { events, publicKey } = await session.account.listEvents();
  const verified = await verifyEvents(events, publicKey);
  return verified.filter(({ kind }) => kind !== "wallet-created");
}

describe("approvals", () => {
  const byTwo = (changes: Partial<{ of: string[]; threshold: number; expiresS: number }> = {}): Policy => {
    const of = [bob.session.userId, carol.session.userId];
    const approvals = { of, threshold: 2, expiresS: 600, ...changes };
    return documentOf({ id: "by-two", effect: "allow", when: [], approvals });
  };
  interface Waiting {
    readonly approvalId: string;
    readonly digest: string;
    readonly expiresAtMs: number;
  }
  const ask = async (nonce = 0, options: Parameters<Session["signTransaction"]>[1] = {}): Promise<Waiting> => {
    const refused = await refusalOf(sign(options, nonce));
    expect(refused).toMatchObject({ code: "APPROVAL_REQUIRED", isFromEnclave: true });
    return refused.details as unknown as Waiting;
  };
  const approve = ({ session }: LoggedIn, { approvalId, digest }: Pick<Waiting, "approvalId" | "digest">) =>
    session.approveRequest({ approvalId, digest });

  test("wait under an id, are given by those who are named, and collected once by whoever asked", async () => {
    await setAppPolicy(byTwo());
    const requestId = randomUUID();
    const waiting = await ask(0, { requestId });
    await later();
    expect(await ask(0, { requestId })).toEqual(waiting);
    const [listed] = (await everyApproval(bob)).filter(({ approvalId }) => approvalId === waiting.approvalId);
    expect(listed).toMatchObject({ operation: "sign_transaction", state: "waiting", digest: waiting.digest });
    expect(listed?.params).toEqual({ walletId, chainId: "1", unsignedTransaction: usdcTransfer() });
    expect((await everyApproval(mallory)).map(({ approvalId }) => approvalId)).not.toContain(waiting.approvalId);

    await approve(bob, waiting);
    // One of two is not enough.
    const { approvalId } = waiting;
    expect(await codeOf(sign({ approvalId }))).toBe("APPROVAL_REQUIRED");
    expect(await approve(carol, waiting)).toMatchObject({ state: "approved" });
    const collecting = randomUUID();
    const signed = await sign({ approvalId, requestId: collecting });
    await later();
    // A retry of the very request that collected it gives the same; another request is refused.
    expect(await sign({ approvalId, requestId: collecting })).toEqual(signed);
    expect(await codeOf(sign({ approvalId }))).toBe("APPROVAL_COLLECTED");
    expect(await codeOf(approve(bob, waiting))).toBe("APPROVAL_COLLECTED");
    expect((await alice.session.getApproval({ approvalId })).state).toBe("collected");

    expect((await eventsOf(bob)).map(({ kind }) => kind)).toEqual(["approval-given"]);
    const [collected] = await eventsOf(alice);
    expect(collected).toMatchObject({
      kind: "approval-collected",
      details: { approvalId, digest: waiting.digest, approvers: `${bob.session.userId} ${carol.session.userId}` },
    });
  });

  test("collected at once by many requests let one through", async () => {
    await setAppPolicy(byTwo({ threshold: 1 }));
    const waiting = await ask();
    await approve(bob, waiting);
    const { approvalId } = waiting;
    const outcomes = await Promise.allSettled(Array.from({ length: 12 }, () => sign({ approvalId })));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });

  test("APPROVAL_MISMATCH: a wrong digest, other params, another policy", async () => {
    await setAppPolicy(byTwo({ threshold: 1 }));
    const waiting = await ask();
    const { approvalId } = waiting;
    expect(await codeOf(approve(bob, { approvalId, digest: "0".repeat(64) }))).toBe("APPROVAL_MISMATCH");
    const other = await ask(1);
    expect(other.digest).not.toBe(waiting.digest);
    expect(await codeOf(approve(bob, { approvalId, digest: other.digest }))).toBe("APPROVAL_MISMATCH");
    await approve(bob, waiting);
    expect(await codeOf(sign({ approvalId }, 1))).toBe("APPROVAL_MISMATCH");
    await setAppPolicy(byTwo({ threshold: 1, expiresS: 601 }));
    expect(await codeOf(sign({ approvalId }))).toBe("APPROVAL_MISMATCH");
    await setAppPolicy(byTwo({ threshold: 1 }));
    await sign({ approvalId });
  });

  test("APPROVAL_NOT_FOUND: another's, or none", async () => {
    await setAppPolicy(byTwo({ threshold: 1 }));
    const { approvalId } = await ask();
    const wallet = await mallory.session.createWallet({ kind: "single-key" });
    const params = { walletId: wallet.walletId, chainId: "1", unsignedTransaction: usdcTransfer() };
    expect(await codeOf(mallory.session.signTransaction(params, { approvalId }))).toBe("APPROVAL_NOT_FOUND");
    expect(await codeOf(mallory.session.getApproval({ approvalId }))).toBe("APPROVAL_NOT_FOUND");
    expect(await codeOf(sign({ approvalId: `apr_${"0".repeat(32)}` }))).toBe("APPROVAL_NOT_FOUND");
  });

  test("NOT_AN_APPROVER: a stranger, and whoever asks for it themselves", async () => {
    await setAppPolicy(byTwo({ of: [alice.session.userId, bob.session.userId], threshold: 1 }));
    const waiting = await ask();
    expect(await codeOf(approve(mallory, waiting))).toBe("NOT_AN_APPROVER");
    expect(await codeOf(mallory.session.rejectRequest({ approvalId: waiting.approvalId }))).toBe("NOT_AN_APPROVER");
    expect(await codeOf(approve(alice, waiting))).toBe("NOT_AN_APPROVER");
    // By another of their sessions as well.
    const again = await logIn(simulator, client, appId, aliceSubject);
    expect(again.session.userId).toBe(alice.session.userId);
    expect(await codeOf(approve(again, waiting))).toBe("NOT_AN_APPROVER");
  });

  test("ALREADY_APPROVED: each approver counts once, whatever they stamp with; a lost answer is found again", async () => {
    const authenticator = new Authenticator();
    const { passkeyId } = await registerPasskey({ client, appId, ...bob }, authenticator);
    await setAppPolicy(byTwo({ of: [bob.session.userId, passkeyId, carol.session.userId] }));
    const waiting = await ask();
    const { approvalId, digest } = waiting;
    const requestId = randomUUID();
    const given = await bob.session.approveRequest({ approvalId, digest }, { requestId });
    await later();
    expect(await bob.session.approveRequest({ approvalId, digest }, { requestId })).toEqual(given);
    expect(await codeOf(approve(bob, waiting))).toBe("ALREADY_APPROVED");
    const byPasskey = client.call(
      "approve_request",
      { approvalId, digest },
      { appId, keys: [passkeyOf(authenticator)] },
    );
    expect(await codeOf(byPasskey)).toBe("ALREADY_APPROVED");
    expect(await codeOf(sign({ approvalId }))).toBe("APPROVAL_REQUIRED");
  });

  test("APPROVAL_EXPIRED: neither given nor collected when its time has passed", async () => {
    await setAppPolicy(byTwo({ threshold: 1, expiresS: 60 }));
    const [early, late] = [await ask(0), await ask(1)];
    await approve(bob, early);
    await simulator.advanceClock(61_000);
    client = await simulator.connect();
    expect(await codeOf(sign({ approvalId: early.approvalId }, 0))).toBe("APPROVAL_EXPIRED");
    expect(await codeOf(approve(bob, late))).toBe("APPROVAL_EXPIRED");
    expect((await bob.session.getApproval({ approvalId: late.approvalId })).state).toBe("expired");
  });

  test("APPROVAL_REJECTED: by one of the approvers, or taken back", async () => {
    await setAppPolicy(byTwo({ threshold: 1 }));
    const waiting = await ask();
    await carol.session.rejectRequest({ approvalId: waiting.approvalId });
    expect(await codeOf(approve(bob, waiting))).toBe("APPROVAL_REJECTED");
    expect(await codeOf(sign({ approvalId: waiting.approvalId }))).toBe("APPROVAL_REJECTED");
    const other = await ask(1);
    await alice.session.rejectRequest({ approvalId: other.approvalId });
    expect(await codeOf(approve(bob, other))).toBe("APPROVAL_REJECTED");
    expect((await eventsOf(carol)).map(({ kind }) => kind)).toEqual(["approval-rejected"]);
  });

  test("by the user's own passkey: the session that asks does not have it", async () => {
    const authenticator = new Authenticator();
    await registerPasskey({ client, appId, ...alice }, authenticator);
    await setAppPolicy(byTwo({ of: ["own-passkey"], threshold: 1 }));
    const keys = [passkeyOf(authenticator)];
    // Which this very session has registered: as a thief of it would.
    const young = await ask(7);
    const { approvalId: youngId } = young;
    const byYoung = client.call("approve_request", { approvalId: youngId, digest: young.digest }, { appId, keys });
    expect(await codeOf(byYoung)).toBe("NOT_AN_APPROVER");
    alice = await logIn(simulator, client, appId, aliceSubject);
    const { approvalId, digest } = await ask();
    expect(await codeOf(approve(alice, { approvalId, digest }))).toBe("NOT_AN_APPROVER");
    expect(await codeOf(approve(bob, { approvalId, digest }))).toBe("NOT_AN_APPROVER");
    await client.call("approve_request", { approvalId, digest }, { appId, keys });
    await sign({ approvalId });
  });

  test("NOT_AN_APPROVER: a passkey that a thief of a session added, by whichever login of theirs it is asked for then", async () => {
    await setAppPolicy(byTwo({ of: ["own-passkey"], threshold: 1 }));
    const token = async (key: LoggedIn["key"]) =>
      simulator.issuer.mint({ subject: "the-thief", audience: AUDIENCE, nonce: await loginNonce(key) });
    await alice.session.account.linkIdentity(() => token(alice.key));
    const authenticator = new Authenticator();
    await registerPasskey({ client, appId, ...alice }, authenticator);
    const passkey = passkeyOf(authenticator);
    const [keyOfIdentity, keyOfPasskey] = await Promise.all([generateStampKey(), generateStampKey()]);
    await client.login({ appId, jwt: await token(keyOfIdentity), key: keyOfIdentity });
    await client.loginWithPasskey({ appId, key: keyOfPasskey, passkey });
    const params = { walletId, chainId: "1", unsignedTransaction: usdcTransfer() };
    for (const asker of [keyOfIdentity, keyOfPasskey, passkey]) {
      const { code, details } = await refusalOf(client.call("sign_transaction", params, { appId, keys: [asker] }));
      expect(code).toBe("APPROVAL_REQUIRED");
      const { approvalId, digest } = details as { approvalId: string; digest: string };
      const approved = client.call("approve_request", { approvalId, digest }, { appId, keys: [passkey] });
      expect(await codeOf(approved)).toBe("NOT_AN_APPROVER");
    }
    // A day later its owner has seen the event, and has had time to take it away.
    await simulator.advanceClock(25 * 3600_000);
    const { details } = await refusalOf(client.call("sign_transaction", params, { appId, keys: [passkey] }));
    const { approvalId, digest } = details as { approvalId: string; digest: string };
    await client.call("approve_request", { approvalId, digest }, { appId, keys: [passkey] });
  });

  test("by an API key, which is the app's; and what limits have room for needs none", async () => {
    const key = await generateStampKey();
    const publicKey = encodeHex(key.publicKey);
    const permissions = { operations: ["approve_request" as const], wallets: null, chains: null };
    const limits = [{ asset: "requests", amount: "1", windowS: 3600, per: "wallet" }] as const;
    const small: Rule = { id: "first", effect: "allow", when: [], limits };
    const [approved] = byTwo({ of: [publicKey], threshold: 1 }).rules as [Rule];
    const apiKeys = [{ name: "risk", scheme: key.scheme, publicKey, permissions, expiresAtMs: null }];
    await setAppPolicy(documentOf(small, approved), { apiKeys });
    await sign({}, 0);
    const { approvalId, digest } = await ask(1);
    await client.call("approve_request", { approvalId, digest }, { appId, keys: [key] });
    await sign({ approvalId }, 1);
    expect(await codeOf(sign({}, 2))).toBe("APPROVAL_REQUIRED");
  });

  test("export_user gives policies, what limits have counted, and what was asked for and agreed to", async () => {
    const limits = [{ asset: "requests", amount: "1", windowS: 3600, per: "wallet" }] as const;
    const small: Rule = { id: "first", effect: "allow", when: [], limits };
    await setAppPolicy(documentOf(small, ...byTwo().rules));
    const own = documentOf({ id: "all", effect: "allow", when: [] });
    await alice.session.setPolicy({ of: walletId, expectedVersion: 0, policy: own });
    await sign({}, 0);
    const { approvalId, digest } = await ask(1);
    await approve(bob, { approvalId, digest });
    const heldOn = async ({ session }: LoggedIn) => {
      const items = [];
      for await (const item of session.account.exportUser()) items.push(item);
      return items;
    };
    const held = await heldOn(alice);
    expect(held.filter(({ kind }) => kind === "policy")).toEqual([
      { kind: "policy", of: walletId, version: 1, guardedSinceMs: expect.any(Number), policy: own },
    ]);
    expect(held.filter(({ kind }) => kind === "limit")).toEqual([
      { kind: "limit", limitId: expect.stringMatching(/^lim_/), sums: ["1"], requests: 1 },
    ]);
    const waiting = { kind: "approval", approval: { approvalId, approvers: [{ by: bob.session.userId }] } };
    for (const each of [alice, bob]) {
      expect((await heldOn(each)).filter(({ kind }) => kind === "approval")).toMatchObject([waiting]);
    }
    for (const each of [carol, mallory]) {
      expect((await heldOn(each)).filter(({ kind }) => kind === "approval")).toEqual([]);
    }
  });

  async function everyApproval({ session }: LoggedIn) {
    const listed = [];
    for (let after: string | null = null; ; ) {
      const { approvals, next } = await session.listApprovals({ after });
      listed.push(...approvals);
      if (next === null) return listed;
      after = next;
    }
  }
});
