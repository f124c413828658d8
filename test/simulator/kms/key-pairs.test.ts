import { createPrivateKey, createPublicKey, diffieHellman, generateKeyPairSync, sign, verify } from "node:crypto";
import {
  CreateKeyCommand,
  DecryptCommand,
  DeriveSharedSecretCommand,
  EncryptCommand,
  GenerateDataKeyPairCommand,
  GenerateDataKeyPairWithoutPlaintextCommand,
  GetKeyRotationStatusCommand,
  GetPublicKeyCommand,
} from "@aws-sdk/client-kms";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { documentOf, PCR0, pkiAt } from "./documents.ts";
import { ENCLAVE_ROLE, type Harness, OPEN_POLICY, startHarness } from "./harness.ts";
import { hasOpenssl, openWithOpenssl } from "./openssl.ts";

const NOW_MS = Date.now();
const pki = pkiAt(NOW_MS);
const refused = (name: string) => ({ name, $metadata: { httpStatusCode: 400 } });
let harness: Harness;
let KeyId = "";

beforeAll(async () => {
  harness = await startHarness({ attestationRoots: [pki.root], nowMs: () => NOW_MS });
  KeyId = harness.kms.createKey({ policy: OPEN_POLICY });
});
afterAll(() => harness.kms.close());

async function recipientOf() {
  const AttestationDocument = await documentOf({ pki, atMs: NOW_MS });
  return { KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_256", AttestationDocument } as const;
}

const privateKeyOf = (der: Uint8Array) => createPrivateKey({ key: Buffer.from(der), format: "der", type: "pkcs8" });
const publicKeyOf = (der: Uint8Array | undefined) =>
  createPublicKey({ key: Buffer.from(der ?? []), format: "der", type: "spki" });

describe("GenerateDataKeyPair", () => {
  const specs = [
    ["RSA_2048", { modulusLength: 2048 }],
    ["RSA_3072", { modulusLength: 3072 }],
    ["ECC_NIST_P256", { namedCurve: "prime256v1" }],
    ["ECC_NIST_P384", { namedCurve: "secp384r1" }],
    ["ECC_NIST_P521", { namedCurve: "secp521r1" }],
    ["ECC_SECG_P256K1", { namedCurve: "secp256k1" }],
    ["ECC_NIST_EDWARDS25519", {}],
  ] as const;
  test.each(specs)("%s: the pair belongs together, in the clear and from its blob", async (KeyPairSpec, details) => {
    const EncryptionContext = { for: "pair" };
    const asked = { KeyId, KeyPairSpec, EncryptionContext };
    const answer = await harness.client().send(new GenerateDataKeyPairCommand(asked));
    expect(answer).toMatchObject({ KeyId, KeyPairSpec });
    const publicKey = publicKeyOf(answer.PublicKey);
    expect(publicKey.asymmetricKeyDetails).toMatchObject(details);
    const message = Buffer.from("message");
    const digest = KeyPairSpec === "ECC_NIST_EDWARDS25519" ? null : "sha256";
    const signature = sign(digest, message, privateKeyOf(answer.PrivateKeyPlaintext ?? new Uint8Array()));
    expect(verify(digest, message, publicKey, signature)).toBe(true);
    const CiphertextBlob = answer.PrivateKeyCiphertextBlob;
    const opened = await harness.client().send(new DecryptCommand({ CiphertextBlob, EncryptionContext }));
    expect(opened.Plaintext).toEqual(answer.PrivateKeyPlaintext);
    expect(opened.KeyMaterialId).toBe(answer.KeyMaterialId);
  });

  test.skipIf(!hasOpenssl)("for a recipient: PKCS#8 in the envelope, nothing in the clear (by openssl)", async () => {
    for (const KeyPairSpec of ["ECC_SECG_P256K1", "RSA_2048"] as const) {
      const asked = { KeyId, KeyPairSpec, Recipient: await recipientOf() };
      const answer = await harness.client().send(new GenerateDataKeyPairCommand(asked));
      expect(answer.PrivateKeyPlaintext).toBeUndefined();
      const privateKey = privateKeyOf(openWithOpenssl(answer.CiphertextForRecipient ?? new Uint8Array()));
      expect(createPublicKey(privateKey).export({ type: "spki", format: "der" })).toEqual(
        Buffer.from(answer.PublicKey ?? []),
      );
    }
  });

  test("without plaintext", async () => {
    const asked = { KeyId, KeyPairSpec: "ECC_NIST_P256" } as const;
    const answer = await harness.client().send(new GenerateDataKeyPairWithoutPlaintextCommand(asked));
    expect(answer).not.toHaveProperty("PrivateKeyPlaintext");
    const opened = await harness.client().send(new DecryptCommand({ CiphertextBlob: answer.PrivateKeyCiphertextBlob }));
    expect(
      createPublicKey(privateKeyOf(opened.Plaintext ?? new Uint8Array())).equals(publicKeyOf(answer.PublicKey)),
    ).toBe(true);
  });

  test("a policy may say which kind, and demand attestation", async () => {
    const image = { "kms:RecipientAttestation:PCR0": Buffer.from(PCR0).toString("hex") };
    const Statement = {
      ...{ Effect: "Allow", Principal: { AWS: ENCLAVE_ROLE }, Action: "kms:GenerateDataKeyPair*", Resource: "*" },
      Condition: { StringEquals: { ...image, "kms:DataKeyPairSpec": ["ECC_NIST_P256"] } },
    };
    const guarded = harness.kms.createKey({ policy: { Version: "2012-10-17", Statement } });
    const Recipient = await recipientOf();
    const send = (more: object) =>
      harness.client().send(new GenerateDataKeyPairCommand({ KeyId: guarded, KeyPairSpec: "ECC_NIST_P256", ...more }));
    expect(await send({ Recipient })).toHaveProperty("CiphertextForRecipient");
    await expect(send({})).rejects.toMatchObject(refused("AccessDeniedException"));
    const other = send({ Recipient, KeyPairSpec: "ECC_NIST_P384" });
    await expect(other).rejects.toMatchObject(refused("AccessDeniedException"));
    // No document can come with this one, so the condition never holds.
    const blind = { KeyId: guarded, KeyPairSpec: "ECC_NIST_P256" } as const;
    const sending = harness.client().send(new GenerateDataKeyPairWithoutPlaintextCommand(blind));
    await expect(sending).rejects.toMatchObject(refused("AccessDeniedException"));
  });

  test("ValidationException, DryRunOperationException", async () => {
    for (const KeyPairSpec of ["SM2", "ML_KEM_768"] as const) {
      const sending = harness.client().send(new GenerateDataKeyPairCommand({ KeyId, KeyPairSpec }));
      await expect(sending).rejects.toMatchObject(refused("ValidationException"));
    }
    const dry = new GenerateDataKeyPairCommand({ KeyId, KeyPairSpec: "RSA_4096", DryRun: true });
    await expect(harness.client().send(dry)).rejects.toMatchObject(refused("DryRunOperationException"));
  });
});

describe("DeriveSharedSecret", () => {
  const agreement = { KeyUsage: "KEY_AGREEMENT" } as const;
  const asked = { KeyAgreementAlgorithm: "ECDH" } as const;

  test.each([
    ["ECC_NIST_P256", "P-256"],
    ["ECC_NIST_P384", "P-384"],
    ["ECC_NIST_P521", "P-521"],
  ] as const)("%s: both sides find the same secret; for a recipient in the envelope", async (KeySpec, namedCurve) => {
    const client = harness.client();
    const { KeyMetadata } = await client.send(new CreateKeyCommand({ KeySpec, ...agreement }));
    expect(KeyMetadata).toMatchObject({ KeySpec, ...agreement, KeyAgreementAlgorithms: ["ECDH"] });
    const own = generateKeyPairSync("ec", { namedCurve });
    const PublicKey = own.publicKey.export({ type: "spki", format: "der" });
    const answer = await client.send(new DeriveSharedSecretCommand({ KeyId: KeyMetadata?.KeyId, PublicKey, ...asked }));
    const theirs = await client.send(new GetPublicKeyCommand({ KeyId: KeyMetadata?.KeyId }));
    const secret = diffieHellman({ privateKey: own.privateKey, publicKey: publicKeyOf(theirs.PublicKey) });
    expect(Buffer.from(answer.SharedSecret ?? [])).toEqual(secret);
    expect(answer).toMatchObject({ KeyId: KeyMetadata?.Arn, KeyOrigin: "AWS_KMS", ...asked });
    const Recipient = await recipientOf();
    const sealed = await client.send(
      new DeriveSharedSecretCommand({ KeyId: KeyMetadata?.KeyId, PublicKey, ...asked, Recipient }),
    );
    expect(sealed.SharedSecret).toBeUndefined();
    if (hasOpenssl) expect(openWithOpenssl(sealed.CiphertextForRecipient ?? new Uint8Array())).toEqual(secret);
  });

  test("refusals", async () => {
    const client = harness.client();
    const { KeyMetadata } = await client.send(new CreateKeyCommand({ KeySpec: "ECC_NIST_P256", ...agreement }));
    const P256 = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ type: "spki", format: "der" });
    const derive = (PublicKey: Uint8Array, key = KeyMetadata?.KeyId) =>
      client.send(new DeriveSharedSecretCommand({ KeyId: key, PublicKey, ...asked }));
    const other = generateKeyPairSync("ec", { namedCurve: "secp256k1" }).publicKey;
    const offCurve = Buffer.from(P256);
    offCurve[offCurve.length - 1] = (offCurve.at(-1) ?? 0) ^ 1;
    for (const wrong of [other.export({ type: "spki", format: "der" }), Buffer.from("key"), offCurve]) {
      await expect(derive(wrong)).rejects.toMatchObject(refused("ValidationException"));
    }
    await expect(derive(P256, KeyId)).rejects.toMatchObject(refused("InvalidKeyUsageException"));
    const encrypt = client.send(new EncryptCommand({ KeyId: KeyMetadata?.KeyId, Plaintext: P256 }));
    await expect(encrypt).rejects.toMatchObject(refused("InvalidKeyUsageException"));
    const rotation = client.send(new GetKeyRotationStatusCommand({ KeyId: KeyMetadata?.KeyId }));
    await expect(rotation).rejects.toMatchObject(refused("UnsupportedOperationException"));
    const symmetric = client.send(new GetPublicKeyCommand({ KeyId }));
    await expect(symmetric).rejects.toMatchObject(refused("UnsupportedOperationException"));
  });
});
