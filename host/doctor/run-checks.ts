/** Runs every check, whatever the others do, and each within its time. */
import {
  CHECK_IDS,
  type Check,
  type CheckId,
  type Finding,
  failure,
  NotChecked,
  type Result,
  skipped,
} from "./check.ts";
import { checkAllocator, checkCpus, checkHugepages } from "./checks/allocation.ts";
import { checkClock, checkCredentials, checkImds } from "./checks/aws.ts";
import { checkCid, checkEnclave, checkHeartbeatPort, checkVhostVsock } from "./checks/enclave.ts";
import { checkDisk, checkPermissions, checkRecords } from "./checks/files.ts";
import { checkEnclaveConfig, checkImage, checkImageMemory } from "./checks/image.ts";
import { checkDevice, checkInstance, checkNitroCli, checkUsers } from "./checks/instance.ts";
import { checkKeyPolicy } from "./checks/key-policy.ts";
import { checkEgress, checkParent, checkParentConfig } from "./checks/parent.ts";
import type { Context } from "./context.ts";
import { FactError } from "./facts.ts";

const CHECK_TIMEOUT_MS = 30_000;

const CHECKS: Readonly<Record<CheckId, Check>> = {
  instance: checkInstance,
  "enclave-device": checkDevice,
  "nitro-cli": checkNitroCli,
  users: checkUsers,
  allocator: checkAllocator,
  cpus: checkCpus,
  hugepages: checkHugepages,
  "enclave-config": checkEnclaveConfig,
  image: checkImage,
  "image-memory": checkImageMemory,
  enclave: checkEnclave,
  cid: checkCid,
  "heartbeat-port": checkHeartbeatPort,
  "vhost-vsock": checkVhostVsock,
  "parent-config": checkParentConfig,
  parent: checkParent,
  egress: checkEgress,
  records: checkRecords,
  disk: checkDisk,
  permissions: checkPermissions,
  imds: checkImds,
  credentials: checkCredentials,
  "key-policy": checkKeyPolicy,
  clock: checkClock,
};

export interface DoctorOptions {
  readonly timeoutMs?: number;
  /** Tests add checks of their own. */
  readonly checks?: Readonly<Record<CheckId, Check>>;
}

/** All at once; the answer is in the order of {@link CHECK_IDS}. Never rejects. */
export async function runChecks(context: Context, options: DoctorOptions = {}): Promise<Finding[]> {
  const { timeoutMs = CHECK_TIMEOUT_MS, checks = CHECKS } = options;
  const found = await Promise.all(
    CHECK_IDS.map(async (check) => {
      const results = await within(timeoutMs, () => checks[check](context)).catch(resultOf);
      return [results].flat().map((result) => ({ check, ...result }));
    }),
  );
  return found.flat();
}

async function within<Value>(timeoutMs: number, work: () => Promise<Value>): Promise<Value> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new FactError("TIMED_OUT", `no answer within ${timeoutMs} ms`)), timeoutMs);
  try {
    return await Promise.race([work(), late]);
  } finally {
    clearTimeout(timer);
  }
}

function resultOf(error: unknown): Result {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof NotChecked) return skipped(message);
  if (!(error instanceof FactError)) {
    return failure(`the check could not be made: ${message}`, "tell the project, with the output of --json");
  }
  switch (error.code) {
    case "DENIED":
      return skipped(`not for this user: ${message}`, "run the doctor as root to have this checked");
    case "ABSENT":
      return skipped(`${message} is not there`);
    case "TIMED_OUT":
    case "FAILED":
      return failure(message, "run the doctor again; if it stays so, look at what it waits for");
  }
}
