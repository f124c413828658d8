/**
 * Several enclaves with a parent each, over one database, behind one balancer. What is around them, NSM, KMS and login
 * issuer, is the simulator's, and each member can be killed and started anew by itself.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, type ConnectOptions, connect, type ExpectedEnclave, type StampKey } from "../client/index.ts";
import { type Balancer, startBalancer } from "./balancer.ts";
import { beside, Child } from "./child-process.ts";
import { type RecordsConfig, recordsIn } from "./database.ts";
import { enclaveProcess } from "./enclave-as-process.ts";
import type { RunningEnclave } from "./enclave-source.ts";
import { SimulatorError } from "./errors.ts";
import { instanceEnvironment } from "./imds/index.ts";
import { keyPolicyFor } from "./key-policy.ts";
import type { KmsFaults } from "./kms/index.ts";
import type { SimulatedIssuer } from "./oidc/index.ts";
import { stoppedBy } from "./stopped-by.ts";
import { DEPLOYMENT, startWorld, type World } from "./world.ts";

export interface ClusterOptions {
  readonly enclaves: number;
  /** As {@link recordsIn} takes it. */
  readonly database: string;
  /** Of the balancer; a free one unless given. */
  readonly httpPort?: number;
  /** Where KMS keys and the manifest survive. Left out: a folder that goes with the cluster. */
  readonly stateFolder?: string;
  readonly log?: (line: string) => void;
  readonly kmsFaults?: KmsFaults;
  /** Threads that sign beside each enclave's main one; none unless given. */
  readonly signingWorkers?: number;
  /** Gives up waiting for the enclaves, and stops what was started. */
  readonly signal?: AbortSignal;
}

/** One enclave and its parent. */
export interface Member {
  /** Where its parent answers HTTP, past the balancer. */
  readonly url: string;
  readonly enclavePid: number;
  readonly parentPid: number;
  killEnclave(): Promise<void>;
  /** Boots the enclave anew and waits for it, after {@link killEnclave}. */
  startEnclave(): Promise<void>;
  killParent(): Promise<void>;
  startParent(): Promise<void>;
}

export interface Cluster extends AsyncDisposable {
  /** The balancer's. */
  readonly url: string;
  readonly deployment: string;
  readonly expected: ExpectedEnclave;
  readonly attestationRootPem: string;
  readonly administratorKey: StampKey;
  readonly issuer: SimulatedIssuer;
  readonly balancer: Balancer;
  readonly members: readonly Member[];
  readonly startedInMs: number;
  nowMs(): number;
  /** As the simulator's, for all members. */
  advanceClock(ms: number): Promise<void>;
  /** A client of the balancer's; of one member alone where `url` is its. */
  connect(options?: Partial<Pick<ConnectOptions, "attempts" | "url" | "fetch">>): Promise<Client>;
  stop(): Promise<void>;
}

/** @throws {@link SimulatorError}; whatever had been started by then is stopped. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const startedAt = performance.now();
  const cleanup = new AsyncDisposableStack();
  try {
    const cluster = await start(options, cleanup);
    return Object.assign(cluster, { startedInMs: Math.round(performance.now() - startedAt) });
  } catch (error) {
    await cleanup.disposeAsync();
    throw error;
  }
}

async function start(options: ClusterOptions, cleanup: AsyncDisposableStack): Promise<Omit<Cluster, "startedInMs">> {
  const { enclaves, log = () => {} } = options;
  const runFolder = await mkdtemp(join(tmpdir(), "cloister-"));
  cleanup.defer(() => rm(runFolder, { recursive: true, force: true }));
  const records = await recordsIn(options.database, runFolder, cleanup);
  let offsetMs = 0;
  const nowMs = () => Date.now() + offsetMs;
  const world = await startWorld({
    stateFolder: options.stateFolder ?? join(runFolder, "state"),
    ...{ runFolder, nowMs, log, cleanup },
    administrators: { threshold: 1, alsoPublicKeys: [] },
    imdsTrouble: { kind: "none" },
    kmsFaults: options.kmsFaults ?? {},
    keyPolicy: keyPolicyFor,
    signingWorkers: options.signingWorkers ?? 0,
    enclave: enclaveProcess,
  });
  const members = Array.from(
    { length: enclaves },
    (_, at) => new RunningMember({ at, world, records, runFolder, log }),
  );
  for (const member of members) cleanup.defer(() => member.stop());
  // Before what takes long: a port that another process has is told at once. It is closed before members stop: nobody is
  // sent to one that does.
  const balancer = await startBalancer({
    port: options.httpPort ?? 0,
    parents: members.map((member) => () => member.url),
  });
  cleanup.defer(() => balancer.close());
  // All at the same moment: on an empty database one of them makes the vault. Whatever becomes of one, the others are
  // waited for: only what has been started can be stopped.
  const starts = await Promise.allSettled(members.map((member) => member.start(options.signal)));
  for (const each of starts) if (each.status === "rejected") throw each.reason;
  await balancer.untilReady(enclaves);
  const url = `http://127.0.0.1:${balancer.port}`;
  let stopping: Promise<void> | undefined;
  const stop = () => {
    stopping ??= cleanup.disposeAsync();
    return stopping;
  };
  const { expected, attestationRootPem, issuer, state } = world;
  return {
    ...{ url, deployment: DEPLOYMENT, expected, attestationRootPem, issuer, balancer, members, nowMs, stop },
    administratorKey: state.administratorKey,
    async advanceClock(ms) {
      offsetMs += ms;
      // Whoever asks for attestation makes an enclave look at the NSM's clock.
      await Promise.all(members.map((member) => connect({ url: member.url, deployment: DEPLOYMENT, expected, nowMs })));
    },
    connect: (asked = {}) => connect({ url, deployment: DEPLOYMENT, expected, nowMs, ...asked }),
    [Symbol.asyncDispose]: stop,
  };
}

interface MemberOptions {
  readonly at: number;
  readonly world: World;
  readonly records: RecordsConfig;
  readonly runFolder: string;
  readonly log: (line: string) => void;
}

class RunningMember implements Member {
  readonly #options: MemberOptions;
  #enclave: RunningEnclave | undefined;
  #parent: Child | undefined;
  #httpPort = 0;

  constructor(options: MemberOptions) {
    this.#options = options;
  }

  async start(signal?: AbortSignal): Promise<void> {
    this.#enclave = await this.#options.world.enclave.boot(this.#vsockPath);
    await this.startParent();
    await this.#awaitReady(signal);
  }

  get url(): string {
    return `http://127.0.0.1:${this.#httpPort}`;
  }

  get enclavePid(): number {
    return this.#enclave?.pid ?? 0;
  }

  get parentPid(): number {
    return this.#parent?.pid ?? 0;
  }

  async killEnclave(): Promise<void> {
    await this.#enclave?.kill();
  }

  async startEnclave(): Promise<void> {
    this.#enclave = await this.#options.world.enclave.boot(this.#vsockPath);
    await this.#awaitReady();
  }

  async killParent(): Promise<void> {
    await this.#parent?.kill();
  }

  async startParent(): Promise<void> {
    const { at, world, records, runFolder, log } = this.#options;
    const { connectTo, imds } = world;
    const configFile = join(runFolder, `parent-${at}.json`);
    const config = {
      vsock: { kind: "unix-socket", path: this.#vsockPath },
      http: { host: "127.0.0.1", port: this.#httpPort },
      records,
      egress: { allow: Object.keys(connectTo), connectTo },
      credentials: { kind: "aws" },
    };
    await writeFile(configFile, JSON.stringify(config), { mode: 0o600 });
    this.#parent = new Child({
      name: `parent ${at}`,
      command: [process.execPath, beside("../parent-proxy/main"), "--config", configFile, "--stop-on-stdin-end"],
      env: instanceEnvironment(imds, process.env, runFolder),
      log,
    });
    const outcome = await this.#parent.event("ready", "failed");
    if (outcome.event === "failed") throw new SimulatorError("PARENT_FAILED", describe(outcome));
    this.#httpPort = Number(outcome["httpPort"]);
  }

  /** The parent first: it lets requests that are under way finish, and for that it needs the enclave. */
  async stop(): Promise<void> {
    await this.#parent?.stop();
    await this.#enclave?.stop();
  }

  get #vsockPath(): string {
    return join(this.#options.runFolder, `v${this.#options.at}`);
  }

  async #awaitReady(signal?: AbortSignal): Promise<void> {
    const outcome = await Promise.race([this.#enclave?.outcome(), stoppedBy(signal)]);
    if (outcome?.event === "failed") throw new SimulatorError("ENCLAVE_FAILED", describe(outcome));
  }
}

function describe({ code, message }: Readonly<Record<string, unknown>>): string {
  return `${String(code)}: ${String(message)}`;
}
