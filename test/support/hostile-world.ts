/** A simulator with a parent that lies, once a test tells it to. */
import type { Client } from "../../client/index.ts";
import type { Wallet } from "../../protocol/index.ts";
import { type HostileParent, type Simulator, type SimulatorOptions, startSimulator } from "../../simulator/index.ts";
import { createApp, type LoggedIn, logIn } from "./app.ts";

export interface HostileSimulator {
  readonly simulator: Simulator;
  readonly hostile: HostileParent;
}

export async function startHostileSimulator(
  options: Omit<SimulatorOptions, "hostileParent"> = {},
): Promise<HostileSimulator> {
  const simulator = await startSimulator({ ...options, hostileParent: {} });
  const { hostileParent: hostile } = simulator;
  if (hostile === null) throw new Error("no hostile parent");
  return { simulator, hostile };
}

/** With one user of one app, who has a wallet. */
export interface HostileWorld extends HostileSimulator {
  readonly client: Client;
  readonly appId: string;
  readonly alice: LoggedIn;
  readonly wallet: Wallet;
}

export async function startHostileWorld(): Promise<HostileWorld> {
  const { simulator, hostile } = await startHostileSimulator();
  // No second tries: what a lie leads to is for the test to see.
  const client = await simulator.connect({ attempts: 1 });
  const appId = await createApp(simulator, client);
  const alice = await logIn(simulator, client, appId, "alice");
  const wallet = await alice.session.createWallet({ kind: "single-key" });
  return { simulator, hostile, client, appId, alice, wallet };
}
