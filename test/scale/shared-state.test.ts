/** What came to stand in records besides users, sessions and wallets: policies, limits, approvals, imports, shares. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, memoryDeviceStore, RefusedError, Session } from "../../client/index.ts";
import { TRUSTED_FOR_MS } from "../../enclave/vault/fresh-cache.ts";
import { ERROR_CODES, type Policy, type Rule } from "../../protocol/index.ts";
import { isPostgresAbsent } from "../../simulator/local-postgres.ts";
import { type Cluster, startCluster } from "../../simulator/start-cluster.ts";
import { createPasskeyApp, passkeyOf, registerPasskey } from "../support/account.ts";
import { ALLOW_ALL } from "../support/allow-all.ts";
import { createApp, type LoggedIn, logIn } from "../support/app.ts";
import { Authenticator } from "../support/authenticator.ts";
import { clientsOf, recordingFetch, replay } from "../support/cluster.ts";
import { linkLogin, MESSAGE } from "../support/custody.ts";
import { codeOf } from "../support/refusals.ts";
import { usdcTransfer } from "../support/transactions.ts";

const ENCLAVES = 3;
const WORDS = Buffer.from("test test test test test test test test test test test junk");

const documentOf = (...rules: Rule[]): Policy => ({ v: 1, rules });
const pastTheBound = () => new Promise((resolve) => setTimeout(resolve, TRUSTED_FOR_MS + 100));

describe.skipIf(isPostgresAbsent)("three enclaves over one database", () => {
  let cluster: Cluster;
  let each: readonly Client[];
  let appId: string;
  beforeAll(async () => {
    cluster = await startCluster({ enclaves: ENCLAVES, database: "local" });
    each = await clientsOf(cluster);
    appId = await createPasskeyApp(cluster, at(0), { policy: ALLOW_ALL });
  }, 60_000);
  afterAll(() => cluster?.stop());

  const at = (member: number) => {
    const found = each[member % ENCLAVES];
    if (found === undefined) throw new Error("no such enclave");
    return found;
  };
  /** The same session as seen by one enclave alone. */
  const as = (member: number, of: LoggedIn, inApp = appId) => through(at(member), of, inApp);
  const through = (client: Client, { session, key }: LoggedIn, inApp = appId) => {
    const { sessionId, userId, expiresAtMs } = session;
    return new Session(client, inApp, { sessionId, userId, expiresAtMs, key });
  };
  /** A client of one enclave, and what it sends. */
  const recorded = async (member: number) => {
    const { fetch, sent } = recordingFetch();
    return { client: await cluster.connect({ url: cluster.members[member]?.url ?? "", fetch, attempts: 1 }), sent };
  };
  const transaction = (walletId: string, nonce: number) => {
    return { walletId, chainId: "1", unsignedTransaction: usdcTransfer({ nonce }) };
  };

  test("a limit of many requests at once through all of them lets through exactly as many as there is room for", async () => {
    const room = 20;
    const limits = [{ asset: "requests", amount: `${room}`, windowS: 86_400, per: "app" }] as const;
    const policy = documentOf({ id: "some", effect: "allow", when: [], limits: [...limits] });
    const limited = await createApp(cluster, at(0), { policy });
    const alice = await logIn(cluster, at(0), limited, "alice");
    const { walletId } = await alice.session.createWallet({ kind: "single-key" });
    const ask = async (nonce: number): Promise<string> => {
      const requestId = randomUUID();
      for (let member = nonce; ; member += 1) {
        try {
          // Asked again, it goes to the next one, under the same id.
          return (await as(member, alice, limited).signTransaction(transaction(walletId, nonce), { requestId }))
            .signedTransaction;
        } catch (error) {
          if (error instanceof RefusedError && ERROR_CODES[error.code].retry) continue;
          if (error instanceof RefusedError && error.code === "POLICY_DENIED") return "denied";
          throw error;
        }
      }
    };
    const outcomes = await Promise.all(Array.from({ length: 3 * room }, (_, nonce) => ask(nonce)));
    expect(outcomes.filter((outcome) => outcome !== "denied")).toHaveLength(room);
    expect(new Set(outcomes).size).toBe(room + 1);
    for (let member = 0; member < ENCLAVES; member += 1) expect(await ask(100 + member)).toBe("denied");
  }, 60_000);

  test("an approval that was given at one is collected once, at whichever", async () => {
    const bob = await logIn(cluster, at(0), appId, "bob");
    const approvals = { of: [bob.session.userId], threshold: 1, expiresS: 600 };
    const policy = documentOf({ id: "asks", effect: "allow", when: [], approvals });
    const asking = await createApp(cluster, at(0), { policy });
    // Users are an app's own: bob has another id here.
    const approver = await logIn(cluster, at(0), asking, "bob");
    const rules = documentOf({
      ...{ id: "asks", effect: "allow", when: [] },
      approvals: { of: [approver.session.userId], threshold: 1, expiresS: 600 },
    });
    const administrators = [cluster.administratorKey];
    const { app, version } = await at(1).getApp(administrators, asking);
    await at(1).updateApp(administrators, {
      ...{ appId: asking, expectedVersion: version },
      app: { ...app, policy: rules },
    });
    await pastTheBound();
    const alice = await logIn(cluster, at(2), asking, "alice");
    const { walletId } = await as(0, alice, asking).createWallet({ kind: "single-key" });
    const asked = transaction(walletId, 7);
    const refused = await as(0, alice, asking)
      .signTransaction(asked)
      .catch((error: RefusedError) => error);
    if (!(refused instanceof RefusedError)) throw new Error("signed without approval");
    const { approvalId, digest } = refused.details as { approvalId: string; digest: string };
    await as(1, approver, asking).call("approve_request", { approvalId, digest });
    const ids = each.map(() => randomUUID());
    const collect = (member: number, requestId: string) =>
      as(member, alice, asking).signTransaction(asked, { approvalId, requestId });
    const outcomes = await Promise.all(ids.map((requestId, member) => codeOf(collect(member, requestId))));
    expect(outcomes.filter((outcome) => outcome === "done")).toHaveLength(1);
    for (const outcome of outcomes) expect(["done", "APPROVAL_COLLECTED", "RECORD_CONFLICT"]).toContain(outcome);
    const taken = outcomes.indexOf("done");
    // By its own id again, at another enclave.
    await collect(taken + 1, ids[taken] ?? "");
    for (let member = 0; member < ENCLAVES; member += 1) {
      expect(await codeOf(collect(member, randomUUID()))).toBe("APPROVAL_COLLECTED");
    }
  });

  test("an import finds its way to the enclave that began it, whatever else its client asks meanwhile", async () => {
    const client = await cluster.connect();
    const carol = await logIn(cluster, at(0), appId, "carol");
    const session = through(client, carol);
    for (let round = 0; round < 4; round += 1) {
      let isOver = false;
      const meanwhile = (async () => {
        while (!isOver) await session.listWallets();
      })();
      try {
        await session.importWallet({ kind: "hd", secret: Uint8Array.from(WORDS) });
      } finally {
        isOver = true;
        await meanwhile;
      }
    }
    expect((await session.listWallets()).wallets).toHaveLength(4);
  }, 30_000);

  test("a policy that a user sets at one is in force at all others within the bound", async () => {
    const dora = await logIn(cluster, at(0), appId, "dora");
    const { walletId } = await dora.session.createWallet({ kind: "single-key" });
    for (let member = 0; member < ENCLAVES; member += 1)
      await as(member, dora).signTransaction(transaction(walletId, 1));
    const policy = documentOf({ id: "little", effect: "allow", when: [{ field: "evm.nonce", atMost: "1" }] });
    await as(0, dora).setPolicy({ of: "user", expectedVersion: 0, policy });
    expect(await codeOf(as(0, dora).signTransaction(transaction(walletId, 2)))).toBe("POLICY_DENIED");
    await pastTheBound();
    for (let member = 0; member < ENCLAVES; member += 1) {
      expect(await codeOf(as(member, dora).signTransaction(transaction(walletId, 2)))).toBe("POLICY_DENIED");
      expect(await codeOf(as(member, dora).signTransaction(transaction(walletId, 1)))).toBe("done");
    }
  });

  test("a policy that was just put in another's place is not taken for one that is withheld", async () => {
    const gina = await logIn(cluster, at(0), appId, "gina");
    const { walletId } = await gina.session.createWallet({ kind: "single-key" });
    const upTo = (atMost: string) =>
      documentOf({ id: `up-to-${atMost}`, effect: "allow", when: [{ field: "evm.nonce", atMost }] });
    await as(0, gina).setPolicy({ of: "user", expectedVersion: 0, policy: upTo("1") });
    // Has the user in memory, and has never looked at the policy.
    await as(1, gina).listWallets();
    const policy = { ...upTo("1"), rules: [...upTo("1").rules, { id: "none", effect: "deny" as const, when: [] }] };
    await as(0, gina).setPolicy({ of: "user", expectedVersion: 1, policy });
    expect(await codeOf(as(1, gina).signTransaction(transaction(walletId, 1)))).toBe("POLICY_DENIED");
    // And of the app.
    const administrators = [cluster.administratorKey];
    const own = await createApp(cluster, at(0), { policy: upTo("1") });
    const hugo = await logIn(cluster, at(0), own, "hugo");
    const made = await hugo.session.createWallet({ kind: "single-key" });
    await as(1, hugo, own).listWallets();
    const { app, version } = await at(0).getApp(administrators, own);
    await at(0).updateApp(administrators, { appId: own, expectedVersion: version, app: { ...app, policy: upTo("2") } });
    expect(await codeOf(as(1, hugo, own).signTransaction(transaction(made.walletId, 2)))).toBe("done");
  });

  test("a share of an earlier set is refused by all others at once", async () => {
    const erin = await logIn(cluster, at(0), appId, "erin");
    const store = memoryDeviceStore();
    const { wallet } = await as(0, erin).custody(store).createWallet({ kind: "hd" });
    const { walletId } = wallet;
    const stolen = await erin.session.custody(store).shareOf(walletId);
    const sign = (member: number, share: string) =>
      codeOf(as(member, erin).signMessage({ walletId, message: MESSAGE }, { share }));
    for (let member = 0; member < ENCLAVES; member += 1) expect(await sign(member, stolen)).toBe("done");
    await as(1, erin).custody(store).reshare(walletId);
    const now = await erin.session.custody(store).shareOf(walletId);
    for (let member = 0; member < ENCLAVES; member += 1) {
      expect(await sign(member, stolen)).toBe("SHARE_OUTDATED");
      expect(await sign(member, now)).toBe("done");
    }
  });

  describe("one stamped request that a relay shows to another", () => {
    test("to take a policy away: what was set since stays in force", async () => {
      const finn = await logIn(cluster, at(0), appId, "finn");
      // As of a passkey that is copied between devices: it does not count.
      const authenticator = new Authenticator();
      await registerPasskey({ client: at(0), appId, ...finn }, authenticator);
      const keys = [passkeyOf(authenticator, { signCount: 0 })];
      await new Promise((resolve) => setTimeout(resolve, 5));
      const first = documentOf({ id: "none", effect: "deny", when: [] });
      await as(0, finn).setPolicy({ of: "user", expectedVersion: 0, policy: first });
      const { client, sent } = await recorded(0);
      await client.call("set_policy", { of: "user", expectedVersion: 1, policy: null }, { appId, keys });
      await as(0, finn).setPolicy({ of: "user", expectedVersion: 0, policy: first });
      const request = sent.at(-1);
      if (request === undefined) throw new Error("nothing was sent");
      const answers = await Promise.all(cluster.members.map(({ url }) => replay(url, request)));
      expect(answers.map(({ code }) => code)).not.toContain(null);
      expect((await as(1, finn).getPolicy({ of: "user" })).policy).toEqual(first);
    });

    test("to recover a wallet: it gives a set to that device once", async () => {
      const [home, work] = [`home-${randomUUID()}`, `work-${randomUUID()}`];
      const store = memoryDeviceStore();
      const phone = await logIn(cluster, at(0), appId, home);
      const custody = phone.session.custody(store);
      await linkLogin(cluster, { loggedIn: phone, session: phone.session, custody, store }, work);
      const { walletId } = (await custody.createWallet({ kind: "hd" })).wallet;
      const laptop = await logIn(cluster, at(0), appId, work);
      const { client, sent } = await recorded(0);
      const laptopStore = memoryDeviceStore();
      const recovered = through(client, laptop).custody(laptopStore);
      await recovered.recover(walletId);
      const request = sent.at(-1);
      if (request === undefined) throw new Error("nothing was sent");
      // Back on the phone: the laptop is to have no share any more.
      const again = await logIn(cluster, at(1), appId, home);
      const publicKey = await again.session.custody(store).expectShare(walletId);
      await again.session.custody(store).acceptShare(walletId, await recovered.handOver(walletId, publicKey));
      await again.session.custody(store).reshare(walletId);
      const answers = await Promise.all(cluster.members.map(({ url }) => replay(url, request)));
      expect(answers.map(({ code }) => code)).not.toContain(null);
      const share = await again.session.custody(store).shareOf(walletId);
      expect(await codeOf(as(2, again).signMessage({ walletId, message: MESSAGE }, { share }))).toBe("done");
    });
  });
});
