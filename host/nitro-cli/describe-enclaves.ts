/** What `nitro-cli describe-enclaves` and `run-enclave` print (nitro.md 6). */
import { z } from "../../protocol/index.ts";
import { HostError } from "../errors.ts";
import { type Measurements, parseMeasurements } from "./measurements.ts";

const described = z.array(
  z.object({
    EnclaveName: z.optional(z.nullable(z.string())),
    EnclaveID: z.string(),
    EnclaveCID: z.int(),
    NumberOfCPUs: z.int(),
    CPUIDs: z.array(z.int()),
    MemoryMiB: z.int(),
    State: z.string(),
    Flags: z.string(),
    Measurements: z.optional(z.nullable(z.unknown())),
  }),
);
const launched = z.object({ EnclaveID: z.string(), EnclaveCID: z.int() });

export interface RunningEnclave {
  /** Null: started by a nitro-cli from before names. */
  readonly name: string | null;
  readonly id: string;
  readonly cid: number;
  readonly cpuIds: readonly number[];
  readonly memoryMib: number;
  /** `RUNNING`, `TERMINATING` or `EMPTY`. */
  readonly state: string;
  readonly isDebug: boolean;
  /** Null: not told, as by older ones. */
  readonly measurements: Measurements | null;
}

/** @throws {@link HostError} `NITRO_CLI_FAILED` */
export function parseDescribeEnclaves(stdout: string): RunningEnclave[] {
  return parse(stdout, described).map((one) => ({
    name: one.EnclaveName ?? null,
    id: one.EnclaveID,
    cid: one.EnclaveCID,
    cpuIds: one.CPUIDs,
    memoryMib: one.MemoryMiB,
    state: one.State,
    // Whatever is not said to be none: a flag that comes later must not pass for harmless.
    isDebug: one.Flags !== "NONE",
    measurements: measurementsOf(one.Measurements),
  }));
}

/** @throws {@link HostError} `NITRO_CLI_FAILED` */
export function parseRunEnclave(stdout: string): { readonly id: string; readonly cid: number } {
  const { EnclaveID, EnclaveCID } = parse(stdout, launched);
  return { id: EnclaveID, cid: EnclaveCID };
}

function measurementsOf(value: unknown): Measurements | null {
  if (value === undefined || value === null) return null;
  try {
    return parseMeasurements(new TextEncoder().encode(JSON.stringify({ Measurements: value })));
  } catch {
    return null;
  }
}

function parse<Value>(stdout: string, schema: { parse(value: unknown): Value }): Value {
  try {
    return schema.parse(JSON.parse(stdout));
  } catch (cause) {
    throw new HostError("NITRO_CLI_FAILED", "its output is not what nitro-cli prints", { cause });
  }
}
