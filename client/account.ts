/** What a logged-in user does with the account itself: passkeys, one-time passwords, linked identities, events. */
import {
  audienceOf,
  type ErasureReceipt,
  type HeldOnUser,
  type ListedEvent,
  type OperationName,
  type Params,
  type Passkey,
  type Result,
} from "../protocol/index.ts";
import type { CallOptions } from "./client.ts";
import { createPasskey, type NewPasskeyOptions, type PasskeyStampKey } from "./passkeys.ts";

export interface AccountOptions {
  readonly deployment: string;
  readonly appId: string;
  readonly userId: string;
  /** Of the session's key. */
  readonly nonce: () => Promise<string>;
  /** As the session. */
  readonly call: <Name extends OperationName>(
    name: Name,
    params: Params<Name>,
    options: CallOptions,
  ) => Promise<Result<Name>>;
}

/**
 * Whoever has a confirmed one-time password gives a code (`secondFactor`) with everything here that changes how the
 * account is reached. A code works once: for a further request wait for the next one.
 */
export class Account {
  readonly #options: AccountOptions;

  /** @internal Use {@link Session.account}. */
  constructor(options: AccountOptions) {
    this.#options = options;
  }

  /**
   * Makes a passkey in the browser and registers it. The user is asked twice: once to make it, once to show that it works.
   *
   * @throws DOMException as `navigator.credentials` does; and as {@link Client.call}
   */
  async registerPasskey(
    passkey: NewPasskeyOptions,
    options: CallOptions = {},
  ): Promise<{ readonly key: PasskeyStampKey; readonly passkey: Passkey }> {
    const { deployment, appId, userId } = this.#options;
    const requestId = options.requestId ?? crypto.randomUUID();
    const request = { audience: audienceOf(deployment, appId), userId, requestId };
    const { key, params } = await createPasskey(request, passkey);
    const registered = await this.#options.call("register_passkey", params, { ...options, requestId, beside: key });
    return { key, passkey: registered };
  }

  async listPasskeys(options: CallOptions = {}): Promise<readonly Passkey[]> {
    return (await this.#options.call("list_passkeys", {}, options)).passkeys;
  }

  async removePasskey(passkeyId: string, options: CallOptions = {}): Promise<void> {
    await this.#options.call("remove_passkey", { passkeyId }, options);
  }

  /** A new secret for an authenticator app. It is shown this once, and guards nothing until {@link confirmTotp}. */
  enrolTotp(params: Params<"enrol_totp">, options: CallOptions = {}): Promise<Result<"enrol_totp">> {
    return this.#options.call("enrol_totp", params, options);
  }

  /** With the app's first code; gives the recovery codes, which are shown this once. */
  async confirmTotp(code: string, options: CallOptions = {}): Promise<readonly string[]> {
    const confirmed = await this.#options.call("confirm_totp", {}, { ...options, secondFactor: code });
    return confirmed.recoveryCodes;
  }

  async disableTotp(code: string, options: CallOptions = {}): Promise<void> {
    await this.#options.call("disable_totp", {}, { ...options, secondFactor: code });
  }

  /** What else this user wants to confirm; the app's own list stays. */
  async requireTotp(params: Params<"require_totp">, code: string, options: CallOptions = {}): Promise<void> {
    await this.#options.call("require_totp", params, { ...options, secondFactor: code });
  }

  totpStatus(options: CallOptions = {}): Promise<Result<"totp_status">> {
    return this.#options.call("totp_status", {}, options);
  }

  /** The old recovery codes end. */
  async regenerateRecoveryCodes(code: string, options: CallOptions = {}): Promise<readonly string[]> {
    const made = await this.#options.call("regenerate_recovery_codes", {}, { ...options, secondFactor: code });
    return made.recoveryCodes;
  }

  /**
   * Links a further identity: any of them logs into this user from then on.
   *
   * @param token - Gets a login token of the other identity, asked for with this `nonce`; as {@link LoginOptions.token}.
   */
  async linkIdentity(
    token: (nonce: string) => Promise<string>,
    options: CallOptions = {},
  ): Promise<Result<"link_identity">> {
    const jwt = await token(await this.#options.nonce());
    return this.#options.call("link_identity", { jwt }, options);
  }

  async listIdentities(options: CallOptions = {}): Promise<Result<"list_identities">["identities"]> {
    return (await this.#options.call("list_identities", {}, options)).identities;
  }

  async unlinkIdentity(identityId: string, options: CallOptions = {}): Promise<void> {
    await this.#options.call("unlink_identity", { identityId }, options);
  }

  /** All events after one, and the key that signed them: {@link verifyEvents} checks them. */
  async listEvents(
    after = 0,
    options: CallOptions = {},
  ): Promise<{ readonly events: readonly ListedEvent[]; readonly publicKey: string }> {
    const events: ListedEvent[] = [];
    for (;;) {
      const page = await this.#options.call("list_events", { after: after + events.length }, options);
      events.push(...page.events);
      if (!page.more || page.events.length === 0) return { events, publicKey: page.publicKey };
    }
  }

  /**
   * All that is held on this user: their own record, policies, wallets, limits, approvals, events. Keys are not in it. A code works once, so
   * a user with a one-time password gets one page for each: give `after` and a new code.
   */
  async *exportUser(options: CallOptions = {}): AsyncGenerator<HeldOnUser, void> {
    for (let after: string | null = null; ; ) {
      const { items, next }: Result<"export_user"> = await this.#options.call("export_user", { after }, options);
      yield* items;
      if (next === null) return;
      after = next;
    }
  }

  /** Destroys the user and all wallets. There is no way back. {@link verifyErasure} checks the receipt. */
  eraseUser(options: CallOptions = {}): Promise<ErasureReceipt> {
    return this.#options.call("erase_user", { userId: this.#options.userId }, options);
  }
}
