/** What nitro-cli and `cloister eif` print of an image: `{"Measurements": {"PCR0": "…", …}}`. */
import { z } from "../../protocol/index.ts";
import { HostError } from "../errors.ts";

const pcr = z.string().check(z.regex(/^[0-9A-Fa-f]{96}$/, "expected 96 hex digits"));
const file = z.object({
  Measurements: z.object({ PCR0: pcr, PCR1: pcr, PCR2: pcr, PCR8: z.optional(pcr) }),
});

/** Lower-case hex. PCR8 is there for a signed image. */
export interface Measurements {
  readonly PCR0: string;
  readonly PCR1: string;
  readonly PCR2: string;
  readonly PCR8?: string;
}

/** @throws {@link HostError} `MEASUREMENTS_INVALID` */
export function parseMeasurements(bytes: Uint8Array): Measurements {
  try {
    const { Measurements } = file.parse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
    const { PCR0, PCR1, PCR2, PCR8 } = Measurements;
    return {
      PCR0: PCR0.toLowerCase(),
      PCR1: PCR1.toLowerCase(),
      PCR2: PCR2.toLowerCase(),
      ...(PCR8 === undefined ? {} : { PCR8: PCR8.toLowerCase() }),
    };
  } catch (cause) {
    throw new HostError(
      "MEASUREMENTS_INVALID",
      'expected {"Measurements": {"PCR0", "PCR1", "PCR2"}} of 96 hex digits',
      {
        cause,
      },
    );
  }
}

/** The registers that differ. An image whose signature was not foreseen differs in PCR8. */
export function differingPcrs(one: Measurements, other: Measurements): string[] {
  const names = ["PCR0", "PCR1", "PCR2", "PCR8"] as const;
  return names.filter((name) => one[name] !== other[name]);
}
