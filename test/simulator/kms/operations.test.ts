import {
  DecryptCommand,
  DescribeKeyCommand,
  EncryptCommand,
  GenerateDataKeyCommand,
  GenerateRandomCommand,
} from "@aws-sdk/client-kms";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  ACCOUNT,
  ADMIN,
  ENCLAVE,
  type Harness,
  OPEN_POLICY,
  REGION,
  STRANGER,
  startForTest,
  startHarness,
} from "./harness.ts";

const SECRET = Buffer.from("secret");
let harness: Harness;
let KeyId = "";
beforeAll(async () => {
  harness = await startHarness();
  KeyId = harness.kms.createKey({ keyId: "vault", policy: OPEN_POLICY });
});
afterAll(() => harness.kms.close());

async function encrypted(EncryptionContext?: Record<string, string>): Promise<Uint8Array> {
  const command = new EncryptCommand({ KeyId, Plaintext: SECRET, ...(EncryptionContext && { EncryptionContext }) });
  return (await harness.client().send(command)).CiphertextBlob ?? new Uint8Array();
}

describe("answers", () => {
  test("GenerateDataKey: the key in the clear opens from its blob", async () => {
    const EncryptionContext = { deployment: "test" };
    const generated = await harness
      .client()
      .send(new GenerateDataKeyCommand({ KeyId, KeySpec: "AES_256", EncryptionContext }));
    expect(generated.Plaintext).toHaveLength(32);
    expect(generated.KeyId).toBe(KeyId);
    const { CiphertextBlob } = generated;
    const decrypted = await harness.client().send(new DecryptCommand({ CiphertextBlob, EncryptionContext }));
    expect(decrypted).toMatchObject({
      KeyId,
      Plaintext: generated.Plaintext,
      EncryptionAlgorithm: "SYMMETRIC_DEFAULT",
    });
  });

  test.each([
    [{ KeySpec: "AES_128" }, 16],
    [{ NumberOfBytes: 1024 }, 1024],
    [{ NumberOfBytes: 1 }, 1],
  ] as const)("GenerateDataKey %j", async (asked, size) => {
    const { Plaintext } = await harness.client().send(new GenerateDataKeyCommand({ KeyId, ...asked }));
    expect(Plaintext).toHaveLength(size);
  });

  test("a key goes by its id and by its ARN, and the answer always names the ARN", async () => {
    const CiphertextBlob = await encrypted();
    for (const name of ["vault", KeyId]) {
      expect((await harness.client().send(new DecryptCommand({ KeyId: name, CiphertextBlob }))).KeyId).toBe(KeyId);
      expect((await harness.client().send(new EncryptCommand({ KeyId: name, Plaintext: SECRET }))).KeyId).toBe(KeyId);
    }
  });

  test("GenerateRandom", async () => {
    const { Plaintext } = await harness.client().send(new GenerateRandomCommand({ NumberOfBytes: 32 }));
    expect(Plaintext).toHaveLength(32);
  });

  test("DescribeKey", async () => {
    const { KeyMetadata } = await harness.client().send(new DescribeKeyCommand({ KeyId: "vault" }));
    expect(KeyMetadata).toMatchObject({
      AWSAccountId: ACCOUNT,
      KeyId: "vault",
      Arn: KeyId,
      Enabled: true,
      KeyState: "Enabled",
      KeyUsage: "ENCRYPT_DECRYPT",
      KeySpec: "SYMMETRIC_DEFAULT",
    });
    expect(KeyMetadata?.CreationDate).toBeInstanceOf(Date);
  });

  test("keyArns names every key", () => {
    expect(harness.kms.keyArns()).toEqual([`arn:aws:kms:${REGION}:${ACCOUNT}:key/vault`]);
  });

  test("the log tells who did what", async () => {
    await harness.client(ADMIN).send(new DescribeKeyCommand({ KeyId }));
    expect(harness.log.at(-1)).toMatchObject({
      operation: "DescribeKey",
      principalArn: ADMIN.arn,
      keyArn: KeyId,
      outcome: "ok",
      detail: null,
    });
  });
});

describe("refusals", () => {
  const refused = (name: string) => ({ name, $metadata: { httpStatusCode: 400 } });

  test("InvalidCiphertextException: another context, a changed blob, another format", async () => {
    const CiphertextBlob = await encrypted({ a: "b" });
    const changed = Uint8Array.from(CiphertextBlob);
    changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
    for (const command of [
      new DecryptCommand({ CiphertextBlob }),
      new DecryptCommand({ CiphertextBlob, EncryptionContext: { a: "B" } }),
      new DecryptCommand({ CiphertextBlob, EncryptionContext: { a: "b", c: "d" } }),
      new DecryptCommand({ CiphertextBlob: changed, EncryptionContext: { a: "b" } }),
      new DecryptCommand({ CiphertextBlob: SECRET }),
    ]) {
      await expect(harness.client().send(command)).rejects.toMatchObject(refused("InvalidCiphertextException"));
    }
  });

  test("IncorrectKeyException: a blob of another key than the one named", async () => {
    const other = harness.kms.createKey({ policy: OPEN_POLICY });
    const command = new DecryptCommand({ KeyId: other, CiphertextBlob: await encrypted() });
    await expect(harness.client().send(command)).rejects.toMatchObject(refused("IncorrectKeyException"));
  });

  test.each(["other", "alias/vault", `arn:aws:kms:us-east-1:${ACCOUNT}:key/vault`])(
    "NotFoundException: %s",
    async (name) => {
      const command = new GenerateDataKeyCommand({ KeyId: name, KeySpec: "AES_256" });
      await expect(harness.client().send(command)).rejects.toMatchObject(refused("NotFoundException"));
    },
  );

  test("AccessDeniedException: no policy names the caller", async () => {
    const client = harness.client(STRANGER);
    const CiphertextBlob = await encrypted();
    const sends = [
      () => client.send(new DescribeKeyCommand({ KeyId })),
      () => client.send(new EncryptCommand({ KeyId, Plaintext: SECRET })),
      () => client.send(new DecryptCommand({ CiphertextBlob })),
      () => client.send(new GenerateDataKeyCommand({ KeyId, KeySpec: "AES_256" })),
    ];
    for (const send of sends) await expect(send()).rejects.toMatchObject(refused("AccessDeniedException"));
    // A dry run says no more than the real one.
    const dry = new GenerateDataKeyCommand({ KeyId, KeySpec: "AES_256", DryRun: true });
    await expect(client.send(dry)).rejects.toMatchObject(refused("AccessDeniedException"));
  });

  test("AccessDeniedException: a blob of a key that does not exist", async () => {
    const elsewhere = await startForTest();
    elsewhere.kms.createKey({ keyId: "gone", policy: OPEN_POLICY });
    const command = new EncryptCommand({ KeyId: "gone", Plaintext: SECRET });
    const { CiphertextBlob } = await elsewhere.client().send(command);
    const sending = harness.client().send(new DecryptCommand({ CiphertextBlob }));
    await expect(sending).rejects.toMatchObject(refused("AccessDeniedException"));
  });

  test("InvalidCiphertextException: a blob of a key of the same name in another KMS", async () => {
    const elsewhere = await startForTest();
    elsewhere.kms.createKey({ keyId: "vault", policy: OPEN_POLICY });
    const { CiphertextBlob } = await elsewhere.client().send(new EncryptCommand({ KeyId: "vault", Plaintext: SECRET }));
    const sending = harness.client().send(new DecryptCommand({ CiphertextBlob }));
    await expect(sending).rejects.toMatchObject(refused("InvalidCiphertextException"));
  });

  test("DryRunOperationException, InvalidGrantTokenException, InvalidKeyUsageException", async () => {
    const client = harness.client();
    const asked = { KeyId, Plaintext: SECRET } as const;
    const dry = new EncryptCommand({ ...asked, DryRun: true });
    await expect(client.send(dry)).rejects.toMatchObject(refused("DryRunOperationException"));
    const granted = new EncryptCommand({ ...asked, GrantTokens: ["token"] });
    await expect(client.send(granted)).rejects.toMatchObject(refused("InvalidGrantTokenException"));
    const asymmetric = new EncryptCommand({ ...asked, EncryptionAlgorithm: "RSAES_OAEP_SHA_256" });
    await expect(client.send(asymmetric)).rejects.toMatchObject(refused("InvalidKeyUsageException"));
  });

  test("both or neither of KeySpec and NumberOfBytes, and sizes out of range", async () => {
    const client = harness.client();
    for (const command of [
      new GenerateDataKeyCommand({ KeyId }),
      new GenerateDataKeyCommand({ KeyId, KeySpec: "AES_256", NumberOfBytes: 32 }),
      new GenerateDataKeyCommand({ KeyId, NumberOfBytes: 0 }),
      new GenerateDataKeyCommand({ KeyId, NumberOfBytes: 1025 }),
    ]) {
      await expect(client.send(command)).rejects.toMatchObject(refused("ValidationException"));
    }
    for (const size of [0, 4097]) {
      const command = new EncryptCommand({ KeyId, Plaintext: new Uint8Array(size) });
      await expect(client.send(command)).rejects.toMatchObject(refused("ValidationException"));
    }
    const largest = new EncryptCommand({ KeyId, Plaintext: new Uint8Array(4096) });
    const { CiphertextBlob } = await client.send(largest);
    expect((await client.send(new DecryptCommand({ CiphertextBlob }))).Plaintext).toHaveLength(4096);
  });

  test("Recipient with half of its members, or with no document in it", async () => {
    const Recipient = { KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_256", AttestationDocument: SECRET } as const;
    const client = harness.client();
    for (const halves of [
      { ...Recipient, AttestationDocument: undefined },
      { ...Recipient, KeyEncryptionAlgorithm: undefined },
    ]) {
      const command = new GenerateRandomCommand({ NumberOfBytes: 32, Recipient: halves });
      await expect(client.send(command)).rejects.toMatchObject(refused("ValidationException"));
    }
    const empty = new GenerateRandomCommand({ NumberOfBytes: 32, Recipient: {} });
    await expect(client.send(empty)).rejects.toMatchObject(refused("ValidationException"));
    const garbage = new GenerateRandomCommand({ NumberOfBytes: 32, Recipient });
    await expect(client.send(garbage)).rejects.toMatchObject(refused("AccessDeniedException"));
  });
});

describe("faults", () => {
  test("rewriteAnswer: another KeyId, a plaintext, no CiphertextForRecipient", async () => {
    const seen: string[] = [];
    const { kms, client } = await startForTest({
      faults: {
        rewriteAnswer: (operation, answer) => {
          seen.push(operation);
          return { ...answer, KeyId: "arn:aws:kms:other", Plaintext: "bGVhaw==" };
        },
      },
    });
    const keyArn = kms.createKey({ policy: OPEN_POLICY });
    const answer = await client().send(new GenerateDataKeyCommand({ KeyId: keyArn, KeySpec: "AES_256" }));
    expect(answer.KeyId).toBe("arn:aws:kms:other");
    expect(Buffer.from(answer.Plaintext ?? []).toString()).toBe("leak");
    expect(seen).toEqual(["GenerateDataKey"]);
  });

  test("KMSInternalException: an error inside says nothing but that", async () => {
    const rewriteAnswer = () => {
      throw new Error("secret of the inside");
    };
    const { client } = await startForTest({ faults: { rewriteAnswer } });
    const sending = client().send(new GenerateRandomCommand({ NumberOfBytes: 1 }));
    const message = "an error of the simulator";
    await expect(sending).rejects.toMatchObject({ ...refusedWith("KMSInternalException", 500), message });
  });

  test("fail: throttled, broken inside, cut off", async () => {
    const faults = ["ThrottlingException", "KMSInternalException", "CONNECTION_RESET", undefined] as const;
    let call = 0;
    const { client, log } = await startForTest({ faults: { fail: () => faults[call++] } });
    const send = () => client().send(new GenerateRandomCommand({ NumberOfBytes: 1 }));
    await expect(send()).rejects.toMatchObject(refusedWith("ThrottlingException", 400));
    await expect(send()).rejects.toMatchObject(refusedWith("KMSInternalException", 500));
    await expect(send()).rejects.toMatchObject({ code: "ECONNRESET" });
    expect((await send()).Plaintext).toHaveLength(1);
    expect(log.map(({ outcome }) => outcome)).toEqual([...faults.slice(0, 3), "ok"]);
  });

  function refusedWith(name: string, httpStatusCode: number) {
    return { name, $metadata: { httpStatusCode } };
  }
});

test("no secret reaches the log", async () => {
  const { client, log, kms } = await startForTest();
  const keyArn = kms.createKey({ policy: OPEN_POLICY });
  await client().send(new EncryptCommand({ KeyId: keyArn, Plaintext: SECRET }));
  await client({ ...ENCLAVE, secretAccessKey: "wrong" })
    .send(new EncryptCommand({ KeyId: keyArn, Plaintext: SECRET }))
    .catch(() => {});
  const text = JSON.stringify(log);
  expect(log).toHaveLength(2);
  for (const secret of [SECRET.toString("base64"), ENCLAVE.secretAccessKey, ENCLAVE.sessionToken ?? ""]) {
    expect(text).not.toContain(secret);
  }
});
