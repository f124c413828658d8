import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DecryptCommand, EncryptCommand, GenerateDataKeyCommand, GenerateRandomCommand } from "@aws-sdk/client-kms";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AttestationRoot, AWS_NITRO_ROOT_G1, decodeUnverified } from "../../../attestation/index.ts";
import type { KeyPolicyInput } from "../../../simulator/kms/index.ts";
import { documentOf, PCR0, PCR3, PCR8, PCRS, pkiAt, recipient, recipientSpki, spkiOf } from "./documents.ts";
import {
  ACCOUNT,
  ADMIN,
  ENCLAVE,
  ENCLAVE_ROLE,
  type Harness,
  OPEN_POLICY,
  REGION,
  startForTest,
  startHarness,
} from "./harness.ts";
import { hasOpenssl, openWithOpenssl } from "./openssl.ts";

// Real time: the AWS client signs by it.
const NOW_MS = Date.now();
const SECRET = Buffer.from("thirty-two bytes of vault secret");
const ZEROS = new Uint8Array(48);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

const pki = pkiAt(NOW_MS);
const foreignPki = pkiAt(NOW_MS);
let harness: Harness;

beforeAll(async () => {
  harness = await startHarness({ attestationRoots: [pki.root], nowMs: () => NOW_MS });
});
afterAll(() => harness.kms.close());

const ENCLAVE_MAY = {
  Sid: "Enclave",
  Effect: "Allow",
  Principal: { AWS: ENCLAVE_ROLE },
  Action: ["kms:Decrypt", "kms:GenerateDataKey"],
  Resource: "*",
};
const ADMIN_MAY_ENCRYPT = {
  Sid: "Admin",
  Effect: "Allow",
  Principal: { AWS: ADMIN.arn },
  Action: "kms:Encrypt",
  Resource: "*",
};

function policy(...statements: readonly object[]): KeyPolicyInput {
  return { Version: "2012-10-17", Statement: [ADMIN_MAY_ENCRYPT, ...statements] };
}

function allowIf(Condition: object): KeyPolicyInput {
  return policy({ ...ENCLAVE_MAY, Condition });
}

/** Allows everything, and denies what the condition finds: how a policy guards against other Allows. */
function denyIf(Condition: object): KeyPolicyInput {
  return policy(ENCLAVE_MAY, { ...ENCLAVE_MAY, Sid: "Guard", Effect: "Deny", Principal: "*", Condition });
}

const IMAGE = "kms:RecipientAttestation:ImageSha384";
const POLICIES = {
  "image, allow": allowIf({ StringEqualsIgnoreCase: { [IMAGE]: hex(PCR0).toUpperCase() } }),
  "image, deny": denyIf({ StringNotEqualsIgnoreCase: { [IMAGE]: hex(PCR0) } }),
  "PCR0 of two images": allowIf({
    StringEquals: { "kms:RecipientAttestation:PCR0": [hex(Buffer.alloc(48, 1)), hex(PCR0)] },
  }),
  "PCR3 and PCR8": allowIf({
    StringEquals: { "kms:RecipientAttestation:PCR3": hex(PCR3), "kms:RecipientAttestation:PCR8": hex(PCR8) },
  }),
  "any attested": allowIf({ Null: { [IMAGE]: "false" } }),
  zeros: allowIf({ StringEquals: { [IMAGE]: hex(ZEROS) } }),
  "zeros, IfExists": allowIf({ StringEqualsIfExists: { [IMAGE]: hex(ZEROS) } }),
  "no condition": policy(ENCLAVE_MAY),
  nobody: policy(),
} as const;

const DOCUMENTS = {
  good: () => documentOf({ pki, atMs: NOW_MS }),
  "other PCR0": () => documentOf({ pki, atMs: NOW_MS, pcrs: new Map([...PCRS, [0, Buffer.alloc(48, 2)]]) }),
  "other PCR3": () => documentOf({ pki, atMs: NOW_MS, pcrs: new Map([...PCRS, [3, Buffer.alloc(48, 2)]]) }),
  // In debug mode PCR0 to 2 and 8 are zero, PCR3 stays.
  debug: () => documentOf({ pki, atMs: NOW_MS, pcrs: new Map([[3, PCR3]]) }),
  "foreign root": () => documentOf({ pki: foreignPki, atMs: NOW_MS }),
  stale: () => documentOf({ pki, atMs: NOW_MS - 300_001 }),
  "of the future": () => documentOf({ pki, atMs: NOW_MS + 60_001 }),
  "cut short": async () => (await documentOf({ pki, atMs: NOW_MS })).slice(0, -1),
  "with a changed byte": async () => {
    const document = await documentOf({ pki, atMs: NOW_MS });
    // One bit of PCR0, found by its value.
    const at = Buffer.from(document).indexOf(PCR0);
    document[at] = (document[at] ?? 0) ^ 1;
    return document;
  },
  none: async () => null,
} as const;

type PolicyName = keyof typeof POLICIES;
type DocumentName = keyof typeof DOCUMENTS;

/** For each policy the documents that open it; every other one must get AccessDeniedException. */
const ADMITTED: Readonly<Record<PolicyName, readonly DocumentName[]>> = {
  "image, allow": ["good", "other PCR3"],
  "image, deny": ["good", "other PCR3"],
  "PCR0 of two images": ["good", "other PCR3"],
  "PCR3 and PCR8": ["good", "other PCR0"],
  "any attested": ["good", "other PCR0", "other PCR3", "debug"],
  zeros: ["debug"],
  "zeros, IfExists": ["debug", "none"],
  "no condition": ["good", "other PCR0", "other PCR3", "debug", "none"],
  nobody: [],
};

function recipientOf(document: Uint8Array | null) {
  if (document === null) return {};
  return { Recipient: { KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_256", AttestationDocument: document } } as const;
}

async function expectDenied(send: () => Promise<object>, action: string, keyArn: string): Promise<void> {
  const error = await send().then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof Error)) expect.unreachable(`${action} must be refused`);
  expect(error).toMatchObject({ name: "AccessDeniedException", $metadata: { httpStatusCode: 400 } });
  const because = `because no resource-based policy allows the ${action} action`;
  expect([
    `User: ${ENCLAVE.arn} is not authorized to perform: ${action} on resource: ${keyArn} ${because}`,
    `User: ${ENCLAVE.arn} is not authorized to perform: ${action} on resource: ${keyArn} with an explicit deny in a resource-based policy`,
  ]).toContain(error.message);
  expect(error).not.toHaveProperty("Plaintext");
}

describe("policy by document", () => {
  const names = Object.keys(POLICIES) as PolicyName[];
  test.each(names)("%s", async (policyName) => {
    const KeyId = harness.kms.createKey({ policy: POLICIES[policyName] });
    const { CiphertextBlob } = await harness.client(ADMIN).send(new EncryptCommand({ KeyId, Plaintext: SECRET }));
    const client = harness.client(ENCLAVE);
    for (const documentName of Object.keys(DOCUMENTS) as DocumentName[]) {
      const document = await DOCUMENTS[documentName]();
      const asked = { KeyId, ...recipientOf(document) };
      const decrypt = () => client.send(new DecryptCommand({ ...asked, CiphertextBlob }));
      const generate = () => client.send(new GenerateDataKeyCommand({ ...asked, KeySpec: "AES_256" }));
      if (!ADMITTED[policyName].includes(documentName)) {
        await expectDenied(decrypt, "kms:Decrypt", KeyId);
        await expectDenied(generate, "kms:GenerateDataKey", KeyId);
        continue;
      }
      const decrypted = await decrypt();
      const generated = await generate();
      expect([decrypted.KeyId, generated.KeyId]).toEqual([KeyId, KeyId]);
      if (document === null) {
        expect(Buffer.from(decrypted.Plaintext ?? [])).toEqual(SECRET);
        expect(decrypted.CiphertextForRecipient).toBeUndefined();
      } else {
        expect([decrypted.Plaintext, generated.Plaintext]).toEqual([undefined, undefined]);
        if (hasOpenssl) {
          expect(openWithOpenssl(decrypted.CiphertextForRecipient ?? new Uint8Array())).toEqual(SECRET);
          expect(openWithOpenssl(generated.CiphertextForRecipient ?? new Uint8Array())).toHaveLength(32);
        }
      }
    }
  });

  test("the log says what the caller is not told", () => {
    const details = new Set(harness.log.map(({ detail }) => detail));
    for (const code of ["ROOT_NOT_TRUSTED", "TOO_OLD", "FROM_FUTURE", "SIGNATURE_INVALID", "CBOR_TRUNCATED"]) {
      expect(details).toContain(`attestation refused: ${code}`);
    }
    expect(details).toContain("denied by statement Guard");
    expect(details).toContain("no allow");
  });
});

describe("age", () => {
  test("300 s is young enough, and the limit can be set", async () => {
    const KeyId = harness.kms.createKey({ policy: OPEN_POLICY });
    const send = async (client: ReturnType<Harness["client"]>, ageMs: number, key = KeyId) => {
      const document = await documentOf({ pki, atMs: NOW_MS - ageMs });
      return client.send(new GenerateDataKeyCommand({ KeyId: key, KeySpec: "AES_256", ...recipientOf(document) }));
    };
    expect(await send(harness.client(), 299_999)).toHaveProperty("CiphertextForRecipient");
    const strict = await startHarness({
      attestationRoots: [pki.root],
      nowMs: () => NOW_MS,
      maxAttestationAgeMs: 1000,
    });
    try {
      const key = strict.kms.createKey({ policy: OPEN_POLICY });
      expect(await send(strict.client(), 1000, key)).toHaveProperty("CiphertextForRecipient");
      await expect(send(strict.client(), 1001, key)).rejects.toMatchObject({ name: "AccessDeniedException" });
    } finally {
      await strict.kms.close();
    }
  });
});

describe("GenerateRandom", () => {
  test("for a recipient: nothing in the clear", async () => {
    const Recipient = recipientOf(await DOCUMENTS.good());
    const answer = await harness.client().send(new GenerateRandomCommand({ NumberOfBytes: 48, ...Recipient }));
    expect(answer.Plaintext).toBeUndefined();
    if (hasOpenssl) expect(openWithOpenssl(answer.CiphertextForRecipient ?? new Uint8Array())).toHaveLength(48);
  });

  test.each(["foreign root", "stale", "cut short"] as const)("refuses a document: %s", async (name) => {
    const command = new GenerateRandomCommand({ NumberOfBytes: 48, ...recipientOf(await DOCUMENTS[name]()) });
    await expect(harness.client().send(command)).rejects.toMatchObject({ name: "AccessDeniedException" });
  });
});

describe("the document's public key", () => {
  const rsa = (modulusLength: number, publicExponent = 65_537) =>
    spkiOf(generateKeyPairSync("rsa", { modulusLength, publicExponent }).publicKey);
  const keys: [what: string, publicKey: () => Uint8Array | null][] = [
    ["none", () => null],
    ["no key at all", () => Buffer.from("my public key")],
    ["RSA of 1024 bits", () => rsa(1024)],
    ["RSA of 3072 bits", () => rsa(3072)],
    ["RSA with exponent 3", () => rsa(2048, 3)],
    ["a key on P-256", () => spkiOf(generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey)],
    ["an X25519 key", () => spkiOf(generateKeyPairSync("x25519").publicKey)],
    ["RSA-PSS", () => spkiOf(generateKeyPairSync("rsa-pss", { modulusLength: 2048 }).publicKey)],
    ["PKCS#1", () => recipient.publicKey.export({ type: "pkcs1", format: "der" })],
    ["PEM", () => Buffer.from(recipient.publicKey.export({ type: "spki", format: "pem" }))],
    ["with bytes behind it", () => Buffer.concat([recipientSpki, Buffer.of(0)])],
  ];
  test.each(keys)("%s: ValidationException", async (_what, publicKey) => {
    const KeyId = harness.kms.createKey({ policy: OPEN_POLICY });
    const document = await documentOf({ pki, atMs: NOW_MS, publicKey: publicKey() });
    const command = new GenerateDataKeyCommand({ KeyId, KeySpec: "AES_256", ...recipientOf(document) });
    await expect(harness.client().send(command)).rejects.toMatchObject({ name: "ValidationException" });
  });

  test("is not looked at before the policy has allowed the request", async () => {
    const KeyId = harness.kms.createKey({ policy: POLICIES.nobody });
    const document = await documentOf({ pki, atMs: NOW_MS, publicKey: null });
    const command = new GenerateDataKeyCommand({ KeyId, KeySpec: "AES_256", ...recipientOf(document) });
    await expect(harness.client().send(command)).rejects.toMatchObject({ name: "AccessDeniedException" });
  });

  test("the control: this very key is good", () => {
    expect(
      createPublicKey({ key: Buffer.from(recipientSpki), format: "der", type: "spki" }).asymmetricKeyDetails,
    ).toEqual({
      modulusLength: 2048,
      publicExponent: 65_537n,
    });
  });
});

const GENUINE = join(
  process.env["CLOISTER_VECTORS"] ?? "../shared/vectors",
  "attestation/2025-04-29-pcr16-locked.cose",
);

test.skipIf(!existsSync(GENUINE))(
  "a genuine document of AWS's counts under AWS's root alone (skipped without vectors)",
  async () => {
    const bytes = new Uint8Array(readFileSync(GENUINE));
    const { pcrs, timestampMs } = decodeUnverified(bytes);
    const send = async (image: Uint8Array, root: AttestationRoot) => {
      const { kms, client: clientFor } = await startForTest({
        attestationRoots: [root],
        nowMs: () => timestampMs + 1000,
      });
      const KeyId = kms.createKey({ policy: allowIf({ StringEquals: { [IMAGE]: hex(image) } }) });
      const client = clientFor();
      client.config.systemClockOffset = timestampMs - Date.now();
      const command = new GenerateDataKeyCommand({ KeyId, KeySpec: "AES_256", ...recipientOf(bytes) });
      return client.send(command).catch((error: Error) => error.name);
    };
    const pcr0 = pcrs.get(0) ?? ZEROS;
    // Its public key is not RSA, which shows only once the policy has let it in.
    expect(await send(pcr0, AWS_NITRO_ROOT_G1)).toBe("ValidationException");
    expect(await send(PCR0, AWS_NITRO_ROOT_G1)).toBe("AccessDeniedException");
    expect(await send(pcr0, pki.root)).toBe("AccessDeniedException");
  },
);

describe("other condition keys", () => {
  const conditions: [what: string, condition: object, context: Record<string, string> | undefined, passes: boolean][] =
    [
      [
        "the context's value",
        { StringEquals: { "kms:EncryptionContext:Purpose": "vault" } },
        { Purpose: "vault" },
        true,
      ],
      ["another value", { StringEquals: { "kms:EncryptionContext:Purpose": "vault" } }, { Purpose: "Vault" }, false],
      ["no context", { StringEquals: { "kms:EncryptionContext:Purpose": "vault" } }, undefined, false],
      [
        "a key in another case",
        { StringEquals: { "kms:EncryptionContext:purpose": "vault" } },
        { Purpose: "vault" },
        true,
      ],
      [
        "keys that differ by case alone",
        { StringEquals: { "kms:EncryptionContext:purpose": "vault" } },
        { Purpose: "vault", purpose: "vault" },
        false,
      ],
      [
        "the keys",
        { "ForAllValues:StringEquals": { "kms:EncryptionContextKeys": ["a", "b"] } },
        { a: "", b: "" },
        true,
      ],
      [
        "a key too many",
        { "ForAllValues:StringEquals": { "kms:EncryptionContextKeys": ["a"] } },
        { a: "", b: "" },
        false,
      ],
      ["the account", { StringEquals: { "kms:CallerAccount": ACCOUNT } }, undefined, true],
      ["another account", { StringEquals: { "kms:CallerAccount": "999999999999" } }, undefined, false],
      ["the role", { StringEquals: { "aws:PrincipalArn": ENCLAVE_ROLE } }, undefined, true],
      ["the session is not the role", { StringEquals: { "aws:PrincipalArn": ENCLAVE.arn } }, undefined, false],
      ["TLS", { Bool: { "aws:SecureTransport": "true" } }, undefined, true],
    ];
  test.each(conditions)("%s", async (_what, condition, EncryptionContext, passes) => {
    const KeyId = harness.kms.createKey({ policy: allowIf(condition) });
    const command = new GenerateDataKeyCommand({
      KeyId,
      KeySpec: "AES_256",
      ...(EncryptionContext && { EncryptionContext }),
    });
    const sending = harness.client().send(command);
    if (passes) expect((await sending).Plaintext).toHaveLength(32);
    else await expect(sending).rejects.toMatchObject({ name: "AccessDeniedException" });
  });

  test("a policy that is put in place of another counts at once", async () => {
    const KeyId = harness.kms.createKey({ policy: OPEN_POLICY });
    const command = new GenerateDataKeyCommand({ KeyId, KeySpec: "AES_256" });
    expect(KeyId).toMatch(new RegExp(`^arn:aws:kms:${REGION}:${ACCOUNT}:key/`));
    expect((await harness.client().send(command)).Plaintext).toHaveLength(32);
    harness.kms.putKeyPolicy(KeyId, POLICIES.nobody);
    await expect(harness.client().send(command)).rejects.toMatchObject({ name: "AccessDeniedException" });
  });
});
