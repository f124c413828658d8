/** Three enclaves with a parent each over one PostgreSQL: whatever is asked of one is true of all. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, generateStampKey, loginNonce, Session } from "../../client/index.ts";
import { TRUSTED_FOR_MS } from "../../enclave/vault/fresh-cache.ts";
import { BOOT_HEADER, STAMP_HEADER } from "../../protocol/index.ts";
import { isPostgresAbsent } from "../../simulator/local-postgres.ts";
import { type Cluster, startCluster } from "../../simulator/start-cluster.ts";
import { createPasskeyApp, enrol, passkeyOf, registerPasskey } from "../support/account.ts";
import { AUDIENCE, createApp, logIn } from "../support/app.ts";
import { apiKeyOf, generateKeyOf } from "../support/app-requests.ts";
import { Authenticator } from "../support/authenticator.ts";
import { clientsOf, recordingFetch, replay } from "../support/cluster.ts";
import { requestBody, stampOf } from "../support/raw-request.ts";
import { usdcTransfer } from "../support/transactions.ts";

const ENCLAVES = 3;

async function bootAt(url: string): Promise<string> {
  return (await fetch(`${url}/readyz`)).headers.get(BOOT_HEADER) ?? "";
}

/** With one bit of its last byte changed. */
function flipped(body: ArrayBuffer): ArrayBuffer {
  const bytes = new Uint8Array(body);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  return body;
}

/** Until what an enclave may still trust is over, and a little more. */
const pastTheBound = () => new Promise((resolve) => setTimeout(resolve, TRUSTED_FOR_MS + 100));

describe.skipIf(isPostgresAbsent)("three enclaves over one database", () => {
  let cluster: Cluster;
  let client: Client;
  let each: readonly Client[];
  let appId: string;
  beforeAll(async () => {
    cluster = await startCluster({ enclaves: ENCLAVES, database: "local" });
    client = await cluster.connect();
    each = await clientsOf(cluster);
    appId = await createApp(cluster, client);
  }, 60_000);
  afterAll(() => cluster?.stop());

  const at = (member: number) => {
    const found = each[member];
    if (found === undefined) throw new Error("no such enclave");
    return found;
  };
  const sign = { chainId: "1", unsignedTransaction: usdcTransfer() };
  /** The same session as seen by one enclave alone. */
  const as = (member: number, { session, key }: Awaited<ReturnType<typeof logIn>>) =>
    new Session(at(member), appId, { ...credentialOf(session), key });
  const credentialOf = ({ sessionId, userId, expiresAtMs }: Session) => ({ sessionId, userId, expiresAtMs });

  test("open one vault, although they started at the same moment on an empty database", () => {
    expect(new Set(each.map(({ vaultId }) => Buffer.from(vaultId ?? []).toString("hex"))).size).toBe(1);
  });

  test("answer for each other: log in at one, make a wallet at the next, sign at the third", async () => {
    const alice = await logIn(cluster, at(0), appId, "alice");
    const wallet = await as(1, alice).createWallet({ kind: "single-key" });
    const signed = await as(2, alice).signTransaction({ walletId: wallet.walletId, ...sign });
    // RFC 6979: whichever enclave signs.
    expect(await as(0, alice).signTransaction({ walletId: wallet.walletId, ...sign })).toEqual(signed);
  });

  test("a session is taken at once by an enclave that has had the user in memory without it", async () => {
    const first = await logIn(cluster, at(0), appId, "bob");
    await as(1, first).listWallets();
    const second = await logIn(cluster, at(0), appId, "bob");
    await as(1, second).listWallets();
    expect((await as(2, second).listSessions()).sessions).toHaveLength(2);
  });

  test("through the balancer one client verifies each enclave by its own document, and takes the answers of all", async () => {
    const { fetch, sent } = recordingFetch();
    const { session } = await logIn(cluster, await cluster.connect({ fetch }), appId, "carol");
    for (let asked = 0; asked < 3 * ENCLAVES; asked += 1) await session.listWallets();
    // What was sealed went to the boot that it was sealed for, at the first try.
    expect(sent.filter(({ path }) => path === "/v1/sealed")).toHaveLength(1);
    expect(sent).toHaveLength(1 + 3 * ENCLAVES);
  });

  test("a session revoked at one is refused by all others within the bound, and what was revoked stays so", async () => {
    const dave = await logIn(cluster, at(0), appId, "dave");
    for (let member = 0; member < ENCLAVES; member += 1) await as(member, dave).listWallets();
    await as(1, dave).revokeSession({ sessionId: dave.session.sessionId });
    await expect(as(1, dave).listWallets()).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
    await pastTheBound();
    for (let member = 0; member < ENCLAVES; member += 1) {
      await expect(as(member, dave).listWallets()).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
    }
  });

  test("what reads or changes an account sees it as it is, and waits for no bound", async () => {
    const erin = await logIn(cluster, at(0), appId, "erin");
    const other = await logIn(cluster, at(0), appId, "erin");
    await as(1, erin).listWallets();
    await as(2, other).revokeSession({ sessionId: other.session.sessionId });
    expect((await as(1, erin).listSessions()).sessions).toHaveLength(1);
  });

  test("an app's change is in force at all others within the bound, and a key that it adds is at once", async () => {
    const backend = generateKeyOf("SIGNATURE_SCHEME_TK_API_P256");
    const id = await createApp(cluster, at(0), { apiKeys: [] });
    const list = (member: number) => at(member).call("list_wallets", { after: null }, { appId: id, keys: [backend] });
    for (let member = 0; member < ENCLAVES; member += 1) {
      await expect(list(member)).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
    }
    const { app } = await at(1).getApp([cluster.administratorKey], id);
    const update = (apiKeys: ReturnType<typeof apiKeyOf>[], expectedVersion: number) =>
      at(2).updateApp([cluster.administratorKey], { appId: id, expectedVersion, app: { ...app, apiKeys } });
    await update([apiKeyOf(backend, ["list_wallets"])], 1);
    for (let member = 0; member < ENCLAVES; member += 1) await list(member);
    await update([], 2);
    await pastTheBound();
    for (let member = 0; member < ENCLAVES; member += 1) {
      await expect(list(member)).rejects.toMatchObject({ code: "SESSION_UNKNOWN" });
    }
  });

  test("create_wallet asked again of every other enclave, at once, makes one wallet", async () => {
    const frank = await logIn(cluster, at(0), appId, "frank");
    const requestId = randomUUID();
    const made = await Promise.all(
      each.map((_, member) => as(member, frank).createWallet({ kind: "hd" }, { requestId })),
    );
    expect(new Set(made.map(({ walletId }) => walletId)).size).toBe(1);
    expect(new Set(made.map(({ accounts }) => accounts[0].address)).size).toBe(1);
    expect((await frank.session.listWallets()).wallets).toHaveLength(1);
  });

  test("logins of one new user at all of them at once make one user", async () => {
    const logins = await Promise.all(each.map((member) => logIn(cluster, member, appId, "grace")));
    expect(new Set(logins.map(({ session }) => session.userId)).size).toBe(1);
    expect((await as(0, logins[0] as (typeof logins)[number]).listSessions()).sessions).toHaveLength(ENCLAVES);
  });

  const outcomeOf = (work: Promise<unknown>) =>
    work.then(
      () => "done",
      (error: { code?: string }) => error.code,
    );

  test("a one-time password that is shown to all of them at once is taken by one", async () => {
    const totp = { requiredFor: ["create_wallet" as const] };
    const id = await createApp(cluster, at(0), { totp });
    const pat = await logIn(cluster, at(0), id, "pat");
    const { app } = await enrol(pat.session.account, () => cluster.nowMs());
    await pastTheBound();
    const secondFactor = app.code();
    const outcomes = await Promise.all(
      each.map((member) =>
        outcomeOf(member.call("create_wallet", { kind: "hd" }, { appId: id, keys: [pat.key], secondFactor })),
      ),
    );
    expect(outcomes.sort()).toEqual(["SECOND_FACTOR_INVALID", "SECOND_FACTOR_INVALID", "done"]);
    await expect(at(1).call("create_wallet", { kind: "hd" }, { appId: id, keys: [pat.key] })).rejects.toMatchObject({
      code: "SECOND_FACTOR_REQUIRED",
    });
  });

  test("a passkey's counter that is shown to all of them at once is taken by one; removed at one, it is refused by all", async () => {
    const id = await createPasskeyApp(cluster, at(0));
    const quin = await logIn(cluster, at(0), id, "quin");
    const authenticator = new Authenticator();
    const { passkeyId } = await registerPasskey({ client: at(0), appId: id, ...quin }, authenticator);
    const list = (member: Client, signCount: number) =>
      outcomeOf(
        member.call("list_wallets", { after: null }, { appId: id, keys: [passkeyOf(authenticator, { signCount })] }),
      );
    const outcomes = await Promise.all(each.map((member) => list(member, 40)));
    expect(outcomes.sort()).toEqual(["PASSKEY_COUNTER_REGRESSED", "PASSKEY_COUNTER_REGRESSED", "done"]);
    await at(1).call("remove_passkey", { passkeyId }, { appId: id, keys: [quin.key] });
    for (const [member, other] of each.entries()) expect(await list(other, 50 + member)).toBe("PASSKEY_UNKNOWN");
  });

  test("through a balancer that follows no hint, what is for one boot comes to it all the same", async () => {
    let turn = 0;
    // Whatever is asked for goes to the next one.
    const dumb: typeof fetch = async (input, init) => {
      const { pathname, search } = new URL(String(input));
      turn += 1;
      return fetch(new URL(pathname + search, cluster.members[turn % ENCLAVES]?.url), init);
    };
    const through = await cluster.connect({ fetch: dumb });
    for (const subject of ["leo", "mia", "nina"]) {
      const { session } = await logIn(cluster, through, appId, subject);
      await session.createWallet({ kind: "hd" });
      expect((await session.listWallets()).wallets).toHaveLength(1);
    }
  });

  test("a balancer, or a parent, that says that another boot answered gets nobody to believe it", async () => {
    const { session, key } = await logIn(cluster, at(0), appId, "olga");
    for (const lie of ["0".repeat(16), await bootAt(cluster.members[2]?.url ?? "")]) {
      const lying: typeof fetch = async (input, init) => {
        const url = new URL(String(input));
        const response = await fetch(new URL(url.pathname + url.search, cluster.members[0]?.url), init);
        const body = await response.arrayBuffer();
        const headers = new Headers(response.headers);
        headers.set(BOOT_HEADER, lie);
        if (url.pathname !== "/v1/attestation")
          return new Response(flipped(body), { status: response.status, headers });
        return new Response(body, { status: response.status, headers });
      };
      const told = await cluster.connect({ fetch: lying, attempts: 1 });
      await expect(new Session(told, appId, { ...credentialOf(session), key }).listWallets()).rejects.toMatchObject({
        code: "ANSWER_SIGNATURE_INVALID",
      });
    }
  });

  describe("one stamped request that a relay shows to all of them", () => {
    test("to sign: the same signature from each, and from each only once", async () => {
      const { fetch, sent } = recordingFetch();
      const only = await cluster.connect({ url: cluster.members[0]?.url ?? "", fetch, attempts: 1 });
      const heidi = await logIn(cluster, at(0), appId, "heidi");
      const { walletId } = await heidi.session.createWallet({ kind: "single-key" });
      await new Session(only, appId, { ...credentialOf(heidi.session), key: heidi.key }).signTransaction({
        walletId,
        ...sign,
      });
      const request = sent.at(-1);
      if (request === undefined) throw new Error("nothing was sent");
      const answers = await Promise.all(cluster.members.map(({ url }) => replay(url, request)));
      expect(answers.map(({ code }) => code)).toEqual(["REQUEST_REPLAYED", null, null]);
      expect(answers[1]?.body).toBe(answers[2]?.body);
      const again = await Promise.all(cluster.members.map(({ url }) => replay(url, request)));
      expect(again.map(({ code }) => code)).toEqual(Array.from({ length: ENCLAVES }, () => "REQUEST_REPLAYED"));
    });

    test("to log in, in the open: what one has acted on, no other acts on, and a session that was ended stays so", async () => {
      const key = await generateStampKey();
      const jwt = await cluster.issuer.mint({ subject: "judy", audience: AUDIENCE, nonce: await loginNonce(key) });
      const body = requestBody(cluster, { operation: "register_session", appId, params: { jwt } });
      const headers = new Headers({ "content-type": "application/json", [STAMP_HEADER]: await stampOf(key, body) });
      const answers = await Promise.all(
        cluster.members.map(({ url }) => replay(url, { path: "/v1/register_session", body, headers })),
      );
      const made = answers.filter(({ code }) => code === null);
      expect(made).toHaveLength(1);
      expect(answers.filter(({ code }) => code === "REQUEST_REPLAYED")).toHaveLength(ENCLAVES - 1);
      const { result } = JSON.parse(made[0]?.body ?? "") as { result: { sessionId: string } };
      const sessionId = result.sessionId;
      await at(0).call("revoke_session", { sessionId }, { appId, keys: [key] });
      await pastTheBound();
      for (const [member, { url }] of cluster.members.entries()) {
        expect((await replay(url, { path: "/v1/register_session", body, headers })).code).toBe("REQUEST_REPLAYED");
        await expect(at(member).call("list_wallets", { after: null }, { appId, keys: [key] })).rejects.toMatchObject({
          code: "SESSION_UNKNOWN",
        });
      }
    });

    test("that names a boot: the others refuse it, whatever their store says of it", async () => {
      const kim = await logIn(cluster, at(0), appId, "kim");
      const boots = await Promise.all(cluster.members.map(({ url }) => bootAt(url)));
      expect(new Set(boots).size).toBe(ENCLAVES);
      const [, boot = ""] = boots;
      const body = requestBody(cluster, { operation: "create_wallet", appId, params: { kind: "hd" }, boot });
      const headers = new Headers({ "content-type": "application/json", [STAMP_HEADER]: await stampOf(kim.key, body) });
      const answers = await Promise.all(
        cluster.members.map(({ url }) => replay(url, { path: "/v1/create_wallet", body, headers })),
      );
      expect(answers.map(({ code }) => code)).toEqual(["STAMPED_FOR_ANOTHER_BOOT", null, "STAMPED_FOR_ANOTHER_BOOT"]);
    });

    test("to seal anew by administrators: it is one rotation", async () => {
      const body = requestBody(cluster, { operation: "rotate_vault" });
      const stamp = await stampOf(cluster.administratorKey, body);
      const headers = new Headers({ "content-type": "application/json", [STAMP_HEADER]: stamp });
      const answers = await Promise.all(
        cluster.members.map(({ url }) => replay(url, { path: "/v1/rotate_vault", body, headers })),
      );
      expect(answers.filter(({ code }) => code === null)).toHaveLength(1);
      expect(answers.filter(({ code }) => code === "REQUEST_REPLAYED")).toHaveLength(ENCLAVES - 1);
    });

    test("sealed to log in: a session that was revoked since does not come back at any", async () => {
      const { fetch, sent } = recordingFetch();
      const key = await generateStampKey();
      const jwt = await cluster.issuer.mint({ subject: "ivan", audience: AUDIENCE, nonce: await loginNonce(key) });
      const only = await cluster.connect({ url: cluster.members[0]?.url ?? "", fetch, attempts: 1 });
      const session = await only.login({ appId, jwt, key });
      // Sealed to the boot that acted on it, no other can even read it.
      const sealed = sent.at(-1);
      if (sealed === undefined) throw new Error("nothing was sent");
      await session.revokeSession({ sessionId: session.sessionId });
      const answers = await Promise.all(cluster.members.map(({ url }) => replay(url, sealed)));
      expect(answers.slice(1).map(({ code }) => code)).toEqual(["SEALED_FOR_ANOTHER_BOOT", "SEALED_FOR_ANOTHER_BOOT"]);
      await pastTheBound();
      for (const member of each) {
        await expect(new Session(member, appId, { ...credentialOf(session), key }).listWallets()).rejects.toMatchObject(
          { code: "SESSION_UNKNOWN" },
        );
      }
    });
  });
});
