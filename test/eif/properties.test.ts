/** Whatever is written is read back the same, and measured as the definition says. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { bytesSource, type JsonValue, readEif, writeEif } from "../../eif/index.ts";
import { image, pcr, piece } from "./images.ts";

const folder = mkdtempSync(join(tmpdir(), "cloister-eif-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const bytes = (minLength: number) => fc.uint8Array({ minLength, maxLength: 200 });
const parts = fc.record({
  architecture: fc.constantFrom("x86_64" as const, "aarch64" as const),
  kernel: bytes(1),
  cmdline: fc.string({
    minLength: 1,
    maxLength: 100,
    unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
  }),
  ramdisks: fc.array(bytes(0), { minLength: 1, maxLength: 28 }),
  metadata: fc.record({
    imageName: fc.string({ unit: "binary" }),
    imageVersion: fc.string(),
    build: fc.record({
      time: fc.string(),
      tool: fc.string(),
      toolVersion: fc.string(),
      operatingSystem: fc.string(),
      kernelVersion: fc.string(),
    }),
    dockerInfo: fc.constant(null),
    customMetadata: fc.jsonValue() as fc.Arbitrary<JsonValue>,
  }),
});

test("build, then read: the same, and nothing to complain of", async () => {
  const out = join(folder, "out.eif");
  await fc.assert(
    fc.asyncProperty(parts, async ({ kernel, ramdisks, ...rest }) => {
      const sources = { kernel: bytesSource(kernel), ramdisks: ramdisks.map(bytesSource) };
      const measurements = await writeEif(out, { ...rest, ...sources });
      const eif = await readEif(out);
      expect(eif.measurements).toEqual(measurements);
      expect(measurements).toMatchObject({
        PCR0: pcr(kernel, rest.cmdline, ...ramdisks),
        PCR1: pcr(kernel, rest.cmdline, ramdisks[0] ?? ""),
        PCR2: pcr(...ramdisks.slice(1)),
      });
      expect(eif.cmdline).toBe(rest.cmdline);
      // JSON has no -0.
      expect(eif.metadata).toEqual(JSON.parse(JSON.stringify(rest.metadata)));
      // The other writer of these tests comes to the same bytes.
      const metadata = eif.metadataBytes ?? new Uint8Array();
      const pieces = [
        piece("kernel", kernel),
        piece("cmdline", rest.cmdline),
        piece("metadata", metadata),
        ...ramdisks.map((data) => piece("ramdisk", data)),
      ];
      const flags = rest.architecture === "aarch64" ? 1 : 0;
      expect(Buffer.compare(readFileSync(out), image(pieces, { flags }))).toBe(0);
    }),
    { numRuns: 100 },
  );
});
