/** What `cloister bench` puts its load on: a deployment with an API key of an app's, or a simulator of its own. */
import { type Ask, askWithKey, residentMib } from "../bench/index.ts";
import { generateStampKey, loginNonce } from "../client/index.ts";
import { startSimulator } from "../simulator/index.ts";
import type { CommandIo } from "./command-io.ts";
import { UsageError } from "./command-io.ts";
import { connectTo, type EnclaveOptions, openKeys } from "./enclave-options.ts";
import type { PassphraseOptions } from "./passphrase.ts";

export interface Target extends AsyncDisposable {
  /** For the report. */
  readonly name: string;
  readonly ask: Ask;
  readonly connect: () => Promise<unknown>;
  /** Of processes on this machine; null where they are elsewhere. */
  readonly memoryMib: (() => Promise<Readonly<Record<string, number>>>) | null;
}

export type TargetOptions = EnclaveOptions &
  PassphraseOptions & {
    readonly app?: string | undefined;
    readonly key?: string | undefined;
    /** Of a simulator. */
    readonly users: number;
  };

/** @throws {@link UsageError}, and what connecting throws */
export async function openTarget(
  options: TargetOptions,
  chainId: string,
  signal: AbortSignal,
  io: CommandIo,
): Promise<Target> {
  if (options.url === undefined) return await simulated(chainId, options.users, signal);
  const { url, app, key } = options;
  const client = await connectTo(options, io, { app, key });
  const [stampKey] = await openKeys([key ?? ""], "--key", options, io);
  if (stampKey === undefined || app === undefined) throw new UsageError("--app and --key are needed");
  return {
    name: url,
    ask: askWithKey(client, app, stampKey),
    connect: () => connectTo(options, io),
    memoryMib: null,
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** Users of a simulator's, who ask in turn. What one changes waits for what the same one changes, and for no other's. */
async function simulated(chainId: string, users: number, signal: AbortSignal): Promise<Target> {
  const simulator = await startSimulator({ signal });
  try {
    const client = await simulator.connect();
    const { issuer, jwksUri } = simulator.issuer;
    const { appId } = await client.createApp([simulator.administratorKey], {
      name: "bench",
      issuers: [{ issuer, audiences: ["bench"], jwksUri, algorithms: ["ES256"] }],
      sessionLifetimeS: 86_400,
      signingPolicy: { evmChainIds: [chainId], messages: "allow" },
    });
    const logIn = async (subject: string) => {
      const key = await generateStampKey();
      const jwt = await simulator.issuer.mint({
        ...{ subject, audience: "bench", algorithm: "ES256", lifetimeS: 86_400 },
        nonce: await loginNonce(key),
      });
      return await client.login({ appId, jwt, key });
    };
    const first = await logIn("bench");
    const sessions = [first];
    while (sessions.length < users && !signal.aborted) sessions.push(await logIn(`bench-${sessions.length}`));
    let asked = 0;
    const next = () => sessions[asked++ % sessions.length] ?? first;
    return {
      name: users === 1 ? "a simulator on this machine" : `${users} users of a simulator on this machine`,
      ask: (name, params, options = {}) => next().call(name, params, options),
      connect: () => simulator.connect(),
      memoryMib: async () => residentMib({ enclave: simulator.enclavePid, parent: simulator.parentPid }),
      [Symbol.asyncDispose]: () => simulator.stop(),
    };
  } catch (error) {
    await simulator.stop();
    throw error;
  }
}
