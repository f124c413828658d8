/** Stamps of a passkey for benchmarks: made in this process, in the place of an authenticator that would ask its user. */
import type { Client, StampKey } from "../client/index.ts";
import { audienceOf, encodeWebauthnStamp } from "../protocol/index.ts";
import { Authenticator, PASSKEYS } from "../test/support/authenticator.ts";

/** What an app needs in its configuration for {@link benchPasskey}. */
export const BENCH_PASSKEYS = PASSKEYS;

/** Stamps a body: one header value, `X-Stamp-Webauthn`. */
export type WebauthnStamper = (body: Uint8Array<ArrayBuffer>) => string;

/**
 * Registers a passkey (ES256) for a logged-in user.
 *
 * @param options.counts - True for an authenticator with a counter, whose every stamp is a write of the user's record.
 *   Synchronised passkeys have none.
 */
export async function benchPasskey(
  client: Client,
  user: { readonly appId: string; readonly userId: string; readonly key: StampKey },
  options: { readonly counts?: boolean } = {},
): Promise<WebauthnStamper> {
  const { appId, userId, key } = user;
  const authenticator = new Authenticator("ES256", options);
  const requestId = crypto.randomUUID();
  const registration = authenticator.register({ audience: audienceOf(client.deployment, appId), userId, requestId });
  const stamp = async (body: Uint8Array<ArrayBuffer>) => authenticator.stamp(body);
  await client.call(
    "register_passkey",
    { name: "bench", ...registration },
    { appId, keys: [key], beside: { stamp }, requestId },
  );
  return (body) => encodeWebauthnStamp(authenticator.assert(body));
}
