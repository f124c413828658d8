import { spawnSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { Agent } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CreateKeyCommand,
  DecryptCommand,
  DescribeKeyCommand,
  EncryptCommand,
  GenerateDataKeyCommand,
  GetKeyPolicyCommand,
  KMSClient,
} from "@aws-sdk/client-kms";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { decode, encode } from "cborg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { connectNsm, createNsmPki } from "../../simulator/nsm/index.ts";
import { certificateToPem } from "../../simulator/pki/index.ts";
import { documentOf, PCR0, PCRS } from "../simulator/kms/documents.ts";
import { killCloisters, startCloister } from "../support/cloister-process.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cloister-kms-test-"));
});
afterEach(async () => {
  killCloisters();
  await rm(folder, { recursive: true, force: true });
});

const cloister = (...args: string[]) => startCloister(["simulate-kms", ...args]);

/** What is printed for people is what the tests go by. */
async function simulateKms(...args: string[]) {
  const command = cloister("--port", "0", ...args);
  await expect.poll(command.output, { timeout: 20_000 }).toContain("Ctrl-C stops it");
  const said = (pattern: RegExp) => pattern.exec(command.output())?.[1] ?? "";
  const endpoint = said(/AWS_ENDPOINT_URL_KMS=(\S+)/);
  const caFile = said(/AWS_CA_BUNDLE=(\S+)/);
  const secretAccessKey = said(/AWS_SECRET_ACCESS_KEY=(\S+)/);
  const [admin = "", enclave = ""] = [...command.output().matchAll(/AWS_ACCESS_KEY_ID=(\S+)/g)].map(([, id]) => id);
  const client = (accessKeyId = admin) =>
    new KMSClient({
      ...{ region: said(/AWS_REGION=(\S+)/), endpoint, maxAttempts: 1, credentials: { accessKeyId, secretAccessKey } },
      ...(caFile === ""
        ? {}
        : { requestHandler: new NodeHttpHandler({ httpsAgent: new Agent({ ca: readFileSync(caFile) }) }) }),
    });
  const stop = async () => {
    command.process.kill("SIGINT");
    return command.exitCode;
  };
  return { ...command, endpoint, client, enclave, stop, keyArn: said(/Key +(arn:\S+)/) };
}

describe("cloister simulate-kms", () => {
  test("serves AWS's client over TLS until Ctrl-C, and what it keeps opens again", async () => {
    const state = join(folder, "kms.json");
    const first = await simulateKms("--state", state, "--region", "eu-west-1", "--account", "123456789012");
    expect(first.endpoint).toMatch(/^https:\/\/localhost:[0-9]+$/);
    expect(first.keyArn).toMatch(/^arn:aws:kms:eu-west-1:123456789012:key\//);
    const sealing = new EncryptCommand({ KeyId: "alias/cloister", Plaintext: Buffer.from("secret") });
    const { CiphertextBlob } = await first.client().send(sealing);
    const { KeyMetadata } = await first.client().send(new CreateKeyCommand({}));

    const second = cloister("--port", "0", "--state", state, "--region", "eu-west-1", "--account", "123456789012");
    expect(await second.exitCode).toBe(1);
    expect(second.output()).toMatch(/STORE_IN_USE: .* is in use by process [0-9]+, since/);
    expect(await first.stop()).toBe(0);

    const again = await simulateKms("--state", state, "--region", "eu-west-1", "--account", "123456789012");
    expect(again.keyArn).toBe(first.keyArn);
    const opened = await again.client(again.enclave).send(new DecryptCommand({ CiphertextBlob }));
    expect(Buffer.from(opened.Plaintext ?? []).toString()).toBe("secret");
    await again.client().send(new DescribeKeyCommand({ KeyId: KeyMetadata?.KeyId }));
    await again.stop();
    const elsewhere = cloister("--port", "0", "--state", state);
    expect(await elsewhere.exitCode).toBe(1);
    expect(elsewhere.output()).toContain("STORE_OF_ANOTHER_ACCOUNT");
  });

  test("--policy and --root: a document of one's own opens the key, and no other does", async () => {
    const pki = createNsmPki({ nowMs: Date.now });
    writeFileSync(join(folder, "root.pem"), certificateToPem(pki.root.der));
    const image = { "kms:RecipientAttestation:PCR0": Buffer.from(PCR0).toString("hex") };
    const account = {
      Effect: "Allow",
      Principal: { AWS: "arn:aws:iam::111122223333:root" },
      Action: "kms:*",
      Resource: "*",
    };
    const guard = {
      ...{ Effect: "Deny", Principal: "*", Action: "kms:GenerateDataKey", Resource: "*" },
      Condition: { StringNotEqualsIgnoreCase: image },
    };
    const policy = JSON.stringify({ Version: "2012-10-17", Statement: [account, guard] });
    writeFileSync(join(folder, "policy.json"), policy);
    const kms = await simulateKms(
      "--policy",
      join(folder, "policy.json"),
      "--root",
      join(folder, "root.pem"),
      "--verbose",
    );
    const send = (document: Uint8Array) => {
      const Recipient = { KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_256", AttestationDocument: document } as const;
      const asked = { KeyId: "alias/cloister", KeySpec: "AES_256", Recipient } as const;
      return kms.client(kms.enclave).send(new GenerateDataKeyCommand(asked));
    };
    const atMs = Date.now();
    expect(await send(await documentOf({ pki, atMs }))).toHaveProperty("CiphertextForRecipient");
    const otherImage = await documentOf({ pki, atMs, pcrs: new Map([...PCRS, [0, Buffer.alloc(48, 9)]]) });
    const otherRoot = await documentOf({ pki: createNsmPki({ nowMs: Date.now }), atMs });
    for (const document of [otherImage, otherRoot]) {
      await expect(send(document)).rejects.toMatchObject({ name: "AccessDeniedException" });
    }
    await expect.poll(kms.output).toContain("attestation refused: ROOT_NOT_TRUSTED");
    const { Policy } = await kms.client().send(new GetKeyPolicyCommand({ KeyId: kms.keyArn }));
    expect(Policy).toBe(policy);
    expect(await kms.stop()).toBe(0);
  });

  test("--nsm: documents of its own, which it trusts", async () => {
    const socket = join(folder, "nsm");
    const kms = await simulateKms("--nsm", socket, "--pcr", `0=${"ab".repeat(48)}`, "--http");
    expect(kms.endpoint).toMatch(/^http:/);
    const nsm = await connectNsm(socket);
    const publicKey = generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey.export({
      type: "spki",
      format: "der",
    });
    const request = encode({ Attestation: { user_data: null, nonce: null, public_key: publicKey } });
    const { Attestation } = decode(await nsm.process(request)) as { Attestation: { document: Uint8Array } };
    const Recipient = {
      KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_256",
      AttestationDocument: Attestation.document,
    } as const;
    const asked = { KeyId: kms.keyArn, KeySpec: "AES_256", Recipient } as const;
    expect(await kms.client().send(new GenerateDataKeyCommand(asked))).toHaveProperty("CiphertextForRecipient");
    nsm.close();
    expect(await kms.stop()).toBe(0);
  });

  test("--principals, --throttle, --fault", async () => {
    const may = { Version: "2012-10-17", Statement: { Effect: "Allow", Action: "kms:Encrypt", Resource: "*" } };
    const reader = {
      ...{
        arn: "arn:aws:iam::111122223333:user/reader",
        accessKeyId: "AKIAREADER",
        secretAccessKey: "reader's secret",
      },
      ...{ identityPolicies: [may], conditionKeys: { "aws:SourceVpce": "vpce-1" } },
    };
    const principals = join(folder, "principals.json");
    writeFileSync(principals, JSON.stringify([reader]));
    const faults = join(folder, "faults.json");
    writeFileSync(
      faults,
      JSON.stringify({ rules: [{ operation: "Encrypt", times: 1, error: "KMSInternalException" }] }),
    );
    const kms = await simulateKms("--principals", principals, "--throttle", "2", "--fault", faults, "--http");
    const client = new KMSClient({
      ...{ region: "us-east-1", endpoint: kms.endpoint, maxAttempts: 1 },
      credentials: { accessKeyId: reader.accessKeyId, secretAccessKey: reader.secretAccessKey },
    });
    const send = () => client.send(new EncryptCommand({ KeyId: kms.keyArn, Plaintext: Buffer.from("x") }));
    await expect(send()).rejects.toMatchObject({ name: "KMSInternalException" });
    await expect(client.send(new DescribeKeyCommand({ KeyId: kms.keyArn }))).rejects.toThrow(
      /no identity-based policy/,
    );
    expect(await send()).toHaveProperty("CiphertextBlob");
    const burst = await Promise.allSettled(Array.from({ length: 20 }, send));
    const reasons = burst.flatMap((one) => (one.status === "rejected" ? [(one.reason as Error).name] : []));
    expect(new Set(reasons)).toEqual(new Set(["ThrottlingException"]));
    expect(await kms.stop()).toBe(0);
  });

  test("killed without a chance to tidy up, it takes its process along", async () => {
    const kms = await simulateKms();
    const { stdout } = spawnSync("ps", ["-o", "pid=", "--ppid", String(kms.process.pid)], { encoding: "utf8" });
    const children = stdout.split("\n").map(Number).filter(Boolean);
    expect(children).toHaveLength(1);
    kms.process.kill("SIGKILL");
    await kms.exitCode;
    await expect.poll(() => children.filter(isRunning), { timeout: 15_000 }).toEqual([]);
  });

  test("a port that is taken", async () => {
    const first = await simulateKms();
    const second = cloister("--port", new URL(first.endpoint).port);
    expect(await second.exitCode).toBe(1);
    expect(second.output()).toContain("EADDRINUSE");
    await first.stop();
  });

  test.each([
    [["--help"], 0, "Usage: cloister simulate-kms"],
    [["--port", "many"], 2, "--port: expected 0 to 65535"],
    [["--fault", "package.json"], 2, "--fault: package.json: "],
  ])("%j exits with %i", async (args, status, words) => {
    const { exitCode, output } = cloister(...args);
    expect(await exitCode).toBe(status);
    expect(output()).toContain(words);
  });
});

function isRunning(pid: number): boolean {
  try {
    // A zombie is ended, though it still has a number.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
