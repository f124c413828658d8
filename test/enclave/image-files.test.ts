import { X509Certificate } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getCACertificates } from "node:tls";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readImageFiles } from "../../enclave/image-files.ts";
import { pickAmazonRoots } from "../../enclave/kms/amazon-roots.ts";

const bundled = getCACertificates("bundled");

let folder = "";
let root: URL;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cl-image-"));
  root = pathToFileURL(`${folder}/`);
  await mkdir(join(folder, "etc/cloister"), { recursive: true });
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function put(name: string, text: string): Promise<void> {
  return writeFile(join(folder, "etc/cloister", name), text);
}

describe("an image's files", () => {
  test("without a manifest are refused", async () => {
    await expect(readImageFiles(root)).rejects.toMatchObject({ code: "MANIFEST_MISSING" });
  });

  test("without roots of their own trust Amazon for KMS, and Mozilla's list for the web", async () => {
    await put("cloister.yaml", "version: 1\n");
    const { manifest, tlsRoots } = await readImageFiles(root);
    expect(Buffer.from(manifest).toString()).toBe("version: 1\n");
    expect(tlsRoots.kms).toHaveLength(5);
    expect(tlsRoots.web).toEqual(bundled);
  });

  test("with roots of their own trust those alone", async () => {
    await put("cloister.yaml", "version: 1\n");
    const [own = ""] = bundled;
    await put("tls-roots.pem", `# ours\n${own}\n`);
    const { tlsRoots } = await readImageFiles(root);
    expect(tlsRoots.kms.map((pem) => pem.trim())).toEqual([own.trim()]);
    expect(tlsRoots.web).toEqual(tlsRoots.kms);
  });

  test.each([
    ["an empty file", ""],
    ["a cut certificate", "-----BEGIN CERTIFICATE-----\nMIIB"],
    ["bytes that are no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
  ])("with %s for roots are refused", async (_name, pem) => {
    await put("cloister.yaml", "version: 1\n");
    await put("tls-roots.pem", pem);
    await expect(readImageFiles(root)).rejects.toMatchObject({ code: "TLS_ROOTS_INVALID" });
  });
});

describe("Amazon's roots", () => {
  test("are five of Node's list, by the names that Amazon gives them", () => {
    const names = pickAmazonRoots(bundled).map((pem) => /CN=(.+)/.exec(new X509Certificate(pem).subject)?.[1]);
    expect(names).toEqual([
      "Amazon Root CA 1",
      "Amazon Root CA 2",
      "Amazon Root CA 3",
      "Amazon Root CA 4",
      "Starfield Services Root Certificate Authority - G2",
    ]);
  });

  test.each(pickAmazonRoots(bundled).map((pem) => [new X509Certificate(pem).fingerprint256, pem] as const))(
    "must all be there: %s",
    (_fingerprint, pem) => {
      const without = bundled.filter((other) => other !== pem);
      expect(() => pickAmazonRoots(without)).toThrow(expect.objectContaining({ code: "TLS_ROOTS_INVALID" }));
    },
  );
});
