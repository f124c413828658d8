/** Signing with a key in KMS: AWS's own SDK over HTTP, against an endpoint that answers as KMS's API reference says. */
import { execFileSync, spawnSync } from "node:child_process";
import { createPublicKey } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KMSClient } from "@aws-sdk/client-kms";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createKmsSigner } from "../../cli/eif-kms-signer.ts";
import { readEif, signEif, verifyEifSignature } from "../../eif/index.ts";
import { image } from "../eif/images.ts";
import { AT_MS, type SigningKey, signingKey } from "../eif/signing-keys.ts";

const ARN = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const folder = mkdtempSync(join(tmpdir(), "cloister-eif-"));
const path = join(folder, "a.eif");
writeFileSync(path, image());

let server: Server;
let client: KMSClient;
let held: SigningKey;
let asked: { target: string; body: Record<string, string> }[] = [];
let answer: ((target: string) => [status: number, body: object] | null) | null = null;

/** Node signs only what it has hashed itself; KMS is given a digest, and OpenSSL signs one. */
function signDigest(digest: Buffer): Buffer {
  writeFileSync(join(folder, "key.pem"), held.privateKeyPem);
  writeFileSync(join(folder, "digest"), digest);
  return execFileSync("openssl", [
    "pkeyutl",
    "-sign",
    "-inkey",
    join(folder, "key.pem"),
    "-in",
    join(folder, "digest"),
  ]);
}

beforeAll(async () => {
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const target = String(request.headers["x-amz-target"]).replace("TrentService.", "");
      const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, string>;
      asked.push({ target, body });
      const [status, reply] = answer?.(target) ?? [200, usual(target, body)];
      response.writeHead(status, { "content-type": "application/x-amz-json-1.1" }).end(JSON.stringify(reply));
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  client = new KMSClient({
    region: "eu-west-1",
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    credentials: { accessKeyId: "AKIATEST", secretAccessKey: "test" },
    maxAttempts: 1,
  });
});
afterAll(() => {
  client.destroy();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  asked = [];
  answer = null;
});

function usual(target: string, body: Record<string, string>): object {
  if (target === "GetPublicKey") {
    const spki = createPublicKey(held.privateKeyPem).export({ type: "spki", format: "der" });
    return { KeyId: ARN, PublicKey: spki.toString("base64"), KeyUsage: "SIGN_VERIFY" };
  }
  const digest = Buffer.from(body["Message"] ?? "", "base64");
  return { KeyId: ARN, Signature: signDigest(digest).toString("base64"), SigningAlgorithm: body["SigningAlgorithm"] };
}

describe.skipIf(spawnSync("openssl", ["version"]).status !== 0)("a key in KMS", () => {
  test.each([
    ["P-256", "ECDSA_SHA_256", 32],
    ["P-384", "ECDSA_SHA_384", 48],
    ["P-521", "ECDSA_SHA_512", 64],
  ] as const)("on %s signs an image, seeing its digest only", async (curve, algorithm, digestBytes) => {
    held = await signingKey(curve);
    // Often enough that r or s begins with a zero or a sign byte now and then.
    for (let round = 0; round < 8; round += 1) {
      const signer = await createKmsSigner(held.certificatePem, ARN, AT_MS, client);
      await signEif(path, path, signer);
      verifyEifSignature(await readEif(path), AT_MS);
    }
    const { target, body } = asked.at(-1) ?? { target: "", body: {} };
    expect(target).toBe("Sign");
    expect(body).toMatchObject({ KeyId: ARN, MessageType: "DIGEST", SigningAlgorithm: algorithm });
    expect(Buffer.from(body["Message"] ?? "", "base64")).toHaveLength(digestBytes);
    expect(asked.map(({ target: one }) => one).slice(0, 2)).toEqual(["GetPublicKey", "Sign"]);
  });

  test("that is not the certificate's is refused before anything is signed", async () => {
    held = await signingKey();
    const other = await signingKey();
    const made = createKmsSigner(other.certificatePem, ARN, AT_MS, client);
    await expect(made).rejects.toMatchObject({ code: "CERTIFICATE_KEY_MISMATCH" });
    expect(asked.map(({ target }) => target)).toEqual(["GetPublicKey"]);
  });

  test("that KMS refuses to use ends the signing, with KMS's own word for it", async () => {
    held = await signingKey();
    answer = () => [400, { __type: "AccessDeniedException", message: "no" }];
    const refused = createKmsSigner(held.certificatePem, ARN, AT_MS, client);
    await expect(refused).rejects.toMatchObject({ code: "KMS_REFUSED", message: "KMS: AccessDeniedException: no" });
    answer = () => [200, { KeyId: ARN, PublicKey: "AAAA" }];
    await expect(createKmsSigner(held.certificatePem, ARN, AT_MS, client)).rejects.toMatchObject({
      code: "KMS_REFUSED",
    });
    answer = (target) => (target === "Sign" ? [400, { __type: "DisabledException", message: "off" }] : null);
    const signer = await createKmsSigner(held.certificatePem, ARN, AT_MS, client);
    await expect(signEif(path, join(folder, "x.eif"), signer)).rejects.toMatchObject({ code: "KMS_REFUSED" });
  });

  test.each([["MEUC"], [""], [Buffer.from("30820102", "hex").toString("base64")]])(
    "whose signature is nonsense is refused: %j",
    async (Signature) => {
      held = await signingKey();
      answer = (target) => (target === "Sign" ? [200, { KeyId: ARN, Signature }] : null);
      const signer = await createKmsSigner(held.certificatePem, ARN, AT_MS, client);
      await expect(signEif(path, join(folder, "x.eif"), signer)).rejects.toMatchObject({ code: "KMS_REFUSED" });
    },
  );

  test("whose answer is another key's signature is refused", async () => {
    held = await signingKey();
    const signer = await createKmsSigner(held.certificatePem, ARN, AT_MS, client);
    held = await signingKey();
    await expect(signEif(path, join(folder, "x.eif"), signer)).rejects.toMatchObject({
      code: "CERTIFICATE_KEY_MISMATCH",
    });
  });

  test("whose certificate has expired is not asked for", async () => {
    held = await signingKey("P-384", { notAfterMs: AT_MS - 1000 });
    await expect(createKmsSigner(held.certificatePem, ARN, AT_MS, client)).rejects.toMatchObject({
      code: "CERTIFICATE_EXPIRED",
    });
    expect(asked).toEqual([]);
  });
});

test.each([["aws-cn"], ["aws-us-gov"], ["aws-iso"], ["aws-iso-b"], ["aws-eusc"]])(
  "a key in the partition %s",
  async (partition) => {
    held = await signingKey();
    const arn = ARN.replace("arn:aws:", `arn:${partition}:`);
    await createKmsSigner(held.certificatePem, arn, AT_MS, client);
    expect(asked).toMatchObject([{ target: "GetPublicKey", body: { KeyId: arn } }]);
  },
);

test.each([
  ["alias/mine"],
  ["1234abcd-12ab-34cd-56ef-1234567890ab"],
  [ARN.replace("key/", "alias/")],
  [ARN.replace("arn:aws:", "arn:aw:")],
  [ARN.replace("arn:aws:", "arn:aws-1:")],
])("%s is no key ARN", async (arn) => {
  const { certificatePem } = await signingKey();
  await expect(createKmsSigner(certificatePem, arn, AT_MS, client)).rejects.toThrow("--kms-key: expected arn:aws:kms");
});
