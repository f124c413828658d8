/** One-time passwords against whoever has a stolen session and a parent that helps: it repeats, races, drops and rolls back. */
import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Client } from "../../client/index.ts";
import { type Params, RECORDS_PORT, type StoredRecord } from "../../protocol/index.ts";
import type { HostileParent, Simulator } from "../../simulator/index.ts";
import { type AuthenticatorApp, createPasskeyApp, enrol, passkeyOf, registerPasskey } from "../support/account.ts";
import { createApp, type LoggedIn, logIn } from "../support/app.ts";
import { Authenticator } from "../support/authenticator.ts";
import { startHostileSimulator } from "../support/hostile-world.ts";
import { requestBody, send } from "../support/raw-request.ts";
import { codeOf } from "../support/refusals.ts";

let simulator: Simulator;
let hostile: HostileParent;
let client: Client;
/** Wants a code for every message. */
let appId: string;
let alice: LoggedIn;
let walletId: string;
let app: AuthenticatorApp;
let recoveryCodes: readonly string[];

const GUARDED: Partial<Params<"create_app">> = { totp: { requiredFor: ["sign_message"] } };
const nowMs = () => simulator.nowMs();

beforeAll(async () => {
  ({ simulator, hostile } = await startHostileSimulator());
  client = await simulator.connect();
  appId = await createPasskeyApp(simulator, client, GUARDED);
});
afterAll(() => simulator.stop());

beforeEach(async () => {
  alice = await logIn(simulator, client, appId, `alice-${randomUUID()}`);
  ({ walletId } = await alice.session.createWallet({ kind: "single-key" }));
  ({ app, recoveryCodes } = await enrol(alice.session.account, nowMs));
});
afterEach(() => {
  hostile.hooks.message = undefined;
});

const sign = (secondFactor?: string) =>
  alice.session.signMessage({ walletId, message: "0x00" }, secondFactor === undefined ? {} : { secondFactor });

async function guessWrongly(times: number): Promise<string[]> {
  const codes: string[] = [];
  for (let count = 0; count < times; count += 1) codes.push(await codeOf(sign(app.wrongCode())));
  return codes;
}

describe("a guarded operation", () => {
  test("passes with the present code, and is refused without one or with a wrong one", async () => {
    expect(await codeOf(sign())).toBe("SECOND_FACTOR_REQUIRED");
    expect(await codeOf(sign(app.wrongCode()))).toBe("SECOND_FACTOR_INVALID");
    expect(await codeOf(sign(app.code()))).toBe("done");
  });

  test("is refused to a user who has not enrolled, where the app asks for it", async () => {
    const { session } = await logIn(simulator, client, appId, "newcomer");
    const wallet = await session.createWallet({ kind: "single-key" });
    const attempt = session.signMessage({ walletId: wallet.walletId, message: "0x00" });
    expect(await codeOf(attempt)).toBe("SECOND_FACTOR_NOT_ENROLLED");
  });

  test("needs a code of the confirmed secret: one that was not confirmed guards nothing and opens nothing", async () => {
    const { session } = await logIn(simulator, client, appId, "hesitant");
    const wallet = await session.createWallet({ kind: "single-key" });
    await session.account.enrolTotp({ account: "hesitant" });
    const attempt = session.signMessage({ walletId: wallet.walletId, message: "0x00" }, { secondFactor: "000000" });
    expect(await codeOf(attempt)).toBe("SECOND_FACTOR_NOT_ENROLLED");
  });

  test("needs a code as well when a passkey asks for it", async () => {
    const authenticator = new Authenticator();
    const secondFactor = app.code();
    await registerPasskey({ client, appId, ...alice }, authenticator, { secondFactor });
    const keys = [passkeyOf(authenticator)];
    const call = client.call("sign_message", { walletId, message: "0x00" }, { appId, keys });
    expect(await codeOf(call)).toBe("SECOND_FACTOR_REQUIRED");
  });
});

describe("a code", () => {
  test("raced twice in parallel signs once", async () => {
    const code = app.code();
    const codes = await Promise.all([codeOf(sign(code)), codeOf(sign(code))]);
    expect(codes.sort()).toEqual(["SECOND_FACTOR_INVALID", "done"]);
  });

  test("raced by eight, with a parent that tells every writer that it was first, signs once", async () => {
    hostile.hooks.message = (port, direction, message) =>
      port === RECORDS_PORT && direction === "to-enclave" && "kind" in message && message.kind === "conflict"
        ? { id: message.id, kind: "written" }
        : message;
    const code = app.code();
    const codes = await Promise.all(Array.from({ length: 8 }, () => codeOf(sign(code))));
    expect(codes.filter((each) => each === "done").length).toBe(1);
  });

  test("that was used is refused later in its step, and so is the one of the step before", async () => {
    expect(await codeOf(sign(app.code()))).toBe("done");
    expect(await codeOf(sign(app.code()))).toBe("SECOND_FACTOR_INVALID");
    expect(await codeOf(sign(app.code(-1)))).toBe("SECOND_FACTOR_INVALID");
    expect(await codeOf(sign(app.code(1)))).toBe("done");
  });

  test("that came in the open is refused, and not used up", async () => {
    const code = app.code();
    const params = { walletId, message: "0x00" };
    const body = requestBody(simulator, { operation: "sign_message", appId, params, secondFactor: code });
    expect(await send(simulator, body, alice.key)).toMatchObject({ code: "SEALING_REQUIRED" });
    expect(await codeOf(sign(code))).toBe("done");
  });

  test("is judged by the enclave's clock: a parent that gains or loses time moves nothing", async () => {
    expect(await codeOf(sign(app.code(-2)))).toBe("SECOND_FACTOR_INVALID");
    expect(await codeOf(sign(app.code(2)))).toBe("SECOND_FACTOR_INVALID");
  });

  test("and the secret never pass the parent in the open", async () => {
    const seen = hostile.record.length;
    const bob = await logIn(simulator, client, appId, "bob");
    const { secret } = await bob.session.account.enrolTotp({ account: "bob" });
    const passed = hostile.record.slice(seen).map((each) => ("payload" in each ? each.payload : each.bytes));
    const bytes = Buffer.concat(passed).toString("latin1");
    expect(bytes.length).toBeGreaterThan(1000);
    expect(bytes).not.toContain(secret);
    const body = requestBody(simulator, { operation: "enrol_totp", appId, params: { account: "bob" } });
    expect(await send(simulator, body, bob.key)).toMatchObject({ code: "SEALING_REQUIRED" });
  });
});

describe("guessing", () => {
  test("is over after five wrong codes: then even the right one has to wait", async () => {
    expect(await guessWrongly(5)).toEqual(Array.from({ length: 5 }, () => "SECOND_FACTOR_INVALID"));
    expect(await codeOf(sign(app.code()))).toBe("SECOND_FACTOR_LOCKED");
    const [code = ""] = recoveryCodes;
    // Whoever stole the session cannot lock its owner out.
    expect(await codeOf(sign(code))).toBe("done");
    expect(await codeOf(sign(app.code()))).toBe("done");
  });

  test("with recovery codes' form locks nobody out: a thief of the session could go on with it for ever", async () => {
    const [used = ""] = recoveryCodes;
    expect(await codeOf(sign(used))).toBe("done");
    for (const code of [used, ...Array.from({ length: 9 }, () => "AAAA-AAAA-AAAA-AAAA")]) {
      expect(await codeOf(sign(code))).toBe("SECOND_FACTOR_INVALID");
    }
    expect(await codeOf(sign(app.code()))).toBe("done");
  });

  test("in parallel is no faster", async () => {
    const codes = await Promise.all(Array.from({ length: 20 }, () => codeOf(sign(app.wrongCode()))));
    expect(codes.filter((code) => code === "SECOND_FACTOR_INVALID").length).toBeLessThanOrEqual(5);
    expect(await codeOf(sign(app.code()))).toBe("SECOND_FACTOR_LOCKED");
  });

  test("is not free for a parent that reads the outcome from a record's size and drops the write", async () => {
    // It never writes, and never says so in a way that would have the enclave read again.
    hostile.hooks.message = (port, _direction, message) => {
      if (port !== RECORDS_PORT || !("kind" in message)) return message;
      if (message.kind === "conflict") return { id: message.id, kind: "failed" };
      if (message.kind !== "write") return message;
      return { ...message, changes: message.changes.map((change) => ({ ...change, expectedVersion: 1_000_000 })) };
    };
    const codes = await guessWrongly(6);
    expect(codes).toEqual([...Array.from({ length: 5 }, () => "RECORDS_UNAVAILABLE"), "SECOND_FACTOR_LOCKED"]);
    hostile.hooks.message = undefined;
    expect(await codeOf(sign(app.code()))).toBe("SECOND_FACTOR_LOCKED");
  });

  test("is not free again for a parent that replays an older record while the enclave lives", async () => {
    const userRecord = await storedUser();
    expect(userRecord).toBeDefined();
    await guessWrongly(5);
    hostile.hooks.message = (port, direction, message) =>
      port === RECORDS_PORT &&
      direction === "to-enclave" &&
      "record" in message &&
      message.record?.name === userRecord?.name
        ? { ...message, record: userRecord }
        : message;
    const codes = [await codeOf(sign(app.code())), await codeOf(sign(app.wrongCode()))];
    for (const code of codes) expect(["SECOND_FACTOR_LOCKED", "RECORD_ROLLED_BACK"]).toContain(code);
    hostile.hooks.message = undefined;
    expect(await codeOf(sign(app.code()))).toBe("SECOND_FACTOR_LOCKED");
  });

  /** The user's record as it stands: read by having the enclave write it once more and looking at what it wrote. */
  async function storedUser(): Promise<StoredRecord | undefined> {
    let stored: StoredRecord | undefined;
    hostile.hooks.message = (port, direction, message) => {
      const isWrite =
        port === RECORDS_PORT && direction === "to-parent" && "kind" in message && message.kind === "write";
      const change = isWrite ? message.changes.find(({ name }) => name.startsWith("user/")) : undefined;
      if (change?.value != null) stored = { name: change.name, version: change.version, value: change.value };
      return message;
    };
    await guessWrongly(1);
    await codeOf(sign(app.code()));
    hostile.hooks.message = undefined;
    return stored;
  }
});

describe("the account itself", () => {
  test("is changed with a code alone, once there is one", async () => {
    const { account } = alice.session;
    const jwt = alice.jwt;
    expect(await codeOf(account.linkIdentity(async () => jwt))).toBe("SECOND_FACTOR_REQUIRED");
    const { identityId = "" } = (await account.listIdentities())[0] ?? {};
    expect(await codeOf(account.unlinkIdentity(identityId))).toBe("SECOND_FACTOR_REQUIRED");
    const passkey = registerPasskey({ client, appId, ...alice }, new Authenticator());
    expect(await codeOf(passkey)).toBe("SECOND_FACTOR_REQUIRED");
    expect(await codeOf(account.removePasskey(`psk_${"0".repeat(32)}`))).toBe("SECOND_FACTOR_REQUIRED");
    expect(await codeOf(account.disableTotp(app.wrongCode()))).toBe("SECOND_FACTOR_INVALID");
    expect(await codeOf(account.requireTotp({ operations: [] }, app.wrongCode()))).toBe("SECOND_FACTOR_INVALID");
    expect(await codeOf(account.regenerateRecoveryCodes(app.wrongCode()))).toBe("SECOND_FACTOR_INVALID");
    expect(await codeOf(account.disableTotp(app.code()))).toBe("done");
    expect(await codeOf(account.disableTotp(app.code(1)))).toBe("TOTP_NOT_ENROLLED");
  });

  test("does not get a second secret beside a confirmed one", async () => {
    expect(await codeOf(alice.session.account.enrolTotp({ account: "x" }))).toBe("TOTP_ENROLLED");
    expect(await codeOf(alice.session.account.confirmTotp(app.code()))).toBe("TOTP_ENROLLED");
  });

  test("is asked for a code to confirm with, and for a secret before that", async () => {
    const { session } = await logIn(simulator, client, appId, "fresh");
    expect(await codeOf(session.account.confirmTotp("000000"))).toBe("TOTP_NOT_ENROLLED");
    await session.account.enrolTotp({ account: "fresh" });
    const call = client.call("confirm_totp", {}, { appId, keys: [(await freshKey(session)).key] });
    expect(await codeOf(call)).toBe("SECOND_FACTOR_REQUIRED");
    expect((await session.account.totpStatus()).confirmedAtMs).toBeNull();
  });

  async function freshKey(of: LoggedIn["session"]): Promise<LoggedIn> {
    const again = await logIn(simulator, client, appId, "fresh");
    expect(again.session.userId).toBe(of.userId);
    return again;
  }

  test("may ask for more than the app, and never for less", async () => {
    const { account } = alice.session;
    await account.requireTotp({ operations: ["create_wallet"] }, app.code());
    expect((await account.totpStatus()).requiredFor).toEqual(
      expect.arrayContaining(["create_wallet", "sign_message", "disable_totp"]),
    );
    expect(await codeOf(alice.session.createWallet({ kind: "single-key" }))).toBe("SECOND_FACTOR_REQUIRED");
    await account.requireTotp({ operations: [] }, app.code(1));
    expect(await codeOf(alice.session.createWallet({ kind: "single-key" }))).toBe("done");
    expect(await codeOf(sign())).toBe("SECOND_FACTOR_REQUIRED");
  });

  test("has ten recovery codes, each good for one use, and new ones end the old", async () => {
    const { account } = alice.session;
    const [first = "", second = "", third = ""] = recoveryCodes;
    expect(recoveryCodes.length).toBe(10);
    expect(await codeOf(sign(first))).toBe("done");
    expect(await codeOf(sign(first))).toBe("SECOND_FACTOR_INVALID");
    expect((await account.totpStatus()).recoveryCodesLeft).toBe(9);
    const fresh = await account.regenerateRecoveryCodes(second);
    expect(await codeOf(sign(third))).toBe("SECOND_FACTOR_INVALID");
    expect(await codeOf(sign(fresh[0]))).toBe("done");
  });

  test("cannot be shut out by what guards enrolling", async () => {
    for (const operation of ["enrol_totp", "confirm_totp"] as const) {
      const attempt = createApp(simulator, client, { totp: { requiredFor: [operation] } });
      expect(await codeOf(attempt)).toBe("INVALID_PARAMS");
      const own = alice.session.account.requireTotp({ operations: [operation] }, app.code());
      expect(await codeOf(own)).toBe("INVALID_PARAMS");
    }
  });
});
