/** Quotas, delays and faults that are asked for. */
import { GenerateDataKeyPairCommand, GenerateRandomCommand, KMSClient, ListKeysCommand } from "@aws-sdk/client-kms";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  AWS_REQUEST_QUOTAS,
  KmsError,
  latencyPlan,
  parseFaultScript,
  startSimulatedKms,
} from "../../../simulator/kms/index.ts";
import { createThrottle, quotaGroupOf } from "../../../simulator/kms/throttle.ts";
import { ACCOUNT, ADMIN, OPEN_POLICY, REGION, startForTest } from "./harness.ts";

const throttled = { name: "ThrottlingException", $metadata: { httpStatusCode: 400 } };
const random = () => new GenerateRandomCommand({ NumberOfBytes: 1 });

describe("quotas", () => {
  test("a bucket holds one second's worth and fills with time", () => {
    const throttle = createThrottle({ symmetric: 2, RSA_4096: 0.1 });
    const take = (group: string, nowMs: number) => {
      try {
        throttle.take(group, nowMs);
        return "ok";
      } catch (error) {
        return (error as KmsError).code;
      }
    };
    expect([0, 0, 0, 499, 500, 500, 1000, 9000, 9000, 9000].map((ms) => take("symmetric", ms))).toEqual([
      ...["ok", "ok", "ThrottlingException", "ThrottlingException", "ok", "ThrottlingException"],
      ...["ok", "ok", "ok", "ThrottlingException"],
    ]);
    expect([0, 9999, 10_000].map((ms) => take("RSA_4096", ms))).toEqual(["ok", "ThrottlingException", "ok"]);
    expect(Array.from({ length: 100 }, () => take("unnamed", 0))).not.toContain("ThrottlingException");
    // A clock that is set back takes nothing away.
    expect([take("symmetric", 10_000), take("symmetric", 0), take("symmetric", 0)]).toEqual([
      ...["ok", "ok", "ThrottlingException"],
    ]);
  });

  test("operations that share a quota at AWS share it here", () => {
    expect(["Decrypt", "Encrypt", "GenerateRandom", "ReEncrypt"].map((name) => quotaGroupOf(name, null))).toEqual(
      Array.from({ length: 4 }, () => "symmetric"),
    );
    expect(quotaGroupOf("GenerateDataKeyPair", "RSA_2048")).toBe("RSA_2048");
    expect(quotaGroupOf("GenerateDataKeyPairWithoutPlaintext", "RSA_2048")).toBe("RSA_2048");
    expect(quotaGroupOf("DeriveSharedSecret", null)).toBe("agreement");
    expect(quotaGroupOf("ListKeys", null)).toBe("ListKeys");
    expect(AWS_REQUEST_QUOTAS).toMatchObject({ RSA_2048: 1, ECC_SECG_P256K1: 25, DescribeKey: 2000, PutKeyPolicy: 15 });
  });

  test("ThrottlingException over the wire, group by group", async () => {
    const nowMs = Date.now();
    const { kms, client } = await startForTest({ throttle: { symmetric: 2, RSA_2048: 1 }, nowMs: () => nowMs });
    const send = () => client(ADMIN).send(random());
    await Promise.all([send(), send()]);
    await expect(send()).rejects.toMatchObject({
      ...throttled,
      message: "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.",
    });
    expect(await client(ADMIN).send(new ListKeysCommand({}))).toHaveProperty("Keys");
    const KeyId = kms.createKey({ policy: OPEN_POLICY });
    const pair = () => client(ADMIN).send(new GenerateDataKeyPairCommand({ KeyId, KeyPairSpec: "RSA_2048" }));
    await pair();
    await expect(pair()).rejects.toMatchObject(throttled);
  });
});

describe("faults by rules", () => {
  test("the first rule that strikes decides; after and times count", async () => {
    const plan = parseFaultScript(
      JSON.stringify({
        seed: 7,
        rules: [
          { operation: "GenerateRandom", after: 1, times: 1, error: "ThrottlingException" },
          { operation: "GenerateRandom", after: 1, times: 1, error: "CONNECTION_RESET" },
          { operation: "ListKeys", answer: { Keys: null, Truncated: true } },
        ],
      }),
    );
    const { client } = await startForTest({ faults: { plan } });
    const send = () => client(ADMIN).send(random());
    expect(await send()).toHaveProperty("Plaintext");
    await expect(send()).rejects.toMatchObject(throttled);
    await expect(send()).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(await send()).toHaveProperty("Plaintext");
    const list = await client(ADMIN).send(new ListKeysCommand({}));
    expect(list).toMatchObject({ Truncated: true });
    expect(list.Keys).toBeUndefined();
  });

  test("the same seed gives the same faults, another one others", () => {
    const faultsOf = (seed: number) => {
      const plan = parseFaultScript(JSON.stringify({ seed, rules: [{ percent: 50, error: "KMSInternalException" }] }));
      return Array.from({ length: 64 }, () => plan("Decrypt").fail ?? "none").join();
    };
    expect(faultsOf(1)).toBe(faultsOf(1));
    expect(faultsOf(1)).not.toBe(faultsOf(2));
    expect(new Set(faultsOf(1).split(","))).toEqual(new Set(["none", "KMSInternalException"]));
  });

  test("delays lie between the two, and an answer waits", async () => {
    const plan = latencyPlan([5, 8]);
    const delays = Array.from({ length: 200 }, () => plan("Decrypt").delayMs);
    expect(new Set(delays)).toEqual(new Set([5, 6, 7, 8]));
    const { client } = await startForTest({ faults: { plan: () => ({ delayMs: 20 }) } });
    expect(await client(ADMIN).send(random())).toHaveProperty("Plaintext");
  });

  test.each([
    ["no JSON", "{"],
    ["a list", "[]"],
    ["no rules", "{}"],
    ["an unknown member", '{"rules":[],"more":1}'],
    ["a rule that is none", '{"rules":[1]}'],
    ["an unknown member of a rule", '{"rules":[{"errors":"x"}]}'],
    ["an unknown error", '{"rules":[{"error":"Oops"}]}'],
    ["a name that every object has", '{"rules":[{"error":"toString"}]}'],
    ["more than a hundred of a hundred", '{"rules":[{"percent":101}]}'],
    ["a delay from more to less", '{"rules":[{"delayMs":[2,1]}]}'],
    ["three delays", '{"rules":[{"delayMs":[1,2,3]}]}'],
    ["a seed below 0", '{"seed":-1,"rules":[]}'],
    ["an operation that is no string", '{"rules":[{"operation":1}]}'],
    ["an answer that is no object", '{"rules":[{"answer":"x"}]}'],
  ])("ValidationException: %s", (_what, text) => {
    expect(() => parseFaultScript(text)).toThrow(expect.objectContaining({ code: "ValidationException" }));
  });

  test("no value at all makes the reader fail in another way", () => {
    fc.assert(
      fc.property(
        fc.jsonValue(),
        fc.constantFrom("operation", "after", "times", "delayMs", "error", "answer"),
        (value, name) => {
          try {
            parseFaultScript(JSON.stringify({ rules: [{ [name]: value }] }));
          } catch (error) {
            expect(error).toBeInstanceOf(KmsError);
          }
        },
      ),
    );
  });
});

test("plain HTTP, where asked for: the transport is not secure, and policies see that", async () => {
  const kms = await startSimulatedKms({
    ...{ tls: null, region: REGION, accountId: ACCOUNT, principals: [ADMIN], attestationRoots: [] },
    ...{ storeFile: null, nowMs: Date.now },
  });
  onTestFinished(() => kms.close());
  const client = new KMSClient({
    ...{ region: REGION, endpoint: `http://127.0.0.1:${kms.port}`, maxAttempts: 1 },
    credentials: { accessKeyId: ADMIN.accessKeyId, secretAccessKey: ADMIN.secretAccessKey },
  });
  onTestFinished(() => client.destroy());
  expect(await client.send(random())).toHaveProperty("Plaintext");
  const deny = { Effect: "Deny", Principal: "*", Action: "*", Resource: "*" };
  const Statement = [(OPEN_POLICY as { Statement: object }).Statement];
  const fromHere = {
    IpAddress: { "aws:SourceIp": "127.0.0.0/8" },
    DateGreaterThan: { "aws:CurrentTime": "2020-01-01" },
  };
  for (const Condition of [{ Bool: { "aws:SecureTransport": "false" } }, fromHere]) {
    const policy = { Version: "2012-10-17", Statement: [...Statement, { ...deny, Condition }] };
    const KeyId = kms.createKey({ policy });
    const sending = client.send(new GenerateDataKeyPairCommand({ KeyId, KeyPairSpec: "ECC_NIST_P256" }));
    await expect(sending).rejects.toThrow(/explicit deny/);
  }
});
