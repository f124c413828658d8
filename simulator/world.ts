/** What surrounds an enclave and its parent: the NSM's authorities, KMS, metadata service and login issuer. */
import { createPcrSet } from "../attestation/index.ts";
import type { ExpectedEnclave } from "../client/index.ts";
import { parseManifest } from "../enclave/index.ts";
import type { EnclaveSource, PreparedEnclave } from "./enclave-source.ts";
import { SimulatorError } from "./errors.ts";
import { type ImdsTrouble, type SimulatedImds, startInstanceRole } from "./imds/index.ts";
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
import { createNsmPki } from "./nsm/index.ts";
import { type SimulatedIssuer, startSimulatedIssuer } from "./oidc/index.ts";
import { certificateToPem, createTlsAuthority } from "./pki/index.ts";
import { manifestFields, openState, type State } from "./state.ts";

export const DEPLOYMENT = "simulator";
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

export interface WorldOptions {
  readonly stateFolder: string;
  /** For sockets and for what enclave and parent are told; it goes with the simulator. */
  readonly runFolder: string;
  readonly nowMs: () => number;
  readonly administrators: { readonly threshold: number; readonly alsoPublicKeys: readonly string[] };
  readonly log: (line: string) => void;
  readonly imdsTrouble: ImdsTrouble;
  readonly kmsFaults: KmsFaults;
  /** What KMS demands of an image that measures to this PCR0. */
  readonly keyPolicy: (pcr0: Uint8Array, roleArn: string) => KeyPolicyInput;
  readonly enclave: EnclaveSource;
  /** Threads that sign beside each enclave's main one. */
  readonly signingWorkers: number;
  /** Takes what has to be closed. */
  readonly cleanup: AsyncDisposableStack;
}

export interface World {
  readonly state: State;
  readonly issuer: SimulatedIssuer;
  readonly imds: SimulatedImds;
  readonly expected: ExpectedEnclave;
  readonly attestationRootPem: string;
  /** Names that the enclave knows, to where they are on this machine. */
  readonly connectTo: Readonly<Record<string, string>>;
  readonly enclave: PreparedEnclave;
}

/** @throws {@link SimulatorError} `STATE_UNUSABLE`, `MANIFEST_OF_ANOTHER_KEY` */
export async function startWorld(options: WorldOptions): Promise<World> {
  const { runFolder, nowMs, cleanup } = options;
  const state = await openState(options.stateFolder);
  const nsmPki = createNsmPki({ nowMs, region: REGION });
  const tls = createTlsAuthority({ nowMs, name: "SIMULATOR TLS - NOT FOR PRODUCTION" });

  const principals: KmsPrincipal[] = [];
  const imds = await startInstanceRole({
    roleName: ROLE_NAME,
    sessionArn: SESSION_ARN,
    principals,
    nowMs,
    trouble: options.imdsTrouble,
  });
  cleanup.defer(() => imds.close());
  const kms = await startSimulatedKms({
    tls: tls.issueServer({ hosts: [KMS_HOST] }),
    region: REGION,
    accountId: ACCOUNT_ID,
    principals,
    attestationRoots: [nsmPki.root],
    storeFile: state.kmsFile,
    nowMs,
    log: (entry) => options.log(describeKms(entry)),
    faults: options.kmsFaults,
  }).catch((cause: unknown) => {
    if (cause instanceof KmsStoreError) throw new SimulatorError("STATE_UNUSABLE", cause.message, { cause });
    throw cause;
  });
  cleanup.defer(() => kms.close());
  const issuer = await startSimulatedIssuer({
    tls: tls.issueServer({ hosts: [ISSUER_HOST] }),
    issuer: `https://${ISSUER_HOST}`,
    nowMs,
  });
  cleanup.defer(() => issuer.close());

  const manifestBytes = await manifestFor(state, kms, options.administrators);
  const enclave = await options.enclave.prepare({
    ...{ runFolder, nowMs, nsmPki, cleanup, log: options.log },
    ...{ manifest: manifestBytes, tlsRootPem: tls.rootPem },
    ...{ moduleId: MODULE_ID, instanceId: INSTANCE_ID, roleArn: ROLE_ARN, signingWorkers: options.signingWorkers },
  });
  const pcr0 = enclave.pcrs.get(0) ?? new Uint8Array(48);
  const manifest = parseManifest(manifestBytes);
  // The simulated account's administrator admits the image that is about to boot, as after every upgrade.
  kms.putKeyPolicy(manifest.kmsKeyArn, options.keyPolicy(pcr0, ROLE_ARN));
  return {
    state,
    issuer,
    imds,
    expected: {
      roots: [nsmPki.root],
      pcrs: [createPcrSet([[0, pcr0]])],
      manifestDigest: enclave.hasOwnManifest ? "covered-by-pcrs" : manifest.digest,
      vaultId: "any",
    },
    attestationRootPem: certificateToPem(nsmPki.root.der),
    connectTo: { [`${KMS_HOST}:443`]: `127.0.0.1:${kms.port}`, [`${ISSUER_HOST}:443`]: `127.0.0.1:${issuer.port}` },
    enclave,
  };
}

/** The folder's own manifest, or a new one with a new key, which nobody may use before its image is known. */
async function manifestFor(
  state: State,
  kms: SimulatedKms,
  administrators: WorldOptions["administrators"],
): Promise<Uint8Array> {
  const kmsKeyArn = kms.keyArns()[0] ?? kms.createKey({ policy: keyPolicyFor(new Uint8Array(48), ROLE_ARN) });
  if (state.manifest === null) {
    const { administratorKey } = state;
    const egress = [`${ISSUER_HOST}:443`];
    return state.writeManifest(
      manifestFields({ deployment: DEPLOYMENT, region: REGION, kmsKeyArn, administratorKey, administrators, egress }),
    );
  }
  const named = manifestOf(state.manifest).kmsKeyArn;
  if (named !== kmsKeyArn) {
    throw new SimulatorError("MANIFEST_OF_ANOTHER_KEY", `cloister.yaml names ${named}, KMS has ${kmsKeyArn}`);
  }
  return state.manifest;
}

/** One that was changed by hand, perhaps. */
function manifestOf(bytes: Uint8Array): ReturnType<typeof parseManifest> {
  try {
    return parseManifest(bytes);
  } catch (cause) {
    throw new SimulatorError("STATE_UNUSABLE", `cloister.yaml: ${(cause as Error).message}`, { cause });
  }
}

function describeKms({ operation, principalArn, outcome, detail }: KmsLogEntry): string {
  return JSON.stringify({ from: "kms", operation, principalArn, outcome, ...(detail === null ? {} : { detail }) });
}
