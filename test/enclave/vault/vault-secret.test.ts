import { buildEncrypt } from "@aws-crypto/encrypt-node";
import { KmsKeyringNode } from "@aws-crypto/kms-keyring-node";
import { AlgorithmSuiteIdentifier, CommitmentPolicy } from "@aws-crypto/material-management-node";
import { describe, expect, test } from "vitest";
import { StartError } from "../../../enclave/errors.ts";
import { unwrapVaultSecret, wrapVaultSecret } from "../../../enclave/vault/vault-secret.ts";
import { FakeKms, KEY_ARN } from "../../support/fake-kms.ts";

const CONTEXT = { deployment: "test", generation: 1 } as const;
const SECRET = Uint8Array.from({ length: 32 }, (_, at) => at + 1);
const invalid = { code: "VAULT_INVALID" };

async function wrapped(kms: FakeKms): Promise<Uint8Array> {
  return wrapVaultSecret(SECRET, CONTEXT, kms, KEY_ARN);
}

/** An Encryption SDK message under the same KMS key, made otherwise than the vault makes its own. */
async function messageOf(
  kms: FakeKms,
  options: { suite?: AlgorithmSuiteIdentifier; context?: Record<string, string>; secret?: Uint8Array } = {},
): Promise<Uint8Array> {
  const suite = options.suite ?? AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY;
  const isCommitting = AlgorithmSuiteIdentifier[suite].includes("COMMIT_KEY");
  const { encrypt } = buildEncrypt(
    isCommitting ? CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT : CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT,
  );
  const keyring = new KmsKeyringNode({ generatorKeyId: KEY_ARN, clientProvider: () => kms });
  const encryptionContext = options.context ?? {
    "cloister:deployment": "test",
    "cloister:purpose": "vault",
    "cloister:generation": "1",
  };
  return (await encrypt(keyring, options.secret ?? SECRET, { suiteId: suite, encryptionContext })).result;
}

describe("a wrapped secret", () => {
  test("opens to what was wrapped, and shows nothing of it", async () => {
    const kms = new FakeKms();
    const message = await wrapped(kms);
    expect(Buffer.from(message).includes(Buffer.from(SECRET.subarray(0, 8)))).toBe(false);
    expect(Uint8Array.from(await unwrapVaultSecret(message, CONTEXT, kms, KEY_ARN))).toEqual(SECRET);
  });

  test("was made under one data key whose encryption context names deployment, purpose and generation", async () => {
    const kms = new FakeKms();
    await wrapped(kms);
    const [dataKey, ...more] = kms.dataKeys.values();
    expect(more).toEqual([]);
    expect(JSON.parse(dataKey?.context ?? "")).toEqual([
      ["cloister:deployment", "test"],
      ["cloister:generation", "1"],
      ["cloister:purpose", "vault"],
    ]);
  });

  test("made by hand in the same way opens too: the refusals below are for what differs", async () => {
    const kms = new FakeKms();
    const message = await messageOf(kms);
    expect(Uint8Array.from(await unwrapVaultSecret(message, CONTEXT, kms, KEY_ARN))).toEqual(SECRET);
  });
});

describe("VAULT_INVALID", () => {
  test.each([
    ["another deployment", { ...CONTEXT, deployment: "other" }],
    ["another generation", { ...CONTEXT, generation: 2 }],
  ])("for %s", async (_what, context) => {
    const kms = new FakeKms();
    await expect(unwrapVaultSecret(await wrapped(kms), context, kms, KEY_ARN)).rejects.toMatchObject(invalid);
  });

  const base = { "cloister:deployment": "test", "cloister:purpose": "vault", "cloister:generation": "1" };
  test.each<[string, Parameters<typeof messageOf>[1]]>([
    ["another purpose", { context: { ...base, "cloister:purpose": "backup" } }],
    ["one entry more in the context", { context: { ...base, extra: "1" } }],
    ["an empty context", { context: {} }],
    ["a secret of 31 bytes", { secret: SECRET.subarray(1) }],
    ["a secret of 33 bytes", { secret: Uint8Array.of(...SECRET, 0) }],
    [
      "a suite with a signature",
      { suite: AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY_ECDSA_P384 },
    ],
    ["a suite without key commitment", { suite: AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA256 }],
  ])("for %s", async (_what, options) => {
    const kms = new FakeKms();
    const message = await messageOf(kms, options);
    await expect(unwrapVaultSecret(message, CONTEXT, kms, KEY_ARN)).rejects.toMatchObject(invalid);
  });

  test("for a message that is none", async () => {
    const kms = new FakeKms();
    for (const bytes of [new Uint8Array(0), new Uint8Array(600), Buffer.from("secret")]) {
      await expect(unwrapVaultSecret(bytes, CONTEXT, kms, KEY_ARN)).rejects.toMatchObject(invalid);
    }
  });

  test("for a message changed in any byte, or cut", async () => {
    const kms = new FakeKms();
    const message = await wrapped(kms);
    const refused = (bytes: Uint8Array) => unwrapVaultSecret(bytes, CONTEXT, kms, KEY_ARN);
    for (let at = 0; at < message.length; at += 1) {
      // Where the change hits KMS's own part, it is KMS that refuses.
      await expect(refused(message.with(at, (message[at] ?? 0) ^ 1)), `byte ${at}`).rejects.toMatchObject({
        code: expect.stringMatching(/^(VAULT_INVALID|KMS_REFUSED)$/),
      });
    }
    await expect(refused(message.subarray(0, -1))).rejects.toMatchObject(invalid);
    await expect(refused(message.subarray(0, 300))).rejects.toMatchObject(invalid);
    // What follows a message the SDK ignores, and no harm comes of it: the secret is the authenticated one.
    expect(Uint8Array.from(await refused(Uint8Array.of(...message, 0)))).toEqual(SECRET);
  });

  test("for a data key that is not the one the message was made with, which KMS's reply does not show", async () => {
    const kms = new FakeKms();
    const message = await wrapped(kms);
    for (const [ciphertext, { context }] of kms.dataKeys) {
      kms.dataKeys.set(ciphertext, { context, plaintext: new Uint8Array(32).fill(9) });
    }
    await expect(unwrapVaultSecret(message, CONTEXT, kms, KEY_ARN)).rejects.toMatchObject(invalid);
  });
});

test("what KMS says is reported, not that the message does not open", async () => {
  const kms = new FakeKms();
  const message = await wrapped(kms);
  kms.failure = new StartError("KMS_ACCESS_DENIED", "no");
  await expect(unwrapVaultSecret(message, CONTEXT, kms, KEY_ARN)).rejects.toBe(kms.failure);
  await expect(wrapped(kms)).rejects.toBe(kms.failure);
});
