/**
 * One-time passwords as a guard of operations. An attempt counts when its outcome is written: of two that race with one
 * code, one finds the other's step used. And it counts in memory before that, because a parent that reads from a
 * record's size what came of a guess, and then drops the write, would otherwise guess for ever.
 */
import { type AppConfig, type AppOperation, encodeBase32, type Params, RequestError } from "../../protocol/index.ts";
import type { Events } from "../events/events.ts";
import type { Randomness } from "../nsm/randomness.ts";
import { RecencyMap } from "../recency-map.ts";
import type { User } from "../users/user.ts";
import type { Users } from "../users/users.ts";
import { isRecoveryCode, makeRecoveryCodes } from "./totp/recovery-codes.ts";
import { attempt, type SecondFactor } from "./totp/second-factor.ts";
import { otpauthUri, TOTP_SECRET_BYTES } from "./totp/totp.ts";

/**
 * Whoever has a second factor shows it for every change of how the account is reached, and for whatever takes a wallet or
 * the account away from here, whatever app and user say.
 */
const ALWAYS_GUARDED: readonly AppOperation[] = [
  "register_passkey",
  "remove_passkey",
  "disable_totp",
  "require_totp",
  "regenerate_recovery_codes",
  "link_identity",
  "unlink_identity",
  "recover_wallet",
  "reshare_wallet",
  "export_wallet",
  "delete_wallet",
  "export_user",
  "erase_user",
  "set_policy",
];

/** Of users with attempts whose outcome may not have been written; the records remember the rest. */
const MAX_REMEMBERED = 100_000;

type Failures = Pick<SecondFactor, "failures" | "lockedUntilMs">;

/** The user that a request is for, and whose request it is. */
export interface UserRequest {
  readonly appId: string;
  readonly userId: string;
  /** A session's or a passkey's id. */
  readonly by: string;
}

export class SecondFactors {
  readonly #users: Users;
  readonly #events: Events;
  readonly #randomness: Randomness;
  readonly #nowMs: () => number;
  readonly #unsettled = new RecencyMap<string, Failures>(MAX_REMEMBERED);

  constructor(options: {
    readonly users: Users;
    readonly events: Events;
    readonly randomness: Randomness;
    readonly nowMs: () => number;
  }) {
    this.#users = options.users;
    this.#events = options.events;
    this.#randomness = options.randomness;
    this.#nowMs = options.nowMs;
  }

  /**
   * Lets a request pass that needs no second factor, or has the right one. One code does for all that one request asks.
   *
   * @throws {@link RequestError} `SECOND_FACTOR_…`, and what changing a user throws
   */
  async check(
    request: UserRequest,
    operations: readonly AppOperation[],
    code: string | undefined,
    rules: AppConfig["totp"],
  ): Promise<void> {
    const user = await this.#users.get(request.appId, request.userId);
    const factor = user === null ? null : confirmedOf(user);
    if (factor === null) {
      const guarded = operations.find((each) => rules.requiredFor.includes(each));
      if (guarded === undefined) return;
      throw new RequestError("SECOND_FACTOR_NOT_ENROLLED", `${guarded} needs a one-time password: enrol first`);
    }
    const required = requiredFor(factor, rules);
    const guarded = operations.find((each) => required.includes(each));
    if (guarded === undefined) return;
    if (code === undefined) {
      throw new RequestError("SECOND_FACTOR_REQUIRED", `${guarded} needs a one-time password or a recovery code`);
    }
    await this.#spend(request, code, (next) => next, confirmedOf);
  }

  /**
   * Makes a secret that guards nothing until {@link confirm}. One that was not confirmed is replaced.
   *
   * @throws {@link RequestError} `TOTP_ENROLLED`, and what changing a user throws
   */
  async enrol(
    { appId, userId }: UserRequest,
    { issuer, account }: { readonly issuer: string; readonly account: string },
  ): Promise<{ readonly secret: string; readonly uri: string }> {
    const secret = Uint8Array.from(this.#randomness.bytes(TOTP_SECRET_BYTES));
    return this.#users.change(appId, userId, (user) => {
      if (confirmedOf(user) !== null) throw new RequestError("TOTP_ENROLLED", "disable the one that is there first");
      const secondFactor: SecondFactor = {
        ...{ secret, confirmedAtMs: null, lastStep: null, recoveryCodes: [], requiredFor: [] },
        // A new secret does not wash failures off.
        failures: user.secondFactor?.failures ?? 0,
        lockedUntilMs: user.secondFactor?.lockedUntilMs ?? 0,
      };
      const result = { secret: encodeBase32(secret), uri: otpauthUri(secret, { issuer, account }) };
      return { kind: "write", user: { ...user, secondFactor }, result };
    });
  }

  /**
   * Puts the new secret in force, once a code shows that the authenticator app has it.
   *
   * @returns The recovery codes, to be shown once.
   * @throws {@link RequestError} `TOTP_ENROLLED`, `TOTP_NOT_ENROLLED`, `SECOND_FACTOR_…`, and what changing a user throws
   */
  async confirm(request: UserRequest, code: string | undefined): Promise<readonly string[]> {
    if (code === undefined) {
      throw new RequestError("SECOND_FACTOR_REQUIRED", "confirm with a code of the new secret");
    }
    const { codes, digests } = makeRecoveryCodes(this.#randomness);
    await this.#spend(
      request,
      code,
      (next) => ({ ...next, confirmedAtMs: this.#nowMs(), recoveryCodes: [...digests] }),
      (user) => {
        if (confirmedOf(user) !== null) throw new RequestError("TOTP_ENROLLED", "it is confirmed already");
        return user.secondFactor;
      },
      "totp-confirmed",
    );
    return codes;
  }

  /** The code was checked by {@link check}. @throws {@link RequestError} `TOTP_NOT_ENROLLED`, and what changing a user throws */
  async disable(request: UserRequest): Promise<void> {
    await this.#change(request, () => null, { kind: "totp-disabled" });
  }

  /** As {@link disable}. */
  async require(request: UserRequest, { operations }: Params<"require_totp">): Promise<void> {
    const details = { operations: operations.join(" ") };
    const change = (factor: SecondFactor): SecondFactor => ({ ...factor, requiredFor: operations });
    await this.#change(request, change, { kind: "totp-required", details });
  }

  /** As {@link disable}; gives the new codes, to be shown once. */
  async regenerate(request: UserRequest): Promise<readonly string[]> {
    const { codes, digests } = makeRecoveryCodes(this.#randomness);
    const change = (factor: SecondFactor): SecondFactor => ({ ...factor, recoveryCodes: [...digests] });
    await this.#change(request, change, { kind: "recovery-codes-made" });
    return codes;
  }

  async #change(
    { appId, userId, by }: UserRequest,
    change: (factor: SecondFactor) => SecondFactor | null,
    event: Omit<Parameters<Events["add"]>[3], "by">,
  ): Promise<void> {
    await this.#users.change<void>(appId, userId, (user) => {
      const factor = confirmedOf(user);
      if (factor === null) throw notEnrolled();
      const added = this.#events.add(appId, userId, { ...user, secondFactor: change(factor) }, { ...event, by });
      return { kind: "write", user: added.user, also: [added.also], result: undefined };
    });
  }

  /**
   * Judges one code and writes what it came to, before anybody hears of it.
   *
   * @param accept - What the factor becomes beyond having used the code.
   * @param factorOf - The factor that the code is for.
   */
  async #spend(
    { appId, userId, by }: UserRequest,
    code: string,
    accept: (next: SecondFactor) => SecondFactor,
    factorOf: (user: User) => SecondFactor | null,
    kind?: "totp-confirmed",
  ): Promise<void> {
    const name = `${appId}/${userId}`;
    const nowMs = this.#nowMs();
    // Taken once for the attempt, however often it is decided: when its turn has come.
    let before: Failures | undefined;
    const refusal = await this.#users.change<RequestError | null>(appId, userId, (user) => {
      const kept = factorOf(user);
      if (kept === null) throw notEnrolled();
      before ??= this.#unsettled.get(name) ?? { failures: 0, lockedUntilMs: 0 };
      const factor = {
        ...kept,
        failures: Math.max(kept.failures, before.failures),
        lockedUntilMs: Math.max(kept.lockedUntilMs, before.lockedUntilMs),
      };
      const made = attempt(factor, code, nowMs);
      if (made.kind === "locked") return { kind: "leave", result: locked(made.untilMs - nowMs) };
      // What cannot be guessed is not counted, neither here nor there.
      if (made.kind === "refused" && made.next === factor) return { kind: "leave", result: invalid() };
      if (!isRecoveryCode(code)) this.#remember(name, attempt(factor, "", nowMs));
      if (made.kind === "refused") {
        return { kind: "write", user: { ...user, secondFactor: made.next }, result: invalid() };
      }
      const next = { ...user, secondFactor: accept(made.next) };
      const event = kind ?? (made.by === "recovery-code" ? "recovery-code-used" : null);
      if (event === null) return { kind: "write", user: next, result: null };
      const added = this.#events.add(appId, userId, next, { kind: event, by });
      return { kind: "write", user: added.user, also: [added.also], result: null };
    });
    if (refusal !== null) throw refusal;
    this.#unsettled.delete(name);
  }

  /** @param asFailure - What the attempt comes to if it fails, which it does as long as nothing says otherwise. */
  #remember(name: string, asFailure: ReturnType<typeof attempt>): void {
    if (asFailure.kind !== "refused") return;
    const { failures, lockedUntilMs } = asFailure.next;
    this.#unsettled.set(name, { failures, lockedUntilMs });
  }
}

/** Null unless a code has shown that the authenticator app has it. */
export function confirmedOf({ secondFactor }: User): SecondFactor | null {
  return secondFactor?.confirmedAtMs == null ? null : secondFactor;
}

/** Everything that a user with this factor must confirm. */
export function requiredFor(factor: SecondFactor, rules: AppConfig["totp"]): AppOperation[] {
  return [...new Set([...ALWAYS_GUARDED, ...rules.requiredFor, ...(factor.requiredFor as AppOperation[])])].sort();
}

function invalid(): RequestError {
  return new RequestError("SECOND_FACTOR_INVALID", "not a code that is valid now, or it was used already");
}

function locked(ms: number): RequestError {
  return new RequestError("SECOND_FACTOR_LOCKED", `too many wrong codes: wait ${Math.ceil(ms / 1000)} s`);
}

function notEnrolled(): RequestError {
  return new RequestError("TOTP_NOT_ENROLLED", "this user has no one-time passwords");
}
