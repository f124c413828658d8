import { mkdtempSync, rmSync } from "node:fs";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  DecryptCommand,
  EncryptCommand,
  GenerateRandomCommand,
  type KMSClient,
  VerifyMacCommand,
} from "@aws-sdk/client-kms";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { startSimulatedKms } from "../../../simulator/kms/index.ts";
import { createTlsAuthority } from "../../../simulator/pki/index.ts";
import {
  ACCOUNT,
  agentTo,
  ENCLAVE,
  EXPIRED,
  type Harness,
  HOST,
  OPEN_POLICY,
  REGION,
  type SentRequest,
  startForTest,
  startHarness,
} from "./harness.ts";

const SECRET = Buffer.from("secret");
let harness: Harness;
beforeAll(async () => {
  harness = await startHarness();
});
afterAll(() => harness.kms.close());

const send = (client: KMSClient) => client.send(new GenerateRandomCommand({ NumberOfBytes: 8 }));
const refused = (name: string) => ({ name, $metadata: { httpStatusCode: 400 } });

describe("who asks, by AWS's own signer", () => {
  test("the control: an untouched request is answered", async () => {
    expect((await send(harness.client())).Plaintext).toHaveLength(8);
  });

  const tampers: [name: string, what: string, tamper: (request: SentRequest) => void][] = [
    ["MissingAuthenticationTokenException", "no Authorization", ({ headers }) => delete headers["authorization"]],
    [
      "IncompleteSignatureException",
      "half an Authorization",
      ({ headers }) => {
        headers["authorization"] = headers["authorization"]?.replace(/, Signature=.*/, "") ?? "";
      },
    ],
    ["UnrecognizedClientException", "no token", ({ headers }) => delete headers["x-amz-security-token"]],
    [
      "UnrecognizedClientException",
      "another token",
      ({ headers }) => {
        headers["x-amz-security-token"] = "other";
      },
    ],
    [
      "InvalidSignatureException",
      "another operation",
      ({ headers }) => {
        headers["x-amz-target"] = "TrentService.Decrypt";
      },
    ],
    [
      "InvalidSignatureException",
      "another body",
      (request) => {
        request.body = '{"NumberOfBytes":9}';
        request.headers["content-length"] = "19";
      },
    ],
    [
      "InvalidSignatureException",
      "another content type",
      ({ headers }) => {
        headers["content-type"] = "application/json";
      },
    ],
    [
      "InvalidSignatureException",
      "another path",
      (request) => {
        request.path = "/other";
      },
    ],
    [
      "InvalidSignatureException",
      "a header of AWS's that nobody signed",
      ({ headers }) => {
        headers["x-amz-more"] = "1";
      },
    ],
  ];
  test.each(tampers)("%s: %s", async (name, _what, tamper) => {
    await expect(send(harness.client(ENCLAVE, tamper))).rejects.toMatchObject(refused(name));
  });

  test("UnrecognizedClientException: an unknown key; InvalidSignatureException: another secret", async () => {
    const unknown = harness.client({ ...ENCLAVE, accessKeyId: "ASIAUNKNOWN" });
    await expect(send(unknown)).rejects.toMatchObject(refused("UnrecognizedClientException"));
    const wrong = harness.client({ ...ENCLAVE, secretAccessKey: "wrong" });
    await expect(send(wrong)).rejects.toMatchObject(refused("InvalidSignatureException"));
  });

  test("ExpiredTokenException", async () => {
    await expect(send(harness.client(EXPIRED))).rejects.toMatchObject(refused("ExpiredTokenException"));
  });

  test.each([-6, 6])("InvalidSignatureException: a clock %d minutes off", async (minutes) => {
    const { client: clientFor } = await startForTest({ nowMs: () => Date.now() + minutes * 60_000 });
    const client = clientFor();
    await expect(send(client)).rejects.toMatchObject(refused("InvalidSignatureException"));
    // AWS's client sets its clock by the answer's date, as it does with the real KMS.
    expect((await send(client)).Plaintext).toHaveLength(8);
  });

  test("an unrelated header makes no difference", async () => {
    const client = harness.client(ENCLAVE, ({ headers }) => {
      headers["x-forwarded-for"] = "127.0.0.1";
    });
    expect((await send(client)).Plaintext).toHaveLength(8);
  });
});

describe("what is asked", () => {
  test("UnknownOperationException: what KMS has and the simulator has not", async () => {
    const verify = new VerifyMacCommand({
      KeyId: "k",
      Message: Uint8Array.of(1),
      Mac: Uint8Array.of(1),
      MacAlgorithm: "HMAC_SHA_256",
    });
    await expect(harness.client().send(verify)).rejects.toMatchObject(refused("UnknownOperationException"));
  });

  /** A body of our own, signed by AWS's client: it replaces what the client wrote before it is signed. */
  async function sendBody(body: string, target = "TrentService.Encrypt"): Promise<string> {
    const client = harness.client();
    client.middlewareStack.add(
      (next) => (args) => {
        const request = args.request as SentRequest;
        request.body = body;
        request.headers["content-length"] = String(Buffer.byteLength(body));
        request.headers["x-amz-target"] = target;
        return next(args);
      },
      { step: "build", priority: "low" },
    );
    return send(client).then(
      () => "ok",
      (error: Error) => error.name,
    );
  }

  const KEY = `"KeyId":"arn:aws:kms:${REGION}:${ACCOUNT}:key/input"`;
  beforeAll(() => {
    harness.kms.createKey({ keyId: "input", policy: OPEN_POLICY });
  });

  test.each([
    ["ok", `{${KEY},"Plaintext":"AAAA"}`],
    ["ok", `{${KEY},"Plaintext":"AAAA","DryRun":null,"GrantTokens":[]}`],
    ["SerializationException", ""],
    ["SerializationException", "[]"],
    ["SerializationException", "null"],
    ["SerializationException", `{${KEY},"Plaintext":"AAAA"`],
    ["SerializationException", `{${KEY},"Plaintext":"AAAA","Plaintext":"AAAA"}`],
    ["SerializationException", `{${KEY},"Plaintext":"AAA"}`],
    ["SerializationException", `{${KEY},"Plaintext":"AA A"}`],
    ["SerializationException", `{${KEY},"Plaintext":"AA-_"}`],
    ["SerializationException", `{${KEY},"Plaintext":"AB=="}`],
    ["SerializationException", `{${KEY},"Plaintext":1}`],
    ["SerializationException", `{"KeyId":1,"Plaintext":"AAAA"}`],
    ["SerializationException", `{${KEY},"Plaintext":"AAAA","EncryptionContext":[]}`],
    ["SerializationException", `{${KEY},"Plaintext":"AAAA","EncryptionContext":{"a":1}}`],
    ["SerializationException", `{${KEY},"Plaintext":"AAAA","EncryptionContext":{"__proto__":"a"}}`],
    ["SerializationException", `{${KEY},"Plaintext":"AAAA","DryRun":"true"}`],
    ["SerializationException", `{${KEY},"Plaintext":"AAAA","GrantTokens":"a"}`],
    ["ValidationException", "{}"],
    ["ValidationException", `{${KEY}}`],
    ["ValidationException", `{"KeyId":"","Plaintext":"AAAA"}`],
    ["ValidationException", `{${KEY},"Plaintext":"AAAA","More":1}`],
    ["ValidationException", `{${KEY},"Plaintext":"AAAA","Recipient":{}}`],
    ["ValidationException", `{${KEY},"Plaintext":"AAAA","EncryptionAlgorithm":"NONE"}`],
  ])("%s: %s", async (name, body) => {
    expect(await sendBody(body)).toBe(name);
  });

  test.each([
    ["SerializationException", `{"NumberOfBytes":"8"}`],
    ["SerializationException", `{"NumberOfBytes":1.5}`],
    ["SerializationException", `{"NumberOfBytes":8,"Recipient":[]}`],
    [
      "SerializationException",
      `{"NumberOfBytes":8,"Recipient":{"KeyEncryptionAlgorithm":"RSAES_OAEP_SHA_256","AttestationDocument":1}}`,
    ],
    [
      "ValidationException",
      `{"NumberOfBytes":8,"Recipient":{"KeyEncryptionAlgorithm":"RSAES_OAEP_SHA_1","AttestationDocument":"AA=="}}`,
    ],
    [
      "ValidationException",
      `{"NumberOfBytes":8,"Recipient":{"KeyEncryptionAlgorithm":"RSAES_OAEP_SHA_256","AttestationDocument":""}}`,
    ],
    [
      "ValidationException",
      `{"NumberOfBytes":8,"Recipient":{"KeyEncryptionAlgorithm":"RSAES_OAEP_SHA_256","AttestationDocument":"AA==","More":1}}`,
    ],
    ["ValidationException", `{"NumberOfBytes":8,"CustomKeyStoreId":"cks"}`],
  ])("%s: %s", async (name, body) => {
    expect(await sendBody(body, "TrentService.GenerateRandom")).toBe(name);
  });

  test.each(["TrentService.", "TrentService.encrypt", "Encrypt", "Other.Encrypt", "TrentService.constructor"])(
    "UnknownOperationException: %s",
    async (target) => {
      expect(await sendBody("{}", target)).toBe("UnknownOperationException");
    },
  );

  test("RequestEntityTooLargeException", async () => {
    const body = JSON.stringify({ KeyId: "x".repeat(512 * 1024) });
    expect(await sendBody(body)).toBe("RequestEntityTooLargeException");
  });
});

test("the answer's form", async () => {
  const { promise, resolve, reject } = Promise.withResolvers<{
    status: number | undefined;
    type: string | undefined;
    body: string;
  }>();
  const request = httpsRequest(
    { host: HOST, agent: agentTo(harness.kms.port), method: "POST", path: "/" },
    (response) => {
      let body = "";
      response.on("data", (chunk: Buffer) => {
        body += chunk.toString();
      });
      response.on("end", () => resolve({ status: response.statusCode, type: response.headers["content-type"], body }));
    },
  );
  request.on("error", reject);
  request.end("{}");
  expect(await promise).toEqual({
    status: 400,
    type: "application/x-amz-json-1.1",
    body: '{"__type":"MissingAuthenticationTokenException","message":"Missing Authentication Token"}',
  });
});

describe("start and end", () => {
  const tls = createTlsAuthority({ nowMs: Date.now, name: "test" }).issueServer({ hosts: ["localhost"] });
  const options = {
    tls,
    region: REGION,
    accountId: ACCOUNT,
    principals: [ENCLAVE],
    attestationRoots: [],
    storeFile: null,
    nowMs: Date.now,
  } as const;

  test.each([
    ["an account id", { accountId: "1" }],
    ["a region", { region: "Frankfurt" }],
    ["a principal", { principals: [{ ...ENCLAVE, arn: "me" }] }],
  ])("refuses %s that cannot be", async (_what, changes) => {
    await expect(startSimulatedKms({ ...options, ...changes })).rejects.toMatchObject({ code: "ValidationException" });
  });

  test("a port that is taken", async () => {
    const { kms } = await startForTest();
    await expect(startSimulatedKms({ ...options, port: kms.port })).rejects.toMatchObject({ code: "EADDRINUSE" });
  });

  test("after a restart from its file, what was sealed before opens", async () => {
    const folder = mkdtempSync(join(tmpdir(), "kms-restart-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const storeFile = join(folder, "kms.json");
    const before = await startHarness({ storeFile });
    const keyArn = before.kms.createKey({ policy: OPEN_POLICY });
    const { CiphertextBlob } = await before.client().send(new EncryptCommand({ KeyId: keyArn, Plaintext: SECRET }));
    await before.kms.close();
    const after = await startForTest({ storeFile });
    expect(after.kms.keyArns()).toEqual([keyArn]);
    await expect(send(before.client())).rejects.toMatchObject({ code: "ECONNREFUSED" });
    const { Plaintext } = await after.client().send(new DecryptCommand({ CiphertextBlob }));
    expect(Buffer.from(Plaintext ?? [])).toEqual(SECRET);
  });
});
