/** A simulated KMS that runs alone, with what its users need to be told. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createNsmPki, createSimulatedNsm, serveNsm } from "../nsm/index.ts";
import { certificateToPem, createTlsAuthority } from "../pki/index.ts";
import { defaultKeyPolicy } from "./operations/policies.ts";
import type { KmsPrincipal } from "./principal.ts";
import { startSimulatedKms } from "./server.ts";
import type { KmsLogEntry, SimulatedKms } from "./server-options.ts";
import type { StandaloneOptions } from "./standalone-options.ts";

const ALIAS = "alias/cloister";
const MODULE_ID = "i-0123456789abcdef0-enc0123456789abcdef";

export interface StandaloneKms {
  readonly endpoint: string;
  readonly keyArn: string;
  readonly keyAlias: string;
  /** Null with plain HTTP. */
  readonly caFile: string | null;
  readonly principals: readonly KmsPrincipal[];
  /** The root of the NSM's documents, if there is one, and where it answers. */
  readonly nsm: { readonly socket: string; readonly rootFile: string } | null;
  close(): Promise<void>;
}

/**
 * @throws `KmsStoreError` if the state cannot be used; what the operating system says if the port cannot, or a file
 * cannot be written. Whatever had been started by then is stopped.
 */
export async function startStandaloneKms(
  options: StandaloneOptions,
  deps: { readonly nowMs: () => number; readonly log: (entry: KmsLogEntry) => void },
): Promise<StandaloneKms> {
  const cleanup: (() => Promise<unknown>)[] = [];
  const close = async () => {
    for (const undo of cleanup.splice(0).reverse()) await undo();
  };
  try {
    return { ...(await start(options, deps, (undo) => cleanup.push(undo))), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function start(
  options: StandaloneOptions,
  { nowMs, log }: { readonly nowMs: () => number; readonly log: (entry: KmsLogEntry) => void },
  onClose: (undo: () => Promise<unknown>) => void,
): Promise<Omit<StandaloneKms, "close">> {
  const { region, accountId, stateFile, host, http } = options;
  let folder = stateFile === null ? null : dirname(stateFile);
  if (folder === null) {
    const temporary = await mkdtemp(join(tmpdir(), "cloister-kms-"));
    onClose(() => rm(temporary, { recursive: true, force: true }));
    folder = temporary;
  }
  const caFile = http ? null : (options.caFile ?? join(folder, "kms-ca.pem"));
  const authority = createTlsAuthority({ nowMs, name: "SIMULATED KMS TLS - NOT FOR PRODUCTION" });
  const names = ["localhost", "127.0.0.1", "::1", `kms.${region}.amazonaws.com`, ...options.tlsNames];
  const principals = options.principals ?? defaultPrincipals(accountId);

  const pki = options.nsm === null ? null : createNsmPki({ nowMs, region });
  const kms = await startSimulatedKms({
    tls: http ? null : authority.issueServer({ hosts: names }),
    region,
    accountId,
    principals,
    attestationRoots: [...options.roots, ...(pki === null ? [] : [pki.root])],
    storeFile: stateFile,
    nowMs,
    maxAttestationAgeMs: options.maxAgeMs,
    port: options.port,
    host,
    log,
    ...(options.faults === null ? {} : { faults: options.faults }),
    ...(options.throttle === null ? {} : { throttle: options.throttle }),
  });
  onClose(() => kms.close());
  if (caFile !== null) await writeFile(caFile, authority.rootPem);

  let nsm: StandaloneKms["nsm"] = null;
  if (options.nsm !== null && pki !== null) {
    const { socket, pcrs } = options.nsm;
    const server = await serveNsm(createSimulatedNsm({ pki, pcrs, moduleId: MODULE_ID, nowMs }), socket);
    onClose(() => server.close());
    nsm = { socket, rootFile: join(folder, "attestation-root.pem") };
    await writeFile(nsm.rootFile, certificateToPem(pki.root.der));
  }
  return {
    endpoint: `${http ? "http" : "https"}://${host === "127.0.0.1" || host === "0.0.0.0" ? "localhost" : host}:${kms.port}`,
    keyArn: keyFor(kms, options),
    keyAlias: ALIAS,
    caFile,
    principals,
    nsm,
  };
}

function keyFor(kms: SimulatedKms, { policy, accountId }: StandaloneOptions): string {
  const known = kms.keyArnOf(ALIAS);
  if (known === null) return kms.createKey({ policy: policy ?? defaultKeyPolicy(accountId), alias: ALIAS });
  if (policy !== null) kms.putKeyPolicy(known, policy);
  return known;
}

/** Their secrets are in the documents: they open nothing but simulators. */
function defaultPrincipals(accountId: string): KmsPrincipal[] {
  const secretAccessKey = "simulator-credentials-open-nothing";
  return [
    {
      ...{ accessKeyId: "AKIASIMULATORADMIN00", secretAccessKey, sessionToken: null, expiresAtMs: null },
      arn: `arn:aws:iam::${accountId}:user/admin`,
    },
    {
      ...{ accessKeyId: "AKIASIMULATORENCLAVE", secretAccessKey, sessionToken: null, expiresAtMs: null },
      arn: `arn:aws:sts::${accountId}:assumed-role/enclave/simulator`,
    },
  ];
}
