/** The emulated tier's parts that need neither an image nor QEMU. The rest is in test/emulated/. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { bytesSource, writeEif } from "../../../eif/index.ts";
import { BootReport } from "../../../simulator/emulated/boot-report.ts";
import { extendImage, measuredImage } from "../../../simulator/emulated/configured-image.ts";
import { findEmulator } from "../../../simulator/emulated/emulator.ts";
import { serveHeartbeat } from "../../../simulator/emulated/heartbeat.ts";
import { writeChain } from "../../../simulator/emulated/nsm-chain.ts";
import { startEmulation, startSimulator } from "../../../simulator/index.ts";
import { createNsmPki } from "../../../simulator/nsm/index.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cl-"));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

async function smallImage(): Promise<string> {
  const path = join(folder, "small.eif");
  const build = { time: "1970-01-01T00:00:00Z", tool: "test", toolVersion: "0", operatingSystem: "Linux" };
  await writeEif(path, {
    architecture: "x86_64",
    kernel: bytesSource(Buffer.from("kernel")),
    cmdline: "quiet",
    metadata: {
      ...{ imageName: "test", imageVersion: "0", dockerInfo: null, customMetadata: null },
      build: { ...build, kernelVersion: "0" },
    },
    ramdisks: [bytesSource(Buffer.from("boot")), bytesSource(Buffer.from("application"))],
  });
  return path;
}

describe("what is missing is named", () => {
  test("EMULATOR_MISSING where nothing was built", () => {
    vi.stubEnv("XDG_CACHE_HOME", folder);
    expect(() => findEmulator()).toThrow(expect.objectContaining({ code: "EMULATOR_MISSING" }));
  });

  test("IMAGE_UNUSABLE for a file that is not there, and for one that is no image", async () => {
    await expect(startEmulation({ eif: join(folder, "none") })).rejects.toMatchObject({ code: "IMAGE_UNUSABLE" });
    const broken = join(folder, "broken.eif");
    await writeFile(broken, "no image");
    await expect(measuredImage(broken)).rejects.toMatchObject({ code: "IMAGE_UNUSABLE" });
  });

  test("STOPPED for a start that was called off", async () => {
    await expect(startSimulator({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "STOPPED" });
  });
});

test("files are added as one ramdisk more, which moves PCR0 and PCR2 and leaves PCR1", async () => {
  const path = await smallImage();
  const before = (await measuredImage(path)).measurements;
  const extended = await extendImage(path, join(folder, "out.eif"), { files: { "etc/x": Buffer.from("x") } });
  expect((await measuredImage(extended.path)).measurements).toEqual(extended.measurements);
  expect(extended.measurements.PCR1).toBe(before.PCR1);
  expect(extended.measurements.PCR0).not.toBe(before.PCR0);
  expect(extended.measurements.PCR2).not.toBe(before.PCR2);
});

describe("the console's report", () => {
  test("takes init's steps and the enclave's phases, and nothing else for one", async () => {
    const report = new BootReport();
    for (const line of [
      "cloister-init: mounts 1020",
      "cloister-init: hwrng nsm-hwrng",
      "cloister-init: parent CID 2",
      "cloister-init: node exited with 7",
      "cloister: attested, waits for KMS_UNAVAILABLE 2000",
      "cloister: ready 3000\r",
    ])
      report.take(line);
    expect(report.phases.map(({ name, guestMs }) => [name, guestMs])).toEqual([
      ["mounts", 1020],
      ["ready", 3000],
    ]);
    expect(await report.result).toEqual({ kind: "ready" });
  });

  test("takes a failure with its code and message", async () => {
    const report = new BootReport();
    report.take("cloister: failed NSM_FAILED: Attestation: no document 1234");
    expect(await report.result).toEqual({ kind: "failed", code: "NSM_FAILED", message: "Attestation: no document" });
  });
});

test("the heartbeat is echoed once it is the right byte, and cut off if it is another", async () => {
  let beats = 0;
  const heartbeat = await serveHeartbeat(join(folder, "v"), () => (beats += 1));
  const send = (byte: number): Promise<Buffer> => {
    const socket = createConnection(join(folder, "v_9000"));
    socket.write(Uint8Array.of(byte));
    return buffer(socket);
  };
  expect([...(await send(0xb7))]).toEqual([0xb7]);
  expect([...(await send(0xb8))]).toEqual([]);
  expect(beats).toBe(1);
  await heartbeat.close();
});

test("the chain's file holds the leaf's key, the leaf, and the authorities with the root first", async () => {
  const pki = createNsmPki({ nowMs: Date.now });
  const leaf = pki.leafFor("i-0123456789abcdef0-enc0123456789abcdef");
  const file = join(folder, "chain.pem");
  await writeChain(file, leaf);
  const pem = await readFile(file, "latin1");
  const certificates = (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/g) ?? []).map(
    (text) => new X509Certificate(text),
  );
  expect(certificates).toHaveLength(5);
  const [first, root, ...rest] = certificates;
  expect(first?.checkPrivateKey(createPrivateKey(pem))).toBe(true);
  expect(Buffer.from(root?.raw ?? [])).toEqual(Buffer.from(pki.root.der));
  let issuer = root;
  for (const certificate of [...rest, first]) {
    expect(certificate?.checkIssued(issuer as X509Certificate)).toBe(true);
    issuer = certificate;
  }
});
