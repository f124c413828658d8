/** Signs an image, or signs it anew: every section is copied, and the table is written from what was copied. */
import { bytesSource } from "./byte-source.ts";
import { EifError, type EifErrorCode } from "./errors.ts";
import { SIGNATURE_SINCE_VERSION } from "./format.ts";
import { type Measurements, Measurer, measurementsOf } from "./measure.ts";
import { inspectEif, type ReadOptions } from "./read-eif.ts";
import { signPcr0 } from "./sign-pcr0.ts";
import type { EifSigner } from "./signer.ts";
import { atomically, SectionWriter } from "./write-eif.ts";

/** What a new signature mends, since the old one is not copied. */
const MENDED: ReadonlySet<EifErrorCode> = new Set<EifErrorCode>([
  "STALE_SIGNATURE_SIZE",
  "SIGNATURE_MALFORMED",
  "CERTIFICATE_MALFORMED",
]);

/**
 * What is signed is the PCR0 of the bytes that were copied to `out`, not of an earlier reading.
 *
 * @param out - May be the image itself: it is replaced at the end, at once.
 * @throws {@link EifError} what `readEif` and the signer throw; `UNSUPPORTED_VERSION` below 3, which had no signature;
 * `TOO_MANY_SECTIONS` where there is no room for one.
 */
export async function signEif(
  path: string,
  out: string,
  signer: EifSigner,
  options: ReadOptions = {},
): Promise<Measurements> {
  const eif = await inspectEif(path);
  const problem = eif.problems.find(({ code }) => !MENDED.has(code));
  if (problem !== undefined) throw problem;
  if (eif.header.version < SIGNATURE_SINCE_VERSION) {
    throw new EifError("UNSUPPORTED_VERSION", `version ${eif.header.version} images cannot be signed`);
  }
  return atomically(out, async (file) => {
    const writer = new SectionWriter(file);
    const measurer = new Measurer();
    let done = 0;
    for (const section of eif.sections) {
      const { type } = section;
      if (type === "signature") continue;
      const isMeasured = type !== "metadata";
      if (isMeasured) measurer.begin(type);
      await writer.section(type, eif.source(section), (chunk) => {
        if (isMeasured) measurer.update(chunk);
        done += chunk.length;
        options.onProgress?.(done, eif.sizeBytes);
      });
    }
    const pcrs = measurer.finish();
    const { section, pcr8 } = await signPcr0(pcrs.pcr0, signer);
    await writer.section("signature", bytesSource(section));
    await writer.finish(eif.header);
    return measurementsOf(pcrs, pcr8);
  });
}
