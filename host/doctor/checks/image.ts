/** enclave.json and the image that it names. */
import { HostError } from "../../errors.ts";
import { differingPcrs } from "../../nitro-cli/measurements.ts";
import { neededMemoryMib } from "../../nitro-cli/sizing.ts";
import { type Check, failure, ok, skipped } from "../check.ts";
import { FactError } from "../facts.ts";

export const checkEnclaveConfig: Check = async ({ enclaveConfig, paths }) => {
  try {
    const { name, cpuCount, memoryMib, enclaveCid } = await enclaveConfig();
    return ok(`${name}: ${cpuCount} CPUs, ${memoryMib} MiB, CID ${enclaveCid}, no debug`);
  } catch (error) {
    if (error instanceof FactError && error.code === "ABSENT") {
      return failure(`${paths.enclaveConfig} is not there`, "run deploy/install.sh, then fill it in");
    }
    if (!(error instanceof HostError)) throw error;
    return failure(`${error.code}: ${error.message}`, `correct ${paths.enclaveConfig}`);
  }
};

export const checkImage: Check = async (context) => {
  const { eifPath } = await context.needed(context.enclaveConfig, "enclave.json");
  const found = await context.image().catch((error: unknown) => {
    if (error instanceof HostError) return error;
    throw error;
  });
  if (found instanceof HostError) return failure(`${found.code}: ${found.message}`, `put the image at ${eifPath}`);
  const expected = await context.measurements().catch((error: unknown) => {
    if (error instanceof FactError && error.code === "ABSENT") return null;
    if (error instanceof HostError) return error;
    throw error;
  });
  if (expected instanceof HostError) {
    return failure(`${expected.code}: ${expected.message}`, `correct ${context.paths.measurements}`);
  }
  if (expected === null) {
    return failure(
      `${context.paths.measurements} is not there; the image's PCR0 is ${found.measurements.PCR0}`,
      "put there what the build of the image wrote, not what this machine computes",
    );
  }
  const differing = differingPcrs(found.measurements, expected);
  if (differing.length > 0) {
    return failure(
      `${eifPath} is not the image expected: ${differing.join(", ")} differ; its PCR0 is ${found.measurements.PCR0}`,
      "put image and measurements.json of one build; if nobody replaced them, find out who did",
    );
  }
  return ok(`PCR0 ${expected.PCR0}`);
};

export const checkImageMemory: Check = async (context) => {
  const { memoryMib } = await context.needed(context.enclaveConfig, "enclave.json");
  const image = await context.image().catch(() => null);
  if (image === null) return skipped("the image cannot be measured; see image");
  const needed = neededMemoryMib(image.sizeBytes);
  if (memoryMib >= needed) return ok(`${memoryMib} MiB, the image needs ${needed}`);
  return failure(
    `memory_mib is ${memoryMib}, the image needs ${needed}: four times its size`,
    `raise memory_mib in ${context.paths.enclaveConfig} and in ${context.paths.allocator}`,
  );
};
