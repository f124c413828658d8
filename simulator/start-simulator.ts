/**
 * The whole of Cloister on one machine: an enclave and a parent, and around them, in this process, an NSM, a KMS and an
 * OIDC issuer that refuse what the real ones refuse. Every key and root is its own. The enclave is a process here; in
 * emulated/ it is a machine that boots its image.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, type ConnectOptions, connect, type ExpectedEnclave, type StampKey } from "../client/index.ts";
import { beside, Child, type ProcessEvent } from "./child-process.ts";
import { enclaveProcess } from "./enclave-as-process.ts";
import type { EnclaveSource, RunningEnclave } from "./enclave-source.ts";
import { SimulatorError, type SimulatorErrorCode } from "./errors.ts";
import { type HostileHooks, type HostileParent, startHostileParent } from "./hostile-parent.ts";
import { type ImdsTrouble, instanceEnvironment, type SimulatedImds } from "./imds/index.ts";
import { keyPolicyFor } from "./key-policy.ts";
import type { KeyPolicyInput, KmsFaults } from "./kms/index.ts";
import type { SimulatedIssuer } from "./oidc/index.ts";
import { stoppedBy } from "./stopped-by.ts";
import { DEPLOYMENT, startWorld, type World } from "./world.ts";

export interface SimulatorOptions {
  /** A free one unless given. */
  readonly httpPort?: number;
  /** Where wallets, KMS keys and the manifest survive. Left out: a folder that goes with the simulator. */
  readonly stateFolder?: string;
  /** Takes lines that processes log, and what KMS decides. */
  readonly log?: (line: string) => void;
  /** False: do not wait for the enclave, which may never become ready. */
  readonly waitForReady?: boolean;
  /** Gives up waiting for the enclave, and stops what was started. */
  readonly signal?: AbortSignal;
  /** What the metadata service suffers from at the start; nothing unless given. */
  readonly imdsTrouble?: ImdsTrouble;

  /** Puts a parent that lies between the enclave and the honest one. */
  readonly hostileParent?: HostileHooks;
  readonly kmsFaults?: KmsFaults;
  /** Further destinations of the parent's, `host:port` to `ip:port`: the manifest names none of them. */
  readonly alsoConnectTo?: Readonly<Record<string, string>>;
  /** Administrators beside the simulator's own, and how many must stamp: of a state folder that has no manifest yet. */
  readonly administrators?: { readonly threshold: number; readonly alsoPublicKeys: readonly string[] };
  /** Threads that sign beside the enclave's main one; none unless given. */
  readonly signingWorkers?: number;
  /** What KMS demands, in place of the policy that admits this very image. */
  readonly keyPolicy?: (pcr0: Uint8Array, roleArn: string) => KeyPolicyInput;
}

export interface Simulator extends AsyncDisposable {
  /** Where the parent answers HTTP. */
  readonly url: string;
  readonly deployment: string;
  /** What a client must expect of this simulator's enclave; no other verifier trusts its root. */
  readonly expected: ExpectedEnclave;
  readonly attestationRootPem: string;
  readonly administratorKey: StampKey;
  readonly issuer: SimulatedIssuer;
  /** SQLite, the parent's: open it as a parent would who means ill. */
  readonly recordsFile: string;
  /** How long the start took, milliseconds. */
  readonly startedInMs: number;
  /** The parent that lies, if {@link SimulatorOptions.hostileParent} asked for one. */
  readonly hostileParent: HostileParent | null;
  /** Where the parent has its AWS credentials from: the metadata service of its instance. */
  readonly imds: SimulatedImds;
  readonly enclavePid: number;
  readonly parentPid: number;
  /** The simulated world's time, milliseconds since 1970: the machine's, and what {@link advanceClock} added. */
  nowMs(): number;
  /**
   * Moves that time forward, for the NSM and so for the enclave, for KMS, the metadata service and the issuer. The
   * parent's clock stays behind.
   */
  advanceClock(ms: number): Promise<void>;
  /** A client that verifies this enclave. */
  connect(options?: Pick<ConnectOptions, "attempts">): Promise<Client>;
  /** How the enclave's start ended: `ready`, or `failed` with its code and message. */
  enclaveOutcome(): Promise<ProcessEvent>;
  /** Kills the enclave where it stands (SIGKILL). */
  killEnclave(): Promise<void>;
  /** Boots the enclave anew, after {@link killEnclave}. */
  startEnclave(): Promise<void>;
  /** Settles when the enclave that runs now has ended, with its last words. */
  enclaveEnded(): Promise<string>;
  /** Kills the parent where it stands (SIGKILL). */
  killParent(): Promise<void>;
  /** Starts the parent anew on the same port, after {@link killParent}. */
  startParent(): Promise<void>;
  /** Stops every process and server. */
  stop(): Promise<void>;
}

/**
 * Starts a simulator.
 *
 * @throws {@link SimulatorError}; whatever had been started by then is stopped.
 */
export function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  return startAround(enclaveProcess, options);
}

/** @internal The same around an enclave from anywhere. */
export async function startAround(enclave: EnclaveSource, options: SimulatorOptions): Promise<Simulator> {
  const startedAt = performance.now();
  const simulator = new RunningSimulator(enclave, options);
  try {
    await simulator.start();
  } catch (error) {
    await simulator.stop();
    throw error;
  }
  simulator.startedInMs = Math.round(performance.now() - startedAt);
  return simulator;
}

class RunningSimulator implements Simulator {
  readonly #source: EnclaveSource;
  readonly #options: SimulatorOptions;
  readonly #log: (line: string) => void;
  /** Undone in reverse order, each whatever became of the others. */
  readonly #cleanup = new AsyncDisposableStack();
  readonly deployment = DEPLOYMENT;
  startedInMs = 0;
  #clockOffsetMs = 0;
  #runFolder = "";
  #world: World | undefined;
  hostileParent: HostileParent | null = null;
  #enclave: RunningEnclave | undefined;
  #parent: Child | undefined;
  #httpPort = 0;
  #stopping: Promise<void> | undefined;

  constructor(source: EnclaveSource, options: SimulatorOptions) {
    this.#source = source;
    this.#options = options;
    this.#log = options.log ?? (() => {});
  }

  async start(): Promise<void> {
    const { stateFolder, imdsTrouble, kmsFaults, keyPolicy, hostileParent, waitForReady } = this.#options;
    // Sockets have a folder of their own with a short name: their paths must fit into 108 bytes.
    this.#runFolder = await mkdtemp(join(tmpdir(), "cloister-"));
    this.#cleanup.defer(() => rm(this.#runFolder, { recursive: true, force: true }));
    this.#world = await startWorld({
      stateFolder: stateFolder ?? join(this.#runFolder, "state"),
      runFolder: this.#runFolder,
      nowMs: () => this.nowMs(),
      administrators: this.#options.administrators ?? { threshold: 1, alsoPublicKeys: [] },
      log: this.#log,
      imdsTrouble: imdsTrouble ?? { kind: "none" },
      kmsFaults: kmsFaults ?? {},
      keyPolicy: keyPolicy ?? keyPolicyFor,
      signingWorkers: this.#options.signingWorkers ?? 0,
      enclave: this.#source,
      cleanup: this.#cleanup,
    });
    if (hostileParent !== undefined) await this.#startHostileParent(hostileParent);
    this.#cleanup.defer(() => this.#enclave?.stop());
    await this.#bootEnclave();
    // Stopped before the enclave: it lets requests that are under way finish, and for that it needs the enclave.
    this.#cleanup.defer(() => this.#parent?.stop());
    this.#httpPort = this.#options.httpPort ?? 0;
    await this.startParent();
    if (waitForReady !== false) await this.#awaitReady();
  }

  async #startHostileParent(hooks: HostileHooks): Promise<void> {
    const hostile = await startHostileParent({ guestPath: this.#guestPath, hostPath: this.#hostPath, hooks });
    this.#cleanup.defer(() => hostile.close());
    this.hostileParent = hostile;
  }

  get #guestPath(): string {
    return join(this.#runFolder, "v");
  }

  /** The same, unless somebody stands between. */
  get #hostPath(): string {
    return this.#options.hostileParent === undefined ? this.#guestPath : join(this.#runFolder, "h");
  }

  async #bootEnclave(): Promise<void> {
    this.#enclave = await this.#started.enclave.boot(this.#guestPath);
  }

  async killParent(): Promise<void> {
    await this.#parent?.kill();
  }

  async startParent(): Promise<void> {
    const { state, imds, connectTo: ofWorld } = this.#started;
    const connectTo = { ...ofWorld, ...this.#options.alsoConnectTo };
    const configFile = join(this.#runFolder, "parent.json");
    const config = {
      vsock: { kind: "unix-socket", path: this.#hostPath },
      http: { host: "127.0.0.1", port: this.#httpPort },
      records: { kind: "sqlite", file: state.recordsFile },
      egress: { allow: Object.keys(connectTo), connectTo },
      credentials: { kind: "aws" },
    };
    await writeFile(configFile, JSON.stringify(config), { mode: 0o600 });
    this.#parent = new Child({
      name: "the parent",
      command: [process.execPath, beside("../parent-proxy/main"), "--config", configFile, "--stop-on-stdin-end"],
      env: instanceEnvironment(imds, process.env, this.#runFolder),
      log: this.#log,
    });
    const { event, ...outcome } = await this.#parent.event("ready", "failed");
    if (event === "failed") throw failed("PARENT_FAILED", outcome);
    this.#httpPort = Number(outcome["httpPort"]);
  }

  async #awaitReady(): Promise<void> {
    const { event, ...outcome } = await Promise.race([this.enclaveOutcome(), stoppedBy(this.#options.signal)]);
    if (event === "failed") throw failed("ENCLAVE_FAILED", outcome);
  }

  get url(): string {
    return `http://127.0.0.1:${this.#httpPort}`;
  }

  get #started(): World {
    if (this.#world === undefined) throw new Error("the simulator has not been started");
    return this.#world;
  }

  get expected(): ExpectedEnclave {
    return this.#started.expected;
  }

  get attestationRootPem(): string {
    return this.#started.attestationRootPem;
  }

  get administratorKey(): StampKey {
    return this.#started.state.administratorKey;
  }

  get issuer(): SimulatedIssuer {
    return this.#started.issuer;
  }

  get imds(): SimulatedImds {
    return this.#started.imds;
  }

  get recordsFile(): string {
    return this.#started.state.recordsFile;
  }

  get enclavePid(): number {
    return this.#enclave?.pid ?? 0;
  }

  get parentPid(): number {
    return this.#parent?.pid ?? 0;
  }

  nowMs(): number {
    return Date.now() + this.#clockOffsetMs;
  }

  async advanceClock(ms: number): Promise<void> {
    this.#clockOffsetMs += ms;
    // Whoever asks for attestation makes the enclave look at the NSM's clock.
    await this.connect();
  }

  connect(options: Pick<ConnectOptions, "attempts"> = {}): Promise<Client> {
    const { url, deployment, expected } = this;
    return connect({ url, deployment, expected, nowMs: () => this.nowMs(), ...options });
  }

  enclaveOutcome(): Promise<ProcessEvent> {
    if (this.#enclave === undefined) throw new Error("the enclave was not started");
    return this.#enclave.outcome();
  }

  enclaveEnded(): Promise<string> {
    if (this.#enclave === undefined) throw new Error("the enclave was not started");
    return this.#enclave.ended();
  }

  async killEnclave(): Promise<void> {
    await this.#enclave?.kill();
  }

  async startEnclave(): Promise<void> {
    await this.#bootEnclave();
    await this.#awaitReady();
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#cleanup.disposeAsync();
    return this.#stopping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

function failed(
  code: SimulatorErrorCode,
  { code: reason, message }: Readonly<Record<string, unknown>>,
): SimulatorError {
  return new SimulatorError(code, `${String(reason)}: ${String(message)}`);
}
