/** What most tests against a simulator begin with. */
import { type Client, generateStampKey, loginNonce, type Session, type StampKey } from "../../client/index.ts";
import type { Params, SigningPolicy } from "../../protocol/index.ts";
import type { Simulator } from "../../simulator/index.ts";

/** What a simulator has, a cluster of them, and one whose clock cannot be moved. */
export type AnySimulator = Pick<Simulator, "url" | "deployment" | "issuer" | "administratorKey" | "nowMs">;

export const AUDIENCE = "test";

export function appParams(simulator: AnySimulator, changes: Partial<Params<"create_app">> = {}): Params<"create_app"> {
  const { issuer, jwksUri } = simulator.issuer;
  const signingPolicy: SigningPolicy = { evmChainIds: ["1"], messages: "allow" };
  return {
    name: "test",
    issuers: [{ issuer, audiences: [AUDIENCE], jwksUri, algorithms: ["RS256", "PS256", "ES256", "EdDSA"] }],
    sessionLifetimeS: 900,
    ...(changes.policy === undefined ? { signingPolicy } : {}),
    ...changes,
  };
}

export async function createApp(
  simulator: AnySimulator,
  client: Client,
  changes: Partial<Params<"create_app">> = {},
): Promise<string> {
  const { appId } = await client.createApp([simulator.administratorKey], appParams(simulator, changes));
  return appId;
}

export interface LoggedIn {
  readonly session: Session;
  readonly key: StampKey;
  readonly jwt: string;
}

export async function logIn(
  simulator: AnySimulator,
  client: Client,
  appId: string,
  subject: string,
): Promise<LoggedIn> {
  const key = await generateStampKey();
  const jwt = await simulator.issuer.mint({ subject, audience: AUDIENCE, nonce: await loginNonce(key) });
  return { session: await client.login({ appId, jwt, key }), key, jwt };
}
