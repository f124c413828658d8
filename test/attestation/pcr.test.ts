import { describe, expect, test } from "vitest";
import { pcr3OfRoleArn, pcr4OfInstanceId, pcr8OfCertificate, pcrOfParts } from "../../attestation/index.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe("known answers (nitro.md 9)", () => {
  test("PCR4 of an instance, as a genuine document shows it", async () => {
    expect(hex(await pcr4OfInstanceId("i-084e1dd2f1b2c529b"))).toBe(
      "4b41d8e9ba3411505c1604762a2e91ba72c2c11d954f4a640bf4402bd195dd432804ffa0ceed1b6c39233d13b1e2e595",
    );
  });

  test("PCR2 of an image with a single ramdisk: of nothing", async () => {
    const ofNothing =
      "21b9efbc184807662e966d34f390821309eeac6802309798826296bf3e8bec7c10edb30948c90ba67310f7b964fc500a";
    expect(hex(await pcrOfParts([]))).toBe(ofNothing);
    expect(hex(await pcrOfParts([new Uint8Array(0), new Uint8Array(0)]))).toBe(ofNothing);
    expect(hex(await pcr8OfCertificate(new Uint8Array(0)))).toBe(ofNothing);
  });

  test("PCR3 of a role: one hash of zeros and the ARN", async () => {
    const arn = "arn:aws:iam::123456789012:role/path/enclave-parent";
    const digest = await crypto.subtle.digest("SHA-384", new TextEncoder().encode("\0".repeat(48) + arn));
    expect(await pcr3OfRoleArn(arn)).toEqual(new Uint8Array(digest));
  });
});

test.each([
  "arn:aws:iam::123456789012:instance-profile/enclave-parent",
  "arn:aws:sts::123456789012:assumed-role/enclave-parent/i-0123456789abcdef0",
  "arn:aws:iam::12345678901:role/enclave-parent",
  "arn:aws:iam::123456789012:role/",
  "enclave-parent",
  "arn:aws:iam::123456789012:role/enclave-parent\n",
])("no role: %j", async (text) => {
  await expect(pcr3OfRoleArn(text)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
});

test.each(["i-123", "084e1dd2f1b2c529b", "i-084E1DD2F1B2C529B", "i-084e1dd2f1b2c529b "])(
  "no instance: %j",
  async (text) => {
    await expect(pcr4OfInstanceId(text)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  },
);
