/** Split wallets against a parent that keeps old records, swaps and hides them, and that has an accomplice with an account. */
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  type Client,
  Custody,
  type DeviceStore,
  generateStampKey,
  loginNonce,
  memoryDeviceStore,
} from "../../client/index.ts";
import { deviceFileStore } from "../../client-node/index.ts";
import {
  audienceOf,
  decodeBase64url,
  decodeShare,
  encodeBase64url,
  encodeRequest,
  encodeShare,
  encodeStamp,
  generateShareKey,
  openSealedShare,
  type Params,
  RECORDS_PORT,
  type Share,
  type StoredRecord,
  sharePublicKeyOf,
} from "../../protocol/index.ts";
import type { HostileParent, Simulator } from "../../simulator/index.ts";
import { createPasskeyApp, enrol, passkeyOf, registerPasskey } from "../support/account.ts";
import { AUDIENCE } from "../support/app.ts";
import { Authenticator } from "../support/authenticator.ts";
import { type Device, deviceOf, linkLogin, MESSAGE, sign } from "../support/custody.ts";
import { startHostileSimulator } from "../support/hostile-world.ts";
import { codeOf } from "../support/refusals.ts";

let simulator: Simulator;
let hostile: HostileParent;
let client: Client;
let appId: string;
let home: string;
let work: string;
let phone: Device;
let walletId: string;

const HELD = { kind: "held" } as const;
const MINUTE_MS = 60_000;

beforeAll(async () => {
  ({ simulator, hostile } = await startHostileSimulator());
  client = await simulator.connect({ attempts: 1 });
  appId = await createPasskeyApp(simulator, client, { sessionLifetimeS: 3600 });
});
afterAll(() => simulator.stop());
beforeEach(async () => {
  home = `home-${randomUUID()}`;
  work = `work-${randomUUID()}`;
  phone = await deviceOf(simulator, client, appId, home);
  await linkLogin(simulator, phone, work);
  walletId = (await phone.custody.createWallet({ kind: "hd" })).wallet.walletId;
});
afterEach(() => {
  hostile.hooks.message = undefined;
});

const logInAs = (subject: string) => deviceOf(simulator, client, appId, subject);

/** Signs with whatever is taken for a share. */
const signWith = (device: Device, share: string, id = walletId) =>
  codeOf(device.session.signMessage({ walletId: id, message: MESSAGE }, { share }));

async function changedShare(device: Device, change: (share: Share) => Partial<Share>, id = walletId): Promise<string> {
  const share = decodeShare(decodeBase64url(await device.custody.shareOf(id)));
  return encodeBase64url(encodeShare({ ...share, ...change(share) }));
}

const flip = (bytes: Uint8Array) => bytes.map((byte, at) => (at === 0 ? byte ^ 1 : byte));

/** From now on, every record that is read is one of those that are given, where there is one of its name. */
const bringBack = (old: ReadonlyMap<string, StoredRecord>, only: (name: string) => boolean = () => true) => {
  hostile.hooks.message = (port, _direction, message) => {
    if (port !== RECORDS_PORT || !isRecord(message) || message.record === null) return message;
    const kept = only(message.record.name) ? old.get(message.record.name) : undefined;
    return kept === undefined ? message : { ...message, record: kept };
  };
};
const custodyRecords = (name: string) => name.endsWith(walletId);

async function copyOf(read: () => Promise<unknown>): Promise<Map<string, StoredRecord>> {
  const kept = new Map<string, StoredRecord>();
  hostile.hooks.message = (port, _direction, message) => {
    if (port === RECORDS_PORT && isRecord(message) && message.record !== null) {
      kept.set(message.record.name, message.record);
    }
    return message;
  };
  await read();
  hostile.hooks.message = undefined;
  return kept;
}

describe("a share", () => {
  test("of another wallet of the same user, or of another user's, is refused, under its own name or a false one", async () => {
    const other = (await phone.custody.createWallet({ kind: "hd" })).wallet.walletId;
    const mallory = await logInAs(`mallory-${randomUUID()}`);
    const foreign = (await mallory.custody.createWallet({ kind: "hd" })).wallet.walletId;
    for (const [device, id] of [
      [phone, other],
      [mallory, foreign],
    ] as const) {
      expect(await signWith(phone, await device.custody.shareOf(id))).toBe("SHARE_OF_ANOTHER_WALLET");
      const renamed = await changedShare(device, () => ({ walletId }), id);
      expect(await signWith(phone, renamed)).toBe("SHARE_OUTDATED");
      const { setId, commitment } = decodeShare(decodeBase64url(await phone.custody.shareOf(walletId)));
      const disguised = await changedShare(device, () => ({ walletId, setId, commitment }), id);
      expect(await signWith(phone, disguised)).toBe("SHARE_CHANGED");
    }
  });

  test("that was changed, anywhere, is refused", async () => {
    expect(await signWith(phone, await changedShare(phone, ({ point }) => ({ point: flip(point) as never })))).toBe(
      "SHARE_CHANGED",
    );
    const recommitted = await changedShare(phone, ({ commitment }) => ({ commitment: flip(commitment) }));
    expect(await signWith(phone, recommitted)).toBe("SHARE_CHANGED");
    const bytes = decodeBase64url(await phone.custody.shareOf(walletId));
    for (let at = 0; at < bytes.length; at += 7) {
      const changed = bytes.map((byte, index) => (index === at ? byte ^ 0x20 : byte));
      expect(await signWith(phone, encodeBase64url(changed))).toMatch(/^SHARE_/);
    }
    for (const text of ["AAAA", encodeBase64url(bytes.subarray(1)), encodeBase64url(new Uint8Array(164))]) {
      expect(await signWith(phone, text)).toBe("SHARE_MALFORMED");
    }
    expect(await signWith(phone, await phone.custody.shareOf(walletId))).toBe("done");
  });

  test("of the other kind is refused: a recovery share signs nothing", async () => {
    const pair = await generateShareKey(false);
    const publicKey = await sharePublicKeyOf(pair);
    const exported = { kind: "exported", publicKey } as const;
    const made = await phone.session.call("create_split_wallet", {
      ...{ wallet: { kind: "single-key" }, devicePublicKey: publicKey, recovery: exported },
    });
    const id = made.wallet.walletId;
    const audience = `${client.deployment}/${appId}`;
    const recovery = await openSealedShare(
      pair,
      { audience, walletId: id, role: "recovery" },
      made.recoveryShare ?? "",
    );
    expect(await signWith(phone, encodeBase64url(recovery), id)).toBe("SHARE_UNEXPECTED");
    const relabelled = encodeShare({ ...decodeShare(recovery), role: "device" });
    expect(await signWith(phone, encodeBase64url(relabelled), id)).toBe("SHARE_CHANGED");
  });

  test("is not taken for a wallet that is whole", async () => {
    const whole = await phone.session.createWallet({ kind: "single-key" });
    const share = await phone.custody.shareOf(walletId);
    expect(await signWith(phone, share, whole.walletId)).toBe("SHARE_UNEXPECTED");
    const to = { devicePublicKey: await sharePublicKeyOf(await generateShareKey(false)), recovery: HELD };
    const reshare = phone.session.call("reshare_wallet", { walletId: whole.walletId, ...to }, { share });
    expect(await codeOf(reshare)).toBe("WALLET_NOT_SPLIT");
  });

  test("is seen by nobody on the way: in the open it is refused", async () => {
    const params = { walletId, message: MESSAGE };
    const body = {
      ...{ operation: "sign_message", audience: `${client.deployment}/${appId}`, requestId: randomUUID() },
      ...{ issuedAtMs: Math.round(client.nowMs()), params, share: await phone.custody.shareOf(walletId) },
    };
    const bytes = new TextEncoder().encode(JSON.stringify(body));
    const { scheme, publicKey } = phone.loggedIn.key;
    const stamp = encodeStamp({ scheme, publicKey, signature: await phone.loggedIn.key.sign(bytes) });
    expect(await codeOf(client.sendStamped(bytes, [stamp]))).toBe("SEALING_REQUIRED");
  });
});

describe("the recovery share", () => {
  test("is not for the login that has the device share, however fresh", async () => {
    const again = await logInAs(home);
    expect(await codeOf(again.custody.recover(walletId))).toBe("LOGIN_HOLDS_DEVICE_SHARE");
  });

  test("is not for the login of a device that was lost: its finder cannot take the wallet back", async () => {
    const laptop = await logInAs(work);
    await laptop.custody.recover(walletId);
    const thief = await logInAs(home);
    expect(await codeOf(thief.custody.recover(walletId))).toBe("LOGIN_HOLDS_DEVICE_SHARE");
    expect(await codeOf(sign(phone, walletId))).toBe("SHARE_OUTDATED");
  });

  test("is not for a login of a while ago, nor for one that was but renewed", async () => {
    const laptop = await logInAs(work);
    await simulator.advanceClock(6 * MINUTE_MS);
    const later = await simulator.connect({ attempts: 1 });
    const { key, session, jwt: first } = laptop.loggedIn;
    const params: Params<"recover_wallet"> = {
      ...{ walletId, recovery: HELD },
      devicePublicKey: await sharePublicKeyOf(await generateShareKey(false)),
    };
    expect(await codeOf(later.call("recover_wallet", params, { appId, keys: [key] }))).toBe("LOGIN_NOT_FRESH");
    await later.call("refresh_session", { jwt: first, sessionId: session.sessionId }, { appId, keys: [key] });
    expect(await codeOf(later.call("recover_wallet", params, { appId, keys: [key] }))).toBe("LOGIN_NOT_FRESH");
    const next = await generateStampKey();
    const jwt = await simulator.issuer.mint({ subject: work, audience: AUDIENCE, nonce: await loginNonce(next) });
    await later.call("refresh_session", { jwt, sessionId: session.sessionId }, { appId, keys: [next] });
    expect(await codeOf(later.call("recover_wallet", params, { appId, keys: [next] }))).toBe("LOGIN_NOT_FRESH");
    // Nor for one that goes on with its own key.
    const { sessions } = await later.call("list_sessions", {}, { appId, keys: [next] });
    const sessionId = sessions.find(({ isCurrent }) => isCurrent)?.sessionId ?? "";
    await later.call("refresh_session", { jwt, sessionId }, { appId, keys: [next] });
    expect(await codeOf(later.call("recover_wallet", params, { appId, keys: [next] }))).toBe("LOGIN_NOT_FRESH");
    client = later;
  });

  test("is not lost with an answer: who has recovered may do so again, for as long as a login is fresh", async () => {
    const laptop = await logInAs(work);
    // Whose key is gone with the program that asked.
    await laptop.session.custody(memoryDeviceStore()).recover(walletId);
    expect(await codeOf((await logInAs(home)).custody.recover(walletId))).toBe("LOGIN_HOLDS_DEVICE_SHARE");
    expect(await codeOf(laptop.custody.recover(walletId))).toBe("done");
    await sign(laptop, walletId);
    // Not after sharing anew with a device's share: that is a device's login.
    await laptop.custody.reshare(walletId);
    expect(await codeOf(laptop.custody.recover(walletId))).toBe("LOGIN_HOLDS_DEVICE_SHARE");
    const { wallet } = await phone.custody.createWallet({ kind: "hd" });
    await laptop.custody.recover(wallet.walletId);
    await simulator.advanceClock(6 * MINUTE_MS);
    client = await simulator.connect({ attempts: 1 });
    const again = await logInAs(work);
    expect(await codeOf(again.custody.recover(wallet.walletId))).toBe("LOGIN_HOLDS_DEVICE_SHARE");
  });

  test("is not for a session that is begun now, with a token of a while ago", async () => {
    const laptop = await logInAs(work);
    await simulator.advanceClock(6 * MINUTE_MS);
    client = await simulator.connect({ attempts: 1 });
    const { key, jwt } = laptop.loggedIn;
    const params: Params<"recover_wallet"> = {
      ...{ walletId, recovery: HELD },
      devicePublicKey: await sharePublicKeyOf(await generateShareKey(false)),
    };
    await client.login({ appId, jwt, key });
    expect(await codeOf(client.call("recover_wallet", params, { appId, keys: [key] }))).toBe("LOGIN_NOT_FRESH");
  });

  test("is not for a login that was added a moment ago by whoever has a session, until a day has gone by", async () => {
    const added = `added-${randomUUID()}`;
    await linkLogin(simulator, phone, added);
    expect(await codeOf((await logInAs(added)).custody.recover(walletId))).toBe("LOGIN_TOO_NEW");
    await simulator.advanceClock(24 * 60 * MINUTE_MS);
    client = await simulator.connect({ attempts: 1 });
    expect(await codeOf((await logInAs(added)).custody.recover(walletId))).toBe("done");
  });

  test("does not leave for the device's login either: with its device share that would be the key", async () => {
    const again = await deviceOf(simulator, client, appId, home, phone.store);
    const publicKey = await sharePublicKeyOf(await generateShareKey(false));
    const taken = again.custody.reshare(walletId, { kind: "public-key", publicKey });
    expect(await codeOf(taken)).toBe("LOGIN_HOLDS_DEVICE_SHARE");
    const other = await deviceOf(simulator, client, appId, work, phone.store);
    expect(await codeOf(other.custody.reshare(walletId, { kind: "public-key", publicKey }))).toBe("done");
  });

  test("does not leave by way of a login that the device's finder has added: nobody but the settled hands on its place", async () => {
    const { session, key } = await deviceOf(simulator, client, appId, home, phone.store).then((each) => each.loggedIn);
    const added = `added-${randomUUID()}`;
    await linkLogin(simulator, phone, added);
    const authenticator = new Authenticator();
    await registerPasskey({ client, appId, session, key }, authenticator);
    // Were one of these to become the device's login, the login that was it could have the recovery share exported.
    const other = await deviceOf(simulator, client, appId, added, phone.store);
    const publicKey = await sharePublicKeyOf(await generateShareKey(false));
    const share = await phone.custody.shareOf(walletId);
    const params = { walletId, recovery: HELD, devicePublicKey: publicKey };
    expect(await codeOf(other.custody.reshare(walletId))).toBe("LOGIN_TOO_NEW");
    const byPasskey = client.call("reshare_wallet", params, { appId, keys: [passkeyOf(authenticator)], share });
    expect(await codeOf(byPasskey)).toBe("LOGIN_TOO_NEW");
    const again = await deviceOf(simulator, client, appId, home, phone.store);
    expect(await codeOf(again.custody.reshare(walletId, { kind: "public-key", publicKey }))).toBe(
      "LOGIN_HOLDS_DEVICE_SHARE",
    );
    // Nor where the share was exported and is to be held from now on.
    const { wallet } = await phone.custody.createWallet({ kind: "hd" }, { kind: "public-key", publicKey });
    const newest = `newest-${randomUUID()}`;
    await linkLogin(simulator, phone, newest);
    const newer = await deviceOf(simulator, client, appId, newest, phone.store);
    expect(await codeOf(newer.custody.reshare(wallet.walletId))).toBe("LOGIN_TOO_NEW");
  });

  test("is brought where it is exported, and by nobody where it is held", async () => {
    const laptop = await logInAs(work);
    const share = await phone.custody.shareOf(walletId);
    expect(await codeOf(laptop.custody.recover(walletId, null, HELD, { share }))).toBe("SHARE_UNEXPECTED");
    const { wallet } = await phone.custody.createWallet(
      { kind: "hd" },
      { kind: "public-key", publicKey: await sharePublicKeyOf(await generateShareKey(false)) },
    );
    expect(await codeOf(laptop.custody.recover(wallet.walletId))).toBe("RECOVERY_SHARE_EXPORTED");
    const device = await phone.custody.shareOf(wallet.walletId);
    expect(await codeOf(laptop.custody.recover(wallet.walletId, null, HELD, { share: device }))).toBe(
      "SHARE_UNEXPECTED",
    );
  });

  test("is for a passkey that had nothing to do with the device, which stamps the request itself", async () => {
    const authenticator = new Authenticator();
    const { session, key } = await logInAs(home).then(({ loggedIn }) => loggedIn);
    await registerPasskey({ client, appId, session, key }, authenticator);
    const params: Params<"recover_wallet"> = {
      ...{ walletId, recovery: HELD },
      devicePublicKey: await sharePublicKeyOf(await generateShareKey(false)),
    };
    const ask = () => client.call("recover_wallet", params, { appId, keys: [passkeyOf(authenticator)] });
    expect(await codeOf(ask())).toBe("LOGIN_TOO_NEW");
    const made = await session.custody(memoryDeviceStore()).createWallet({ kind: "hd" });
    params.walletId = made.wallet.walletId;
    expect(await codeOf(ask())).toBe("done");
  });

  test("asks for a one-time password where there is one, and so does sharing anew", async () => {
    const laptop = await logInAs(work);
    const { app } = await enrol(laptop.session.account, () => client.nowMs());
    expect(await codeOf(laptop.custody.recover(walletId))).toBe("SECOND_FACTOR_REQUIRED");
    expect(await codeOf(phone.custody.reshare(walletId))).toBe("SECOND_FACTOR_REQUIRED");
    expect(await codeOf(laptop.custody.recover(walletId, null, HELD, { secondFactor: app.code() }))).toBe("done");
  });

  test("is sealed to a key that can hide it, or to none", async () => {
    const laptop = await logInAs(work);
    for (const publicKey of ["00".repeat(32), `01${"00".repeat(31)}`]) {
      const params: Params<"recover_wallet"> = { walletId, devicePublicKey: publicKey, recovery: HELD };
      expect(await codeOf(laptop.session.call("recover_wallet", params))).toBe("SHARE_KEY_MALFORMED");
    }
  });
});

describe("an accomplice with an account", () => {
  test("can neither sign nor recover nor share anew what is another user's, even with a share that was stolen", async () => {
    const mallory = await logInAs(`mallory-${randomUUID()}`);
    const share = await phone.custody.shareOf(walletId);
    const to = { devicePublicKey: await sharePublicKeyOf(await generateShareKey(false)), recovery: HELD };
    expect(await signWith(mallory, share)).toBe("WALLET_NOT_FOUND");
    for (const operation of ["recover_wallet", "reshare_wallet"] as const) {
      expect(await codeOf(mallory.session.call(operation, { walletId, ...to }, { share }))).toBe("WALLET_NOT_FOUND");
    }
  });

  test("gains nothing from records that the parent puts under their name", async () => {
    const mallory = await logInAs(`mallory-${randomUUID()}`);
    const own = (await mallory.custody.createWallet({ kind: "hd" })).wallet.walletId;
    const taken = new Map<string, StoredRecord>();
    hostile.hooks.message = (port, _direction, message) => {
      if (port !== RECORDS_PORT || !isRecord(message) || message.record === null) return message;
      const { record } = message;
      taken.set(record.name, record);
      const swapped = [...taken.values()].find(({ name }) => isKindOf(name, record.name) && name.endsWith(walletId));
      if (!record.name.endsWith(own) || swapped === undefined) return message;
      return { ...message, record: { ...swapped, name: record.name } };
    };
    expect(await codeOf(sign(phone, walletId))).toBe("done");
    const share = await phone.custody.shareOf(walletId);
    expect(await signWith(mallory, share, own)).toMatch(/^RECORD_/);
    expect(await codeOf(sign(mallory, own))).toMatch(/^RECORD_/);
  });
});

describe("a parent that keeps records", () => {
  test("cannot bring an old set back while the enclave lives", async () => {
    const stolen = await phone.custody.shareOf(walletId);
    // A recovery that its key makes come to nothing, so that both records are read.
    const laptop = await logInAs(work);
    const bad: Params<"recover_wallet"> = { walletId, devicePublicKey: "00".repeat(32), recovery: HELD };
    const old = await copyOf(() => codeOf(laptop.session.call("recover_wallet", bad)));
    expect([...old.keys()].filter(custodyRecords).map((name) => name.split("/")[0])).toEqual(["wallet", "recovery"]);
    await laptop.custody.recover(walletId);
    bringBack(old, custodyRecords);
    expect(await signWith(phone, stolen)).toBe("RECORD_ROLLED_BACK");
    expect(await codeOf(sign(laptop, walletId))).toBe("RECORD_ROLLED_BACK");
    hostile.hooks.message = undefined;
    expect(await signWith(phone, stolen)).toBe("SHARE_OUTDATED");
    expect(await codeOf(sign(laptop, walletId))).toBe("done");
  });

  test("cannot hide the recovery share, nor the wallet, without that being seen", async () => {
    const laptop = await logInAs(work);
    for (const hidden of ["recovery/", "wallet/"]) {
      hostile.hooks.message = (port, _direction, message) =>
        port === RECORDS_PORT &&
        isRecord(message) &&
        message.record?.name.startsWith(hidden) === true &&
        custodyRecords(message.record.name)
          ? { ...message, record: null }
          : message;
      expect(await codeOf(laptop.custody.recover(walletId))).toBe("RECORD_ROLLED_BACK");
    }
  });
});

describe("a parent that keeps records across a restart", () => {
  async function restart(): Promise<void> {
    await simulator.killEnclave();
    await simulator.startEnclave();
    client = await simulator.connect({ attempts: 1 });
  }

  test("can bring a whole old set back, and that is said so; half of one is seen", async () => {
    const stolen = await phone.custody.shareOf(walletId);
    const laptop = await logInAs(work);
    const bad: Params<"recover_wallet"> = { walletId, devicePublicKey: "00".repeat(32), recovery: HELD };
    const old = await copyOf(() => codeOf(laptop.session.call("recover_wallet", bad)));
    await laptop.custody.recover(walletId);
    await restart();
    // The wallet's record alone: a recovery finds that the recovery share is of another set.
    bringBack(old, (name) => name.startsWith("wallet/") && custodyRecords(name));
    expect(await codeOf((await logInAs(work)).custody.recover(walletId))).toBe("RECORD_ROLLED_BACK");
    // docs/recovery.md, "What a parent can still do": the old share signs again, for whoever has a session as well.
    const thief = await logInAs(home);
    expect(await signWith(thief, stolen)).toBe("done");
    // And the owner sees it: their own share, of the later set, is refused.
    const owner = await deviceOf(simulator, client, appId, work, laptop.store);
    expect(await codeOf(sign(owner, walletId))).toBe("SHARE_OUTDATED");
  });
});

test("a split wallet that is deleted takes its recovery share along, and so does a user who is erased", async () => {
  const deleted: string[] = [];
  // A sealed deletion is of one byte.
  const isDeletion = (value: Uint8Array | null) => value === null || value.length === 1 + 4 + 12 + 1 + 16;
  hostile.hooks.message = (port, _direction, message) => {
    if (port === RECORDS_PORT && "kind" in message && message.kind === "write") {
      deleted.push(...message.changes.filter(({ value }) => isDeletion(value)).map(({ name }) => name));
    }
    return message;
  };
  const other = (await phone.custody.createWallet({ kind: "hd" })).wallet.walletId;
  await phone.session.call("delete_wallet", { walletId, withoutExport: true });
  const { userId } = phone.session;
  await phone.session.call("erase_user", { userId });
  for (const id of [walletId, other]) {
    for (const kind of ["wallet", "recovery"]) expect(deleted).toContain(`${kind}/${appId}/${userId}/${id}`);
  }
});

describe("an answer that the parent withholds", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "cloister-test-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** The same device's program, which asks and is closed before it is answered. */
  function closedTooEarly({ session }: Device, store: DeviceStore): Custody {
    const call: ConstructorParameters<typeof Custody>[0]["call"] = async (name, params, options) => {
      await session.call(name, params, options);
      throw new Error("closed");
    };
    return new Custody({ deployment: simulator.deployment, appId, call, store });
  }
  const lonely = async (store: DeviceStore) => {
    const subject = `lonely-${randomUUID()}`;
    const device = await deviceOf(simulator, client, appId, subject, store);
    return { subject, device, walletId: (await device.custody.createWallet({ kind: "hd" })).wallet.walletId };
  };
  const setOf = async ({ session }: Device, id: string) => {
    const { events } = await session.account.listEvents();
    return events.filter(({ event }) => event.includes("wallet-reshared") && event.includes(id)).length;
  };

  const stores: readonly (readonly [string, () => DeviceStore])[] = [
    ["memory", memoryDeviceStore],
    ["a file", () => deviceFileStore(folder, { passphrase: null })],
    ["an encrypted file", () => deviceFileStore(folder, { passphrase: "of this device" })],
  ];
  test.each(stores)(
    "does not lose the device's share to a user of one login: %s keeps what opens it",
    async (_where, make) => {
      const store = make();
      const { subject, device, walletId: id } = await lonely(store);
      await expect(closedTooEarly(device, store).reshare(id)).rejects.toThrow("closed");
      // What the device holds is an old share by now, and its login is the one that cannot recover.
      expect(await codeOf(device.session.custody(store).call("sign_message", { walletId: id, message: MESSAGE }))).toBe(
        "SHARE_OUTDATED",
      );
      expect(await codeOf(device.session.custody(memoryDeviceStore()).recover(id))).toBe("LOGIN_HOLDS_DEVICE_SHARE");
      const again = await deviceOf(simulator, client, appId, subject, store);
      expect((await again.custody.resume(id))?.wallet.walletId).toBe(id);
      await sign(again, id);
      expect(await again.custody.resume(id)).toBeNull();
      expect(await setOf(again, id)).toBe(1);
    },
    // Five rounds of scrypt, beside whatever else the machine does.
    90_000,
  );

  test("is had again by sharing anew, which makes no other set; and a file for another passphrase does", async () => {
    const store = memoryDeviceStore();
    const { device, walletId: id } = await lonely(store);
    const program = closedTooEarly(device, store);
    await expect(program.reshare(id)).rejects.toThrow("closed");
    await device.custody.reshare(id);
    expect(await setOf(device, id)).toBe(1);
    await expect(program.reshare(id)).rejects.toThrow("closed");
    const publicKey = await sharePublicKeyOf(await generateShareKey(false));
    // A login that is the device's may not have a held share exported: the lost set is finished all the same.
    expect(await codeOf(device.custody.reshare(id, { kind: "public-key", publicKey }))).toBe(
      "LOGIN_HOLDS_DEVICE_SHARE",
    );
    expect(await setOf(device, id)).toBe(2);
    await sign(device, id);
  });

  test("of a recovery is had again as well, without the five minutes for who has lost all", async () => {
    const store = memoryDeviceStore();
    const laptop = await deviceOf(simulator, client, appId, work, store);
    await expect(closedTooEarly(laptop, store).recover(walletId)).rejects.toThrow("closed");
    await simulator.killEnclave();
    await simulator.startEnclave();
    await simulator.advanceClock(6 * MINUTE_MS);
    client = await simulator.connect({ attempts: 1 });
    const again = await deviceOf(simulator, client, appId, work, store);
    await again.custody.recover(walletId);
    await sign(again, walletId);
  });

  test("helps nobody else: under its id another key gets nothing, and the same key's answer opens for the device alone", async () => {
    const store = memoryDeviceStore();
    const { device, walletId: id } = await lonely(store);
    const old = await device.custody.shareOf(id);
    await expect(closedTooEarly(device, store).reshare(id)).rejects.toThrow("closed");
    const pending = (await store.load(id))?.pending;
    if (pending === undefined) throw new Error("nothing is pending");
    // By a session of the user that is stolen, with a copy of the old share.
    const thief = await generateShareKey(false);
    const { requestId, recovery } = pending;
    const asked = { walletId: id, recovery, devicePublicKey: await sharePublicKeyOf(thief) };
    expect(await codeOf(device.session.call("reshare_wallet", asked, { requestId, share: old }))).toBe(
      "SHARE_OUTDATED",
    );
    const same = { ...asked, devicePublicKey: await sharePublicKeyOf(pending.pair) };
    const { deviceShare } = await device.session.call("reshare_wallet", same, { requestId, share: old });
    const address = { audience: audienceOf(simulator.deployment, appId), walletId: id, role: "device" } as const;
    await expect(openSealedShare(thief, address, deviceShare)).rejects.toMatchObject({ code: "SHARE_NOT_OPENED" });
  });

  test("is not given up for a refusal while the first asking may still arrive", async () => {
    const store = memoryDeviceStore();
    const { subject, walletId: id } = await lonely(store);
    const call: ConstructorParameters<typeof Custody>[0]["call"] = async () => {
      throw new Error("closed");
    };
    const program = new Custody({ deployment: simulator.deployment, appId, call, store });
    await expect(program.reshare(id)).rejects.toThrow("closed");
    const { pending } = (await store.load(id)) ?? {};
    if (pending === undefined) throw new Error("nothing is pending");
    const { operation, requestId, recovery, pair } = pending;
    // By a session that may not share anew, however often.
    const renewed = await deviceOf(simulator, client, appId, subject, store);
    await simulator.advanceClock(6 * MINUTE_MS);
    expect(await renewed.custody.resume(id)).toBeNull();
    expect(await codeOf(renewed.custody.reshare(id))).toBe("LOGIN_NOT_FRESH");
    const again = await deviceOf(simulator, client, appId, subject, store);
    // What the parent held back arrives now.
    const asked = { walletId: id, recovery, devicePublicKey: await sharePublicKeyOf(pair) };
    await again.session.call(operation, asked, { requestId, share: await again.custody.shareOf(id) });
    expect((await again.custody.resume(id))?.wallet.walletId).toBe(id);
    expect(await setOf(again, id)).toBe(1);
    await sign(again, id);
  });

  test("is not given up for a share that another device is to hand over", async () => {
    const store = memoryDeviceStore();
    const { device, walletId: id } = await lonely(store);
    const other = device.session.custody(memoryDeviceStore());
    await other.acceptShare(id, await device.custody.handOver(id, await other.expectShare(id)));
    await expect(closedTooEarly(device, store).reshare(id)).rejects.toThrow("closed");
    // Both shares are outdated by now: what opens the present one is pending.
    const waits = await device.custody.expectShare(id);
    expect((await store.load(id))?.pending).toBeDefined();
    await device.custody.acceptShare(id, await other.handOver(id, waits));
    expect((await device.custody.resume(id))?.wallet.walletId).toBe(id);
    await sign(device, id);
    await expect(closedTooEarly(device, store).reshare(id)).rejects.toThrow("closed");
    await device.custody.expectShare(id);
    expect((await device.custody.resume(id))?.wallet.walletId).toBe(id);
    await sign(device, id);
  });

  test("is given up where the wallet was shared anew since", async () => {
    const store = memoryDeviceStore();
    const { device, walletId: id } = await lonely(store);
    const second = memoryDeviceStore();
    const handed = device.session.custody(second);
    await handed.acceptShare(id, await device.custody.handOver(id, await handed.expectShare(id)));
    await expect(closedTooEarly(device, store).reshare(id)).rejects.toThrow("closed");
    // The other device, which has a copy of the old share, finds that it is one.
    expect(await codeOf(handed.reshare(id))).toBe("SHARE_OUTDATED");
    expect(await handed.resume(id)).toBeNull();
    expect((await second.load(id))?.pending).toBeUndefined();
    await device.custody.resume(id);
    await sign(device, id);
  });
});

describe("asked again", () => {
  test("a recovery whose answer was lost gives the same answer, and shares nothing a second time", async () => {
    const laptop = await logInAs(work);
    const pair = await generateShareKey(false);
    const params: Params<"recover_wallet"> = {
      ...{ walletId, recovery: HELD },
      devicePublicKey: await sharePublicKeyOf(pair),
    };
    const requestId = randomUUID();
    const first = await laptop.session.call("recover_wallet", params, { requestId });
    expect(await laptop.session.call("recover_wallet", params, { requestId })).toEqual(first);
    const other = { ...params, devicePublicKey: await sharePublicKeyOf(await generateShareKey(false)) };
    // To other keys it is another recovery, and another set.
    const { wallet } = await laptop.session.call("recover_wallet", other, { requestId });
    expect(wallet.custody).not.toEqual(first.wallet.custody);
    expect(await codeOf((await logInAs(home)).session.call("recover_wallet", other))).toBe("LOGIN_HOLDS_DEVICE_SHARE");
  });

  test("a creation gives the same wallet and shares, and another one under its id is refused", async () => {
    const params: Params<"create_split_wallet"> = {
      ...{ wallet: { kind: "hd" }, recovery: HELD },
      devicePublicKey: await sharePublicKeyOf(await generateShareKey(false)),
    };
    const requestId = randomUUID();
    const first = await phone.session.call("create_split_wallet", params, { requestId });
    expect(await phone.session.call("create_split_wallet", params, { requestId })).toEqual(first);
    const other = { ...params, wallet: { kind: "single-key" } } as const;
    expect(await codeOf(phone.session.call("create_split_wallet", other, { requestId }))).toBe("RECORD_CONFLICT");
    expect(await codeOf(phone.session.call("create_wallet", { kind: "hd" }, { requestId }))).toBe("RECORD_CONFLICT");
  });

  test("a request that is shown twice is carried out once", async () => {
    const laptop = await logInAs(work);
    const params: Params<"recover_wallet"> = {
      ...{ walletId, recovery: HELD },
      devicePublicKey: await sharePublicKeyOf(await generateShareKey(false)),
    };
    const body = encodeRequest({
      ...{ operation: "recover_wallet", audience: audienceOf(client.deployment, appId), requestId: randomUUID() },
      ...{ issuedAtMs: Math.round(client.nowMs()), params },
    });
    const { scheme, publicKey, sign: stampBody } = laptop.loggedIn.key;
    const stamp = encodeStamp({ scheme, publicKey, signature: await stampBody(body) });
    expect(await codeOf(client.sendStamped(body, [stamp]))).toBe("done");
    expect(await codeOf(client.sendStamped(body, [stamp]))).toBe("REQUEST_REPLAYED");
  });

  test("two recoveries at once end with one set, whose device signs", async () => {
    const devices = await Promise.all([logInAs(work), logInAs(work)]);
    await Promise.all(devices.map(({ custody }) => codeOf(custody.recover(walletId))));
    const codes = await Promise.all(devices.map((device) => codeOf(sign(device, walletId))));
    expect(codes.filter((code) => code === "done").length).toBe(1);
  });
});

/** What the record store answers to a read. */
function isRecord(message: object): message is { readonly kind: "record"; readonly record: StoredRecord | null } {
  return "kind" in message && message.kind === "record";
}

function isKindOf(name: string, other: string): boolean {
  return name.split("/")[0] === other.split("/")[0];
}
