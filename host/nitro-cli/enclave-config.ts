/** enclave.json: what `nitro-cli run-enclave --config` takes (nitro.md 6), and less than it takes. */
import { describeIssues, parseStrictJson, z } from "../../protocol/index.ts";
import { HostError } from "../errors.ts";

/** Enclave CIDs: 0 to 3 and 2^32 − 1 are taken (nitro.md 5.1). */
const MIN_ENCLAVE_CID = 4;
const MAX_ENCLAVE_CID = 0xffff_fffe;

const config = z.strictObject({
  enclave_name: z.string().check(z.regex(/^[A-Za-z0-9_-]{1,64}$/, "expected letters, digits, _ and -")),
  /** A count, not `cpu_ids`: the allocator chooses which. */
  cpu_count: z.int().check(z.minimum(1), z.maximum(1024)),
  memory_mib: z.int().check(z.minimum(64), z.maximum(4 * 1024 * 1024)),
  eif_path: z.string().check(z.regex(/^\/[^\0]*$/, "expected an absolute path")),
  /** Given, not left to nitro-cli: the parent's configuration names it. */
  enclave_cid: z.int().check(z.minimum(MIN_ENCLAVE_CID), z.maximum(MAX_ENCLAVE_CID)),
  debug_mode: z.optional(z.boolean()),
  attach_console: z.optional(z.boolean()),
});

export interface EnclaveConfig {
  readonly name: string;
  readonly cpuCount: number;
  readonly memoryMib: number;
  readonly eifPath: string;
  readonly enclaveCid: number;
}

/** @throws {@link HostError} `CONFIG_INVALID`; `DEBUG_MODE`, also for `attach_console`, which implies it. */
export function parseEnclaveConfig(bytes: Uint8Array): EnclaveConfig {
  let value: unknown;
  try {
    value = parseStrictJson(bytes);
  } catch (cause) {
    throw new HostError("CONFIG_INVALID", (cause as Error).message, { cause });
  }
  const parsed = config.safeParse(value);
  if (!parsed.success) throw new HostError("CONFIG_INVALID", describeIssues(parsed.error, "the file"));
  const { enclave_name, cpu_count, memory_mib, eif_path, enclave_cid, debug_mode, attach_console } = parsed.data;
  if (debug_mode === true || attach_console === true) {
    throw new HostError("DEBUG_MODE", "debug_mode and attach_console make an enclave whose PCRs are zeros");
  }
  return {
    name: enclave_name,
    cpuCount: cpu_count,
    memoryMib: memory_mib,
    eifPath: eif_path,
    enclaveCid: enclave_cid,
  };
}
