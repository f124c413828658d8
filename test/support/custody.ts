/** Devices of users who have split wallets. */
import {
  type Client,
  type Custody,
  type DeviceStore,
  loginNonce,
  memoryDeviceStore,
  type Session,
} from "../../client/index.ts";
import type { Simulator } from "../../simulator/index.ts";
import { AUDIENCE, type LoggedIn, logIn } from "./app.ts";

/** A message that anybody may sign whose policy allows all. */
export const MESSAGE = "0x68656c6c6f";

export interface Device {
  readonly loggedIn: LoggedIn;
  readonly session: Session;
  readonly custody: Custody;
  readonly store: DeviceStore;
}

/** Logs in, on a device with a store of its own unless given. */
export async function deviceOf(
  simulator: Simulator,
  client: Client,
  appId: string,
  subject: string,
  store: DeviceStore = memoryDeviceStore(),
): Promise<Device> {
  const loggedIn = await logIn(simulator, client, appId, subject);
  return { loggedIn, session: loggedIn.session, custody: loggedIn.session.custody(store), store };
}

/** Links another login to the same user. */
export async function linkLogin(
  simulator: Pick<Simulator, "issuer">,
  { loggedIn }: Device,
  subject: string,
): Promise<string> {
  const token = async () =>
    simulator.issuer.mint({ subject, audience: AUDIENCE, nonce: await loginNonce(loggedIn.key) });
  return (await loggedIn.session.account.linkIdentity(token)).identityId;
}

export async function sign({ custody }: Device, walletId: string): Promise<string> {
  return (await custody.call("sign_message", { walletId, message: MESSAGE })).signature;
}
