/** An app that takes passkeys, and users of it who have one-time passwords. */

import type { Account, Client, PasskeyStampKey, Session, StampKey } from "../../client/index.ts";
import { hotp, stepAt } from "../../enclave/auth/totp/totp.ts";
import { audienceOf, encodeHex, type Params, type Passkey } from "../../protocol/index.ts";
import { type AnySimulator, createApp } from "./app.ts";
import { type Authenticator, PASSKEYS, type Said, type SaidAtRegistration } from "./authenticator.ts";

export function createPasskeyApp(
  simulator: AnySimulator,
  client: Client,
  changes: Partial<Params<"create_app">> = {},
): Promise<string> {
  return createApp(simulator, client, { passkeys: PASSKEYS, ...changes });
}

/** The authenticator as the client library wants it. */
export function passkeyOf(authenticator: Authenticator, said: Said = {}): PasskeyStampKey {
  return { stamp: async (body) => authenticator.stamp(body, said) };
}

export interface RegisterOptions {
  readonly said?: SaidAtRegistration;
  /** In the place of the new passkey's own stamp. */
  readonly stamp?: PasskeyStampKey;
  readonly requestId?: string;
  readonly secondFactor?: string;
}

export async function registerPasskey(
  { client, appId, session, key }: { client: Client; appId: string; session: Session; key: StampKey },
  authenticator: Authenticator,
  options: RegisterOptions = {},
): Promise<Passkey> {
  const requestId = options.requestId ?? crypto.randomUUID();
  const audience = audienceOf(client.deployment, appId);
  const params = {
    name: "a phone",
    ...authenticator.register({ audience, userId: session.userId, requestId }, options.said),
  };
  const keys = [key, options.stamp ?? passkeyOf(authenticator)];
  const factor = options.secondFactor === undefined ? {} : { secondFactor: options.secondFactor };
  return client.call("register_passkey", params, { appId, keys, requestId, ...factor });
}

export function loginParams(key: StampKey): Params<"register_session_with_passkey"> {
  return { publicKey: encodeHex(key.publicKey) };
}

/** An authenticator app with one secret. Time is the enclave's. */
export class AuthenticatorApp {
  readonly secret: Uint8Array;
  readonly #nowMs: () => number;

  constructor(base32: string, nowMs: () => number) {
    this.secret = decodeBase32(base32);
    this.#nowMs = nowMs;
  }

  /** @param offset - Steps from the present one. */
  code(offset = 0): string {
    return hotp(this.secret, stepAt(this.#nowMs()) + offset);
  }

  /** A code that is not valid now, nor in the steps around. */
  wrongCode(): string {
    const near = [-2, -1, 0, 1, 2].map((offset) => this.code(offset));
    return (
      Array.from({ length: 6 }, (_, digit) => `${digit}`.repeat(6)).find((code) => !near.includes(code)) ?? "999999"
    );
  }
}

/**
 * Enrols and confirms. The confirming code is that of the step before, so that the present one is still unused.
 */
export async function enrol(
  account: Account,
  nowMs: () => number,
): Promise<{ readonly app: AuthenticatorApp; readonly recoveryCodes: readonly string[] }> {
  const { secret } = await account.enrolTotp({ account: "alice" });
  const app = new AuthenticatorApp(secret, nowMs);
  return { app, recoveryCodes: await account.confirmTotp(app.code(-1)) };
}

function decodeBase32(text: string): Uint8Array {
  const bits = [...text]
    .map((digit) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(digit).toString(2).padStart(5, "0"))
    .join("");
  return Uint8Array.from(bits.match(/.{8}/g) ?? [], (byte) => Number.parseInt(byte, 2));
}
