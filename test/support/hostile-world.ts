/** A simulator with a parent that lies, once a test tells it to, and one user of one app with a wallet. */
import type { Client } from "../../client/index.ts";
import type { Wallet } from "../../protocol/index.ts";
import { type HostileParent, type Simulator, startSimulator } from "../../simulator/index.ts";
import { createApp, type LoggedIn, logIn } from "./app.ts";

export interface HostileWorld {
  readonly simulator: Simulator;
  readonly hostile: HostileParent;
  readonly client: Client;
  readonly appId: string;
  readonly alice: LoggedIn;
  readonly wallet: Wallet;
}

export async function startHostileWorld(): Promise<HostileWorld> {
  const simulator = await startSimulator({ hostileParent: {} });
  const { hostileParent: hostile } = simulator;
  if (hostile === null) throw new Error("no hostile parent");
  // No second tries: what a lie leads to is for the test to see.
  const client = await simulator.connect({ attempts: 1 });
  const appId = await createApp(simulator, client);
  const alice = await logIn(simulator, client, appId, "alice");
  const wallet = await alice.session.createWallet({ kind: "single-key" });
  return { simulator, hostile, client, appId, alice, wallet };
}
