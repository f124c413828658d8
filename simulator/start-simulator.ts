/**
 * The whole of Cloister on one machine: an enclave and a parent as processes of their own, and around them, in this
 * process, an NSM, a KMS and an OIDC issuer that refuse what the real ones refuse. Every key and root is its own.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createPcrSet } from "../attestation/index.ts";
import { type Client, connect, type ExpectedEnclave, type StampKey } from "../client/index.ts";
import { parseManifest } from "../enclave/index.ts";
import { Child, type ProcessEvent } from "./child-process.ts";
import { SimulatorError, type SimulatorErrorCode } from "./errors.ts";
import { type HostileHooks, type HostileParent, startHostileParent } from "./hostile-parent.ts";
import { measureImage } from "./image.ts";
import { type ImdsTrouble, instanceEnvironment, type SimulatedImds, startInstanceRole } from "./imds/index.ts";
import { keyPolicyFor } from "./key-policy.ts";
import {
  type KeyPolicyInput,
  type KmsFaults,
  type KmsLogEntry,
  type KmsPrincipal,
  KmsStoreError,
  type SimulatedKms,
  startSimulatedKms,
} from "./kms/index.ts";
import { createNsmPki, createSimulatedNsm, type NsmPki, serveNsm } from "./nsm/index.ts";
import { type SimulatedIssuer, startSimulatedIssuer } from "./oidc/index.ts";
import { createTlsAuthority } from "./pki/index.ts";
import { manifestFields, openState, type State } from "./state.ts";

export interface SimulatorOptions {
  /** A free one unless given. */
  readonly httpPort?: number;
  /** Where wallets, KMS keys and the manifest survive. Left out: a folder that goes with the simulator. */
  readonly stateFolder?: string;
  /** Takes lines that processes log, and what KMS decides. */
  readonly log?: (line: string) => void;
  /** False: do not wait for the enclave, which may never become ready. */
  readonly waitForReady?: boolean;
  /** What the metadata service suffers from at the start; nothing unless given. */
  readonly imdsTrouble?: ImdsTrouble;

  /** Puts a parent that lies between the enclave and the honest one. */
  readonly hostileParent?: HostileHooks;
  readonly kmsFaults?: KmsFaults;
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
  connect(): Promise<Client>;
  /** How the enclave's start ended: `ready`, or `failed` with its code and message. */
  enclaveOutcome(): Promise<ProcessEvent>;
  /** Kills the enclave where it stands (SIGKILL). */
  killEnclave(): Promise<void>;
  /** Boots the enclave anew, after {@link killEnclave}. */
  startEnclave(): Promise<void>;
  /** Stops every process and server. */
  stop(): Promise<void>;
}

const DEPLOYMENT = "simulator";
const REGION = "us-east-1";
/** The account number of AWS's own examples. */
const ACCOUNT_ID = "111122223333";
const ROLE_NAME = "cloister-parent";
const ROLE_ARN = `arn:aws:iam::${ACCOUNT_ID}:role/${ROLE_NAME}`;
const SESSION_ARN = `arn:aws:sts::${ACCOUNT_ID}:assumed-role/${ROLE_NAME}/simulator`;
const INSTANCE_ID = "i-0123456789abcdef0";
const MODULE_ID = `${INSTANCE_ID}-enc0123456789abcdef`;
const KMS_HOST = `kms.${REGION}.amazonaws.com`;
/** RFC 6761 keeps `.test` from ever being a real name. */
const ISSUER_HOST = "login.cloister.test";

/** What the enclave's Node is started with; the image's init uses the same. */
const ENCLAVE_NODE_FLAGS = ["--disable-proto=delete", "--disallow-code-generation-from-strings", "--disable-sigusr1"];

/**
 * Starts a simulator.
 *
 * @throws {@link SimulatorError}; whatever had been started by then is stopped.
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const startedAt = performance.now();
  const simulator = new RunningSimulator(options);
  try {
    await simulator.start();
  } catch (error) {
    await simulator.stop();
    throw error;
  }
  simulator.startedInMs = Math.round(performance.now() - startedAt);
  return simulator;
}

/** What the parent and the enclave are told. */
interface World {
  readonly state: State;
  readonly issuer: SimulatedIssuer;
  readonly kms: SimulatedKms;
  readonly imds: SimulatedImds;
  readonly nsmPki: NsmPki;
  readonly manifestFile: string;
  readonly expected: ExpectedEnclave;
}

class RunningSimulator implements Simulator {
  readonly #options: SimulatorOptions;
  readonly #log: (line: string) => void;
  /** Undone in reverse order. */
  readonly #cleanup: (() => Promise<unknown>)[] = [];
  readonly deployment = DEPLOYMENT;
  startedInMs = 0;
  #clockOffsetMs = 0;
  #runFolder = "";
  #world: World | undefined;
  hostileParent: HostileParent | null = null;
  #enclave: Child | undefined;
  #parent: Child | undefined;
  #httpPort = 0;
  #stopping: Promise<void> | undefined;

  constructor(options: SimulatorOptions) {
    this.#options = options;
    this.#log = options.log ?? (() => {});
  }

  async start(): Promise<void> {
    // Sockets have a folder of their own with a short name: their paths must fit into 108 bytes.
    this.#runFolder = await mkdtemp(join(tmpdir(), "cloister-"));
    this.#cleanup.push(() => rm(this.#runFolder, { recursive: true, force: true }));
    this.#world = await this.#startWorld();
    if (this.#options.hostileParent !== undefined) await this.#startHostileParent(this.#options.hostileParent);
    this.#spawnEnclave();
    const parent = await this.#spawnParent(this.#world);
    const { event, ...parentOutcome } = await parent.event("ready", "failed");
    if (event === "failed") throw failed("PARENT_FAILED", parentOutcome);
    this.#httpPort = Number(parentOutcome["httpPort"]);
    if (this.#options.waitForReady !== false) await this.#awaitReady();
  }

  async #startWorld(): Promise<World> {
    const nowMs = () => this.nowMs();
    const state = await openState(this.#options.stateFolder ?? join(this.#runFolder, "state"));
    const nsmPki = createNsmPki({ nowMs, region: REGION });
    const tls = createTlsAuthority({ nowMs, name: "SIMULATOR TLS - NOT FOR PRODUCTION" });
    await writeFile(join(this.#runFolder, "tls-root.pem"), tls.rootPem);

    const principals: KmsPrincipal[] = [];
    const imds = await startInstanceRole({
      roleName: ROLE_NAME,
      sessionArn: SESSION_ARN,
      principals,
      nowMs,
      trouble: this.#options.imdsTrouble ?? { kind: "none" },
    });
    this.#cleanup.push(() => imds.close());
    const kms = await startSimulatedKms({
      tls: tls.issueServer({ hosts: [KMS_HOST] }),
      region: REGION,
      accountId: ACCOUNT_ID,
      principals,
      attestationRoots: [nsmPki.root],
      storeFile: state.kmsFile,
      nowMs,
      log: (entry) => this.#log(describeKms(entry)),
      ...(this.#options.kmsFaults === undefined ? {} : { faults: this.#options.kmsFaults }),
    }).catch((cause: unknown) => {
      if (cause instanceof KmsStoreError) throw new SimulatorError("STATE_UNUSABLE", cause.message, { cause });
      throw cause;
    });
    this.#cleanup.push(() => kms.close());
    const issuer = await startSimulatedIssuer({
      tls: tls.issueServer({ hosts: [ISSUER_HOST] }),
      issuer: `https://${ISSUER_HOST}`,
      nowMs,
    });
    this.#cleanup.push(() => issuer.close());

    // Nobody may use a new key before its image is known.
    const kmsKeyArn = kms.keyArns()[0] ?? kms.createKey({ policy: keyPolicyFor(new Uint8Array(48), ROLE_ARN) });
    const manifestBytes =
      state.manifest ??
      (await state.writeManifest(
        manifestFields({
          deployment: DEPLOYMENT,
          region: REGION,
          kmsKeyArn,
          administratorKey: state.administratorKey,
          egress: [`${ISSUER_HOST}:443`],
        }),
      ));
    const manifest = parseManifest(manifestBytes);
    if (manifest.kmsKeyArn !== kmsKeyArn) {
      throw new SimulatorError(
        "MANIFEST_OF_ANOTHER_KEY",
        `cloister.yaml names ${manifest.kmsKeyArn}, KMS has ${kmsKeyArn}`,
      );
    }
    const pcrs = await measureImage({ manifest: manifestBytes, roleArn: ROLE_ARN, instanceId: INSTANCE_ID });
    const pcr0 = pcrs.get(0) ?? new Uint8Array(48);
    // The simulated account's administrator admits the image that is about to boot, as after every upgrade.
    kms.putKeyPolicy(kmsKeyArn, (this.#options.keyPolicy ?? keyPolicyFor)(pcr0, ROLE_ARN));

    const nsm = createSimulatedNsm({ pki: nsmPki, pcrs, moduleId: MODULE_ID, nowMs });
    const nsmServer = await serveNsm(nsm, join(this.#runFolder, "nsm"));
    this.#cleanup.push(() => nsmServer.close());

    const manifestFile = join(this.#runFolder, "cloister.yaml");
    await writeFile(manifestFile, manifestBytes);
    const expected = {
      roots: [nsmPki.root],
      pcrs: [createPcrSet([[0, pcr0]])],
      manifestDigest: manifest.digest,
      vaultId: "any" as const,
    };
    return { state, issuer, kms, imds, nsmPki, manifestFile, expected };
  }

  async #startHostileParent(hooks: HostileHooks): Promise<void> {
    const hostile = await startHostileParent({ guestPath: this.#guestPath, hostPath: this.#hostPath, hooks });
    this.#cleanup.push(() => hostile.close());
    this.hostileParent = hostile;
  }

  get #guestPath(): string {
    return join(this.#runFolder, "v");
  }

  /** The same, unless somebody stands between. */
  get #hostPath(): string {
    return this.#options.hostileParent === undefined ? this.#guestPath : join(this.#runFolder, "h");
  }

  #spawnEnclave(): void {
    this.#enclave = new Child({
      name: "the enclave",
      file: beside("./enclave-process"),
      args: [
        ...["--manifest", join(this.#runFolder, "cloister.yaml")],
        ...["--nsm", join(this.#runFolder, "nsm")],
        ...["--vsock", this.#guestPath],
        ...["--tls-root", join(this.#runFolder, "tls-root.pem")],
      ],
      nodeFlags: ENCLAVE_NODE_FLAGS,
      log: this.#log,
    });
  }

  async #spawnParent({ state, kms, imds, issuer }: World): Promise<Child> {
    const configFile = join(this.#runFolder, "parent.json");
    const config = {
      vsock: { kind: "unix-socket", path: this.#hostPath },
      http: { host: "127.0.0.1", port: this.#options.httpPort ?? 0 },
      recordsFile: state.recordsFile,
      egress: {
        allow: [`${KMS_HOST}:443`, `${ISSUER_HOST}:443`],
        connectTo: { [`${KMS_HOST}:443`]: `127.0.0.1:${kms.port}`, [`${ISSUER_HOST}:443`]: `127.0.0.1:${issuer.port}` },
      },
      credentials: { kind: "aws" },
    };
    await writeFile(configFile, JSON.stringify(config), { mode: 0o600 });
    this.#parent = new Child({
      name: "the parent",
      file: beside("../parent-proxy/main"),
      args: ["--config", configFile, "--stop-on-stdin-end"],
      env: instanceEnvironment(imds, process.env, this.#runFolder),
      log: this.#log,
    });
    return this.#parent;
  }

  async #awaitReady(): Promise<void> {
    const { event, ...outcome } = await this.enclaveOutcome();
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
    const lines =
      Buffer.from(this.#started.nsmPki.root.der)
        .toString("base64")
        .match(/.{1,64}/g) ?? [];
    return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
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

  connect(): Promise<Client> {
    return connect({ url: this.url, deployment: this.deployment, expected: this.expected, nowMs: () => this.nowMs() });
  }

  enclaveOutcome(): Promise<ProcessEvent> {
    if (this.#enclave === undefined) throw new Error("the enclave was not started");
    return this.#enclave.event("ready", "failed");
  }

  async killEnclave(): Promise<void> {
    await this.#enclave?.kill();
  }

  async startEnclave(): Promise<void> {
    this.#spawnEnclave();
    await this.#awaitReady();
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    // The parent first: it lets requests that are under way finish, and for that it needs the enclave.
    const steps = [() => this.#parent?.stop(), () => this.#enclave?.stop(), ...this.#cleanup.reverse()];
    const failures: unknown[] = [];
    for (const step of steps) {
      try {
        await step();
      } catch (error) {
        // Whatever one step meets, the others still have to be done.
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, "the simulator did not stop cleanly");
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

/** A file of this package, as TypeScript from a checkout or as JavaScript from the published package. */
function beside(path: string): string {
  return fileURLToPath(new URL(path + extname(import.meta.url), import.meta.url));
}

function describeKms({ operation, principalArn, outcome, detail }: KmsLogEntry): string {
  return JSON.stringify({ from: "kms", operation, principalArn, outcome, ...(detail === null ? {} : { detail }) });
}
