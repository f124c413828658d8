import "reflect-metadata";
import { execFileSync, spawnSync } from "node:child_process";
import { createHash, createPublicKey, verify } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CreateKeyCommand,
  DeriveSharedSecretCommand,
  DescribeKeyCommand,
  GetPublicKeyCommand,
  type KMSClient,
  PutKeyPolicyCommand,
  SignCommand,
} from "@aws-sdk/client-kms";
import * as x509 from "@peculiar/x509";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createKmsSigner } from "../../../cli/eif-kms-signer.ts";
import { readEif, signEif, verifyEifSignature } from "../../../eif/index.ts";
import { image, pcr } from "../../eif/images.ts";
import { ACCOUNT, ADMIN, type Harness, startForTest, startHarness } from "./harness.ts";

const CURVES = [
  ["ECC_NIST_P256", "ECDSA_SHA_256", "sha256"],
  ["ECC_NIST_P384", "ECDSA_SHA_384", "sha384"],
  ["ECC_NIST_P521", "ECDSA_SHA_512", "sha512"],
] as const;
const SIGN_VERIFY = { KeyUsage: "SIGN_VERIFY" } as const;
const MESSAGE = Buffer.from("a message");
const refused = (name: string) => ({ name, $metadata: { httpStatusCode: 400 } });
const folder = mkdtempSync(join(tmpdir(), "kms-signing-"));
let harness: Harness;
let client: KMSClient;

beforeAll(async () => {
  harness = await startHarness();
  client = harness.client(ADMIN);
});
afterAll(async () => {
  await harness.kms.close();
  rmSync(folder, { recursive: true, force: true });
});

type Spec = (typeof CURVES)[number][0];

async function newKey(KeySpec: Spec) {
  const { KeyMetadata } = await client.send(new CreateKeyCommand({ KeySpec, ...SIGN_VERIFY }));
  const { PublicKey } = await client.send(new GetPublicKeyCommand({ KeyId: KeyMetadata?.KeyId }));
  const der = Buffer.from(PublicKey ?? []);
  return { KeyId: KeyMetadata?.Arn ?? "", der, publicKey: createPublicKey({ key: der, format: "der", type: "spki" }) };
}

describe.each(CURVES)("a %s key for signing", (KeySpec, SigningAlgorithm, hash) => {
  test("signs a message and its digest alike, and Node verifies both", async () => {
    const { KeyId, publicKey } = await newKey(KeySpec);
    const digest = createHash(hash).update(MESSAGE).digest();
    for (const [Message, MessageType] of [
      [MESSAGE, undefined],
      [MESSAGE, "RAW"],
      [digest, "DIGEST"],
    ] as const) {
      const answer = await client.send(new SignCommand({ KeyId, Message, MessageType, SigningAlgorithm }));
      expect(answer).toMatchObject({ KeyId, SigningAlgorithm });
      const signature = answer.Signature ?? new Uint8Array();
      expect(verify(hash, MESSAGE, publicKey, signature)).toBe(true);
      expect(verify(hash, Buffer.from("another"), publicKey, signature)).toBe(false);
    }
  });

  test.skipIf(spawnSync("openssl", ["version"]).status !== 0)("and OpenSSL verifies the digest's", async () => {
    const { KeyId, publicKey } = await newKey(KeySpec);
    const digest = createHash(hash).update(MESSAGE).digest();
    const asked = { KeyId, Message: digest, MessageType: "DIGEST", SigningAlgorithm } as const;
    const { Signature } = await client.send(new SignCommand(asked));
    const [key, message, signature] = ["key", "message", "signature"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(key, publicKey.export({ type: "spki", format: "pem" }));
    writeFileSync(message, digest);
    writeFileSync(signature, Signature ?? "");
    const out = execFileSync("openssl", [
      "pkeyutl",
      "-verify",
      "-pubin",
      "-inkey",
      key,
      "-sigfile",
      signature,
      "-in",
      message,
    ]);
    expect(out.toString()).toContain("Signature Verified Successfully");
  });

  test("says so in its description, and refuses other algorithms, digests and uses", async () => {
    const { KeyId, der } = await newKey(KeySpec);
    const described = await client.send(new DescribeKeyCommand({ KeyId }));
    expect(described.KeyMetadata).toMatchObject({ KeySpec, ...SIGN_VERIFY, SigningAlgorithms: [SigningAlgorithm] });
    expect(await client.send(new GetPublicKeyCommand({ KeyId }))).toMatchObject({
      ...SIGN_VERIFY,
      SigningAlgorithms: [SigningAlgorithm],
    });
    const short = { KeyId, Message: MESSAGE, MessageType: "DIGEST", SigningAlgorithm } as const;
    await expect(client.send(new SignCommand(short))).rejects.toMatchObject(refused("ValidationException"));
    const other = SigningAlgorithm === "ECDSA_SHA_256" ? "ECDSA_SHA_384" : "ECDSA_SHA_256";
    const wrong = { KeyId, Message: MESSAGE, SigningAlgorithm: other } as const;
    await expect(client.send(new SignCommand(wrong))).rejects.toMatchObject(refused("InvalidKeyUsageException"));
    const derived = client.send(
      new DeriveSharedSecretCommand({ KeyId, KeyAgreementAlgorithm: "ECDH", PublicKey: der }),
    );
    await expect(derived).rejects.toMatchObject(refused("InvalidKeyUsageException"));
    const dry = { KeyId, Message: MESSAGE, SigningAlgorithm, DryRun: true } as const;
    await expect(client.send(new SignCommand(dry))).rejects.toMatchObject(refused("DryRunOperationException"));
  });

  test("signs an image", async () => {
    const { KeyId, der } = await newKey(KeySpec);
    const certificatePem = await certificateOf(der);
    const path = join(folder, "image.eif");
    writeFileSync(path, image());
    const signer = await createKmsSigner(certificatePem, KeyId, Date.now(), client);
    const { PCR8 } = await signEif(path, path, signer);
    expect(PCR8).toBe(pcr(new Uint8Array(new x509.X509Certificate(certificatePem).rawData)));
    verifyEifSignature(await readEif(path), Date.now());
  });
});

/** By an authority of its own: KMS signs no certificates here. */
async function certificateOf(publicKeyDer: Uint8Array): Promise<string> {
  const algorithm = { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" };
  const { privateKey } = (await crypto.subtle.generateKey(algorithm, false, ["sign"])) as CryptoKeyPair;
  const certificate = await x509.X509CertificateGenerator.create({
    subject: "CN=kms signer",
    issuer: "CN=authority",
    publicKey: new x509.PublicKey(new Uint8Array(publicKeyDer)),
    signingKey: privateKey,
    signingAlgorithm: algorithm,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3_600_000),
  });
  return certificate.toString("pem");
}

test("keys for agreement and encryption do not sign", async () => {
  const agreement = await client.send(new CreateKeyCommand({ KeySpec: "ECC_NIST_P256", KeyUsage: "KEY_AGREEMENT" }));
  const symmetric = await client.send(new CreateKeyCommand({}));
  for (const { KeyMetadata } of [agreement, symmetric]) {
    const asked = { KeyId: KeyMetadata?.KeyId, Message: MESSAGE, SigningAlgorithm: "ECDSA_SHA_256" } as const;
    await expect(client.send(new SignCommand(asked))).rejects.toMatchObject(refused("InvalidKeyUsageException"));
  }
});

test("the key policy decides, by algorithm and type of message", async () => {
  const { KeyId } = await newKey("ECC_NIST_P256");
  const onlyDigests = {
    Sid: "OnlyDigests",
    Effect: "Deny",
    Principal: "*",
    Action: "kms:Sign",
    Resource: "*",
    Condition: { StringNotEquals: { "kms:MessageType": "DIGEST" } },
  };
  const open = { Effect: "Allow", Principal: { AWS: `arn:aws:iam::${ACCOUNT}:root` }, Action: "kms:*", Resource: "*" };
  const Policy = JSON.stringify({ Version: "2012-10-17", Statement: [open, onlyDigests] });
  await client.send(new PutKeyPolicyCommand({ KeyId, PolicyName: "default", Policy }));
  const asked = { KeyId, SigningAlgorithm: "ECDSA_SHA_256" } as const;
  await expect(client.send(new SignCommand({ ...asked, Message: MESSAGE }))).rejects.toMatchObject(
    refused("AccessDeniedException"),
  );
  const digest = createHash("sha256").update(MESSAGE).digest();
  expect(
    (await client.send(new SignCommand({ ...asked, Message: digest, MessageType: "DIGEST" }))).Signature,
  ).toBeDefined();
});

test("a signing key is one after a restart too", async () => {
  const storeFile = join(folder, "store.json");
  const first = await startHarness({ storeFile });
  const { KeyMetadata } = await first
    .client(ADMIN)
    .send(new CreateKeyCommand({ KeySpec: "ECC_NIST_P384", ...SIGN_VERIFY }));
  await first.kms.close();
  const second = await startForTest({ storeFile });
  expect(KeyMetadata?.Arn).toContain(ACCOUNT);
  const asked = { KeyId: KeyMetadata?.KeyId, Message: MESSAGE, SigningAlgorithm: "ECDSA_SHA_384" } as const;
  expect((await second.client(ADMIN).send(new SignCommand(asked))).Signature).toBeDefined();
});
