/** Boots that are as they are built, or as they should not be. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeUnverified, type UnverifiedAttestation } from "../../attestation/index.ts";
import { encodeHex } from "../../protocol/index.ts";
import { type Emulation, startEmulation } from "../../simulator/index.ts";
import { cannotEmulate, EIF, eventually } from "./fixture.ts";

/** nitro.md 1.1: the last field of the header, over everything but itself. */
const CRC_OFFSET = 544;

interface Readiness {
  readonly enclave: string;
  readonly reason: { readonly code: string } | null;
}

async function readiness({ url }: Emulation): Promise<Readiness> {
  return (await (await fetch(`${url}/readyz`)).json()) as Readiness;
}

async function attested({ url }: Emulation): Promise<UnverifiedAttestation> {
  const response = await fetch(`${url}/v1/attestation?nonce=${"00".repeat(32)}`);
  expect(response.status).toBe(200);
  return decodeUnverified(new Uint8Array(await response.arrayBuffer()));
}

function pcrHex({ pcrs }: UnverifiedAttestation, index: number): string {
  return encodeHex(pcrs.get(index) ?? new Uint8Array(0));
}

describe.skipIf(cannotEmulate !== null)("a boot", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "cl-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test("of dist/cloister.eif itself attests the PCRs of dist/measurements.json, and QEMU's death is noticed", async () => {
    await using emulation = await startEmulation({ eif: EIF, asIs: true, waitForReady: false });
    await eventually(
      () => readiness(emulation),
      ({ enclave }) => enclave === "attested",
      120_000,
    );
    const document = await attested(emulation);
    const promised = JSON.parse(await readFile(EIF.replace(/cloister\.eif$/, "measurements.json"), "utf8"));
    const { PCR0, PCR1, PCR2 } = (promised.Measurements ?? promised) as Record<string, string>;
    expect([0, 1, 2].map((index) => pcrHex(document, index))).toEqual([PCR0, PCR1, PCR2]);
    // Nobody signed this image.
    expect(pcrHex(document, 8)).toBe("00".repeat(48));
    // Its document is genuine: a client takes the enclave, although it cannot open a vault here.
    await emulation.connect();

    process.kill(emulation.enclavePid, "SIGKILL");
    expect(await emulation.enclaveEnded()).toContain("QEMU ended with SIGKILL");
  });

  test("of an image with one byte changed has another PCR0, and KMS does not open the vault for it", async () => {
    const predicted: string[] = [];
    await using emulation = await startEmulation({
      eif: EIF,
      waitForReady: false,
      bootInstead: async ({ path, measurements }) => {
        predicted.push(measurements.PCR0, measurements.PCR1, measurements.PCR2);
        const changed = join(folder, "changed.eif");
        await writeFile(changed, withOneByteChanged(await readFile(path)));
        return changed;
      },
    });
    expect(await emulation.enclaveOutcome()).toMatchObject({ event: "failed", code: "KMS_ACCESS_DENIED" });
    const document = await attested(emulation);
    expect(pcrHex(document, 0)).not.toBe(predicted[0]);
    expect(pcrHex(document, 1)).toBe(predicted[1]);
    expect(pcrHex(document, 2)).not.toBe(predicted[2]);
    await expect(emulation.connect()).rejects.toMatchObject({ code: "PCR_MISMATCH" });
  });

  test("in a machine whose NSM nobody signs for fails, and says so: NSM_FAILED", async () => {
    await using emulation = await startEmulation({ eif: EIF, waitForReady: false, signsDocuments: false });
    expect(await emulation.enclaveOutcome()).toMatchObject({ event: "failed", code: "NSM_FAILED" });
    expect(await readiness(emulation)).toMatchObject({ enclave: "failed", reason: { code: "NSM_FAILED" } });
  });
});

/** In a comment of the manifest, which stands uncompressed in the last ramdisk; the file's checksum is put right. */
function withOneByteChanged(image: Buffer): Buffer {
  const at = image.lastIndexOf("# Part of the simulated image");
  expect(at).toBeGreaterThan(0);
  image[at + 2] = "p".charCodeAt(0);
  const crc = crc32(image.subarray(CRC_OFFSET + 4), crc32(image.subarray(0, CRC_OFFSET)));
  image.writeUInt32BE(crc, CRC_OFFSET);
  return image;
}
