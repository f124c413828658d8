/** A user's passkeys: registered, found by the credential that a stamp names, removed. The user's record holds them. */
import { createHash, createPublicKey, type KeyObject } from "node:crypto";
import {
  encodeBase64url,
  type Params,
  type Passkey,
  type PasskeyRules,
  passkeyRegistrationInput,
  RequestError,
  type WebauthnStamp,
  z,
} from "../../protocol/index.ts";
import type { Events } from "../events/events.ts";
import { RecencyMap } from "../recency-map.ts";
import type { User, UserPasskey } from "../users/user.ts";
import type { Users } from "../users/users.ts";
import type { Ids } from "../vault/ids.ts";
import { type Change, change, type RecordKind, type Records } from "../vault/records.ts";
import { checkCounter, type VerifiedAssertion, verifyAssertion } from "./webauthn/verify-assertion.ts";
import { verifyRegistration } from "./webauthn/verify-registration.ts";

/** At their greatest they take a quarter of the user's record. */
const MAX_PASSKEYS_PER_USER = 8;
const MAX_CACHED = 10_000;

const pointerSchema = z.strictObject({ userId: z.string() });
type Pointer = z.output<typeof pointerSchema>;

/** `passkey/<appId>/<passkeyId>`: whose list has this passkey. Whether it is there is that list's to say. */
const passkeyRecords: RecordKind<Pointer> = { prefix: "passkey/", schema: pointerSchema };

export interface FoundPasskey {
  readonly userId: string;
  readonly user: User;
  readonly passkey: UserPasskey;
  /** Signed for this very body, by this passkey; its counter is not judged yet. */
  readonly assertion: VerifiedAssertion;
}

export class Passkeys {
  readonly #records: Records;
  readonly #ids: Ids;
  readonly #users: Users;
  readonly #events: Events;
  readonly #nowMs: () => number;
  /** Whose list had a passkey when it was last looked for. */
  readonly #pointers = new RecencyMap<string, string>(MAX_CACHED);
  /** Importing a key costs as much as a verification. By its DER. */
  readonly #keys = new RecencyMap<string, KeyObject>(MAX_CACHED);

  constructor(options: {
    readonly records: Records;
    readonly ids: Ids;
    readonly users: Users;
    readonly events: Events;
    readonly nowMs: () => number;
  }) {
    this.#records = options.records;
    this.#ids = options.ids;
    this.#users = options.users;
    this.#events = options.events;
    this.#nowMs = options.nowMs;
  }

  /**
   * Finds the passkey that a stamp names, and verifies the stamp.
   *
   * @param rules - The app's, or null if it takes no passkeys.
   * @param maxAgeMs - Of what says that the user has it; what says otherwise was read just now.
   * @throws {@link RequestError} `PASSKEYS_NOT_ALLOWED`, `PASSKEY_…`, and what reading records throws
   */
  async verify(
    appId: string,
    stamp: WebauthnStamp,
    body: Uint8Array,
    rules: PasskeyRules | null,
    maxAgeMs?: number,
  ): Promise<FoundPasskey> {
    const known = rulesOf(rules);
    const passkeyId = this.#idOf(appId, stamp.credentialId);
    const { userId, user, passkey } = await this.#find(appId, passkeyId, maxAgeMs);
    const { algorithm, isBackupEligible } = passkey;
    const registered = { algorithm, isBackupEligible, key: this.#keyOf(passkey.publicKey) };
    return { userId, user, passkey, assertion: verifyAssertion(stamp, body, registered, known) };
  }

  /**
   * Judges the counter of an assertion and keeps it: of two copies of a passkey one is refused.
   *
   * @throws {@link RequestError} `PASSKEY_COUNTER_REGRESSED`, `PASSKEY_UNKNOWN`, and what changing a user throws
   */
  async use(appId: string, { userId, passkey, assertion }: FoundPasskey): Promise<void> {
    const { signCount, isBackedUp } = assertion;
    await this.#users.change<void>(appId, userId, (user) => {
      const kept = user.passkeys.find((each) => each.passkeyId === passkey.passkeyId);
      if (kept === undefined) throw unknownPasskey();
      checkCounter(kept.signCount, signCount);
      if (kept.signCount === signCount && kept.isBackedUp === isBackedUp) return { kind: "leave", result: undefined };
      const passkeys = user.passkeys.map((each) => (each === kept ? { ...kept, signCount, isBackedUp } : each));
      return { kind: "write", user: { ...user, passkeys }, result: undefined };
    });
  }

  /**
   * Registers a passkey for a user. It has stamped the request itself: without that anybody could register another's
   * passkey, whose public half is no secret, and have its owner act in an account that is not theirs.
   *
   * @param request.by - The session's id.
   * @throws {@link RequestError} `PASSKEYS_NOT_ALLOWED`, `PASSKEY_…`, `TOO_MANY_PASSKEYS`, and what changing a user throws
   */
  async register(
    request: {
      readonly appId: string;
      readonly userId: string;
      readonly audience: string;
      readonly requestId: string;
      readonly body: Uint8Array;
      readonly stamp: WebauthnStamp;
      readonly by: string;
    },
    params: Params<"register_passkey">,
    rules: PasskeyRules | null,
  ): Promise<Passkey> {
    const { appId, userId, stamp } = request;
    const known = rulesOf(rules);
    const made = verifyRegistration(
      {
        attestationObject: Buffer.from(params.attestationObject, "base64url"),
        clientDataJson: Buffer.from(params.clientDataJson, "base64url"),
      },
      encodeBase64url(createHash("sha256").update(passkeyRegistrationInput(request)).digest()),
      known,
    );
    if (Buffer.compare(made.credentialId, stamp.credentialId) !== 0) {
      throw new RequestError("PASSKEY_UNKNOWN", "the passkey that stamped is not the one to be registered");
    }
    const { isBackupEligible } = made;
    const assertion = verifyAssertion(stamp, request.body, { ...made.publicKey, isBackupEligible }, known);
    checkCounter(made.signCount, assertion.signCount);
    const passkeyId = this.#idOf(appId, made.credentialId);
    const passkey: UserPasskey = {
      passkeyId,
      credentialId: Uint8Array.from(made.credentialId),
      name: params.name,
      algorithm: made.publicKey.algorithm,
      publicKey: Uint8Array.from(made.publicKey.key.export({ type: "spki", format: "der" })),
      signCount: assertion.signCount,
      isBackupEligible,
      isBackedUp: assertion.isBackedUp,
      createdAtMs: this.#nowMs(),
    };
    return this.#users.change(appId, userId, async (user) => {
      const own = user.passkeys.find((each) => each.passkeyId === passkeyId);
      // Asked again because an answer was lost. The same credential with another key would be another's.
      if (own !== undefined && Buffer.compare(own.publicKey, passkey.publicKey) === 0) {
        return { kind: "leave", result: describe(own) };
      }
      const name = `${appId}/${passkeyId}`;
      const pointer = await this.#records.read(passkeyRecords, name);
      if (own !== undefined || (await this.#isTaken(appId, userId, passkeyId, pointer?.value))) {
        throw new RequestError("PASSKEY_TAKEN", "this passkey is registered already");
      }
      if (user.passkeys.length >= MAX_PASSKEYS_PER_USER) {
        throw new RequestError("TOO_MANY_PASSKEYS", `a user has at most ${MAX_PASSKEYS_PER_USER} passkeys`);
      }
      const event = { kind: "passkey-registered", by: request.by, details: { passkeyId, name: params.name } } as const;
      const added = this.#events.add(appId, userId, { ...user, passkeys: [...user.passkeys, passkey] }, event);
      const also = [change(passkeyRecords, name, pointer, { userId }), added.also];
      return { kind: "write", user: added.user, also, result: describe(passkey) };
    });
  }

  /**
   * Removes a passkey, and ends the sessions that it began.
   *
   * @throws {@link RequestError} `PASSKEY_NOT_FOUND`, and what changing a user throws
   */
  async remove(
    { appId, userId, by }: { readonly appId: string; readonly userId: string; readonly by: string },
    passkeyId: string,
  ): Promise<void> {
    await this.#users.change<void>(appId, userId, async (user) => {
      const passkey = user.passkeys.find((each) => each.passkeyId === passkeyId);
      if (passkey === undefined) throw new RequestError("PASSKEY_NOT_FOUND", "this user has no such passkey");
      const passkeys = user.passkeys.filter((each) => each !== passkey);
      const sessions = user.sessions.filter((session) => session.identityId !== passkeyId);
      const event = { kind: "passkey-removed", by, details: { passkeyId, name: passkey.name } } as const;
      const added = this.#events.add(appId, userId, { ...user, passkeys, sessions }, event);
      const name = `${appId}/${passkeyId}`;
      const pointer = await this.#records.read(passkeyRecords, name);
      const isLed = pointer?.value.userId === userId;
      const pointers = isLed ? [change(passkeyRecords, name, pointer, undefined)] : [];
      return { kind: "write", user: added.user, also: [...pointers, added.also], result: undefined };
    });
  }

  /** The records that lead to a user by its passkeys: whoever erases the user deletes them as well. */
  async forget(appId: string, userId: string, passkeys: readonly UserPasskey[]): Promise<Change[]> {
    const names = passkeys.map(({ passkeyId }) => `${appId}/${passkeyId}`);
    const read = await Promise.all(names.map((name) => this.#records.read(passkeyRecords, name)));
    return names.flatMap((name, at) => {
      const record = read[at] ?? null;
      return record?.value.userId === userId ? [change(passkeyRecords, name, record, undefined)] : [];
    });
  }

  async #find(appId: string, passkeyId: string, maxAgeMs?: number): Promise<Omit<FoundPasskey, "assertion">> {
    const name = `${appId}/${passkeyId}`;
    const remembered = this.#pointers.get(name);
    const known = remembered === undefined ? null : await this.#findIn(appId, remembered, passkeyId, maxAgeMs);
    if (known !== null) return known;
    const pointer = await this.#records.read(passkeyRecords, name);
    const found = pointer === null ? null : await this.#findIn(appId, pointer.value.userId, passkeyId, 0);
    if (found === null) throw unknownPasskey();
    this.#pointers.set(name, found.userId);
    return found;
  }

  async #findIn(
    appId: string,
    userId: string,
    passkeyId: string,
    maxAgeMs?: number,
  ): Promise<Omit<FoundPasskey, "assertion"> | null> {
    const user = await this.#users.get(appId, userId, maxAgeMs);
    const passkey = user?.passkeys.find((each) => each.passkeyId === passkeyId);
    return user === null || passkey === undefined ? null : { userId, user, passkey };
  }

  async #isTaken(appId: string, userId: string, passkeyId: string, pointer: Pointer | undefined): Promise<boolean> {
    if (pointer === undefined || pointer.userId === userId) return false;
    const other = await this.#users.get(appId, pointer.userId, 0);
    return other?.passkeys.some((each) => each.passkeyId === passkeyId) === true;
  }

  #idOf(appId: string, credentialId: Uint8Array): string {
    return this.#ids.derive("psk", [appId, encodeBase64url(credentialId)]);
  }

  #keyOf(der: Uint8Array): KeyObject {
    const id = Buffer.from(der).toString("base64");
    const known = this.#keys.use(id);
    if (known !== undefined) return known;
    const key = createPublicKey({ key: Buffer.from(der), format: "der", type: "spki" });
    this.#keys.set(id, key);
    return key;
  }
}

/** What callers see of a passkey. */
export function describe(passkey: UserPasskey): Passkey {
  const { passkeyId, credentialId, name, algorithm, isBackupEligible, isBackedUp, createdAtMs } = passkey;
  const credential = encodeBase64url(credentialId);
  return { passkeyId, credentialId: credential, name, algorithm, isBackupEligible, isBackedUp, createdAtMs };
}

function rulesOf(rules: PasskeyRules | null): PasskeyRules {
  if (rules === null) throw new RequestError("PASSKEYS_NOT_ALLOWED", "this app takes no passkeys");
  return rules;
}

function unknownPasskey(): RequestError {
  return new RequestError("PASSKEY_UNKNOWN", "this passkey is nobody's in this app");
}
