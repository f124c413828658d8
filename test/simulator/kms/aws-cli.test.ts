/** AWS's own command line against the simulated KMS, where it is installed. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type SimulatedKms, startSimulatedKms } from "../../../simulator/kms/index.ts";
import { createTlsAuthority } from "../../../simulator/pki/index.ts";
import { documentOf, pkiAt } from "./documents.ts";
import { ACCOUNT, ADMIN, OPEN_POLICY, REGION } from "./harness.ts";

const hasAws = spawnSync("aws", ["--version"]).status === 0;
/** Older ones, Debian 12's among them, do not know the option. */
const knowsRecipient = hasAws && spawnSync("aws", ["kms", "decrypt", "help"]).stdout.includes("--recipient");
const authority = createTlsAuthority({ nowMs: Date.now, name: "test TLS root" });
const pki = pkiAt(Date.now());
let kms: SimulatedKms;
let folder = "";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "kms-cli-"));
  writeFileSync(join(folder, "ca.pem"), authority.rootPem);
  kms = await startSimulatedKms({
    tls: authority.issueServer({ hosts: ["localhost"] }),
    ...{ region: REGION, accountId: ACCOUNT, principals: [ADMIN], attestationRoots: [pki.root] },
    ...{ storeFile: null, nowMs: Date.now },
  });
});
afterAll(async () => {
  await kms.close();
  rmSync(folder, { recursive: true, force: true });
});

async function aws(
  ...args: string[]
): Promise<{ readonly status: number; readonly json: unknown; readonly error: string }> {
  const child = spawn("aws", ["kms", ...args, "--endpoint-url", `https://localhost:${kms.port}`, "--output", "json"], {
    env: {
      PATH: process.env["PATH"],
      HOME: folder,
      AWS_ACCESS_KEY_ID: ADMIN.accessKeyId,
      AWS_SECRET_ACCESS_KEY: ADMIN.secretAccessKey,
      AWS_DEFAULT_REGION: REGION,
      AWS_CA_BUNDLE: join(folder, "ca.pem"),
      AWS_MAX_ATTEMPTS: "1",
    },
    timeout: 30_000,
  });
  let [out, error] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (error += chunk.toString()));
  const [status] = (await once(child, "close")) as [number];
  return { status, json: out.trim() === "" ? null : JSON.parse(out), error };
}

test.skipIf(!hasAws)(
  "makes a key, names it, encrypts and decrypts (skipped without the AWS CLI)",
  { timeout: 60_000 },
  async () => {
    const created = (await aws("create-key", "--description", "made by hand")).json as {
      KeyMetadata: { KeyId: string };
    };
    const { KeyId } = created.KeyMetadata;
    expect(await aws("create-alias", "--alias-name", "alias/cli", "--target-key-id", KeyId)).toMatchObject({
      status: 0,
    });
    const plaintext = join(folder, "plaintext");
    writeFileSync(plaintext, "secret");
    const context = ["--encryption-context", "for=cli"];
    const encrypted = await aws("encrypt", "--key-id", "alias/cli", "--plaintext", `fileb://${plaintext}`, ...context);
    const { CiphertextBlob } = encrypted.json as { CiphertextBlob: string };
    const blob = join(folder, "blob");
    writeFileSync(blob, Buffer.from(CiphertextBlob, "base64"));
    const decrypted = await aws("decrypt", "--ciphertext-blob", `fileb://${blob}`, ...context);
    expect(decrypted.json).toMatchObject({ Plaintext: Buffer.from("secret").toString("base64") });

    const refused = await aws("decrypt", "--ciphertext-blob", `fileb://${blob}`);
    expect(refused.status).not.toBe(0);
    expect(refused.error).toContain("(InvalidCiphertextException) when calling the Decrypt operation");
    expect(await aws("disable-key", "--key-id", KeyId)).toMatchObject({ status: 0 });
    expect((await aws("encrypt", "--key-id", KeyId, "--plaintext", `fileb://${plaintext}`)).error).toContain(
      "(DisabledException) when calling the Encrypt operation",
    );
  },
);

test.skipIf(!knowsRecipient)(
  "sends a document (skipped where the AWS CLI does not know --recipient)",
  { timeout: 60_000 },
  async () => {
    const keyArn = kms.createKey({ policy: OPEN_POLICY });
    writeFileSync(join(folder, "document"), await documentOf({ pki, atMs: Date.now() }));
    const recipient = `KeyEncryptionAlgorithm=RSAES_OAEP_SHA_256,AttestationDocument@=fileb://${join(folder, "document")}`;
    const { json, error } = await aws(
      "generate-data-key",
      "--key-id",
      keyArn,
      "--key-spec",
      "AES_256",
      "--recipient",
      recipient,
    );
    expect({ error, json }).toMatchObject({ error: "", json: { CiphertextForRecipient: expect.any(String) } });
    expect(json).not.toHaveProperty("Plaintext");
  },
);
