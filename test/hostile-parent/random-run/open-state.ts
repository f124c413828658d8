/**
 * Opens everything that a simulator's enclave sealed, in the one way in which it can be opened: by the enclave's own
 * code, with a data key that KMS gives to an attested document of the same PCR0. The simulator owns NSM and KMS, so a
 * test may ask; nothing of the enclave is changed for it.
 */
import { copyFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { decode } from "cborg";
import { pino } from "pino";
import { Egress } from "../../../enclave/egress/egress.ts";
import { EgressAgent } from "../../../enclave/egress/egress-agent.ts";
import { AttestedKms } from "../../../enclave/kms/attested-kms.ts";
import { RecipientKeys } from "../../../enclave/kms/recipient-keys.ts";
import { kmsHost, type Manifest, parseManifest } from "../../../enclave/manifest.ts";
import { Nsm } from "../../../enclave/nsm/nsm.ts";
import { TrustedClock } from "../../../enclave/trusted-clock.ts";
import { RecordCipher } from "../../../enclave/vault/record-cipher.ts";
import { unwrapVaultSecret } from "../../../enclave/vault/vault-secret.ts";
import { startParentProxy } from "../../../parent-proxy/index.ts";
import { encodeAttestedUserData } from "../../../protocol/index.ts";
import { measureImage } from "../../../simulator/image.ts";
import { startSimulatedKms } from "../../../simulator/kms/index.ts";
import { createNsmPki, createSimulatedNsm } from "../../../simulator/nsm/index.ts";
import { createTlsAuthority } from "../../../simulator/pki/index.ts";
import { guestVsock, hostVsock } from "../../../vsock/index.ts";

/** Whom the simulator's key policy names; the key's ARN has the account. */
const ROLE = "cloister-parent";
const INSTANCE_ID = "i-0123456789abcdef0";
const CREDENTIALS = { accessKeyId: "AKIASIMULATOR0000000", secretAccessKey: "of-the-test", sessionToken: null };

export interface OpenedRecord {
  readonly name: string;
  readonly version: number;
  readonly value: unknown;
}

export interface OpenedState {
  /** The vault's secrets, by generation. */
  readonly vaultSecrets: ReadonlyMap<number, Uint8Array>;
  readonly records: readonly OpenedRecord[];
  /** Names of records that do not open: nobody but the enclave can have written the others. */
  readonly unopened: readonly string[];
}

interface Row {
  readonly name: string;
  readonly version: number;
  readonly value: Uint8Array;
}

/** @param stateFolder - Of a simulator that has stopped. It is only read. */
export async function openState(stateFolder: string): Promise<OpenedState> {
  const folder = await mkdtemp(join(tmpdir(), "cl-open-"));
  try {
    for (const file of ["kms.json", "records.sqlite"]) await copyFile(join(stateFolder, file), join(folder, file));
    const rows = readRows(join(folder, "records.sqlite"));
    const manifestBytes = await readFile(join(stateFolder, "cloister.yaml"));
    const manifest = parseManifest(manifestBytes);
    const vaultSecrets = await openVaultSecrets(rows, manifest, manifestBytes, folder);
    const ciphers = new Map(
      [...vaultSecrets].map(([generation, secret]) => [
        generation,
        new RecordCipher(secret, { deployment: manifest.deployment, generation }),
      ]),
    );
    const records: OpenedRecord[] = [];
    const unopened: string[] = [];
    for (const { name, version, value } of rows.filter((row) => !row.name.startsWith("vault/"))) {
      try {
        const cipher = ciphers.get(Buffer.from(value).readUInt32BE(1));
        records.push({ name, version, value: decode(cipher?.open({ name, version }, value) ?? new Uint8Array(0)) });
      } catch {
        unopened.push(name);
      }
    }
    return { vaultSecrets, records, unopened };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What stands in records beside secrets: public halves, and digests of what others have seen. */
const NO_SECRETS = /public|credential|digest|^last$|^importedAs$/i;

/** Bytes in records that nobody outside may see, each once, with where they stand: all but what is public by its name. */
export function secretsIn({ records }: OpenedState): { readonly name: string; readonly bytes: Uint8Array }[] {
  const found = records.flatMap(({ name, value }) => secretsOf(name, "", value));
  const hex = found.map(({ bytes }) => Buffer.from(bytes).toString("hex"));
  return found.filter((_, at) => hex.indexOf(hex[at] ?? "") === at);
}

function secretsOf(
  name: string,
  path: string,
  value: unknown,
): { readonly name: string; readonly bytes: Uint8Array }[] {
  if (value instanceof Uint8Array) return value.length >= 16 ? [{ name: `${name} ${path}`, bytes: value }] : [];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([field, item]: [string, unknown]) =>
    NO_SECRETS.test(field) ? [] : secretsOf(name, path === "" ? field : `${path}.${field}`, item),
  );
}

function readRows(file: string): Row[] {
  const database = new DatabaseSync(file);
  try {
    return database.prepare("SELECT name, version, value FROM records ORDER BY name").all() as unknown as Row[];
  } finally {
    database.close();
  }
}

async function openVaultSecrets(
  rows: readonly Row[],
  manifest: Manifest,
  manifestBytes: Uint8Array,
  folder: string,
): Promise<Map<number, Uint8Array>> {
  const nowMs = Date.now;
  const account = manifest.kmsKeyArn.split(":")[4] ?? "";
  const roleArn = `arn:aws:iam::${account}:role/${ROLE}`;
  const host = kmsHost(manifest);
  const closing: (() => unknown)[] = [];
  try {
    const pki = createNsmPki({ nowMs, region: manifest.region });
    const tls = createTlsAuthority({ nowMs, name: "TEST TLS" });
    const kms = await startSimulatedKms({
      tls: tls.issueServer({ hosts: [host] }),
      region: manifest.region,
      accountId: account,
      principals: [{ ...CREDENTIALS, arn: `arn:aws:sts::${account}:assumed-role/${ROLE}/test`, expiresAtMs: null }],
      attestationRoots: [pki.root],
      storeFile: join(folder, "kms.json"),
      nowMs,
    });
    closing.push(() => kms.close());
    const pcrs = await measureImage({ manifest: manifestBytes, roleArn, instanceId: INSTANCE_ID });
    const simulated = createSimulatedNsm({ pki, pcrs, moduleId: `${INSTANCE_ID}-enc0123456789abcdef`, nowMs });
    const nsm = new Nsm({ process: (request) => simulated.handle(request) }, new TrustedClock(() => performance.now()));
    const parent = await startParentProxy({
      vsock: hostVsock(join(folder, "v")),
      http: { host: "127.0.0.1", port: 0 },
      records: { kind: "sqlite", file: join(folder, "none.sqlite") },
      egress: { allow: [`${host}:443`], connectTo: new Map([[`${host}:443`, `127.0.0.1:${kms.port}`]]) },
      credentials: () => Promise.reject(new Error("not asked for")),
      log: pino({ level: "silent" }),
    });
    closing.push(() => parent.close());
    const vsock = guestVsock(join(folder, "v"));
    closing.push(() => vsock.close());
    const agent = new EgressAgent(new Egress({ vsock, allowed: new Set([`${host}:443`]), nowMs }), [tls.rootPem]);
    closing.push(() => agent.destroy());
    const attested = new AttestedKms({
      region: manifest.region,
      host,
      keyArn: manifest.kmsKeyArn,
      agent,
      credentials: async () => ({ ...CREDENTIALS, expiresAtMs: null }),
      recipientKeys: new RecipientKeys(),
      attest: (publicKey) =>
        nsm.attest({
          userData: encodeAttestedUserData({
            v: 1,
            purpose: "cloister/kms-recipient/v1",
            manifest: manifest.digest,
            vault: null,
          }),
          nonce: null,
          publicKey,
        }),
      nowMs,
    });
    closing.push(() => attested.close());
    const secrets = new Map<number, Uint8Array>();
    for (const { name, value } of rows) {
      const generation = Number(/^vault\/([0-9]+)$/.exec(name)?.[1] ?? Number.NaN);
      if (Number.isNaN(generation)) continue;
      const context = { deployment: manifest.deployment, generation };
      secrets.set(generation, await unwrapVaultSecret(value, context, attested, manifest.kmsKeyArn));
    }
    return secrets;
  } finally {
    for (const close of closing.reverse()) await close();
  }
}
