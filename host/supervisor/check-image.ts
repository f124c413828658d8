/** Before a start: is this the image that the key policy admits, and does it fit? */
import { HostError } from "../errors.ts";
import type { EnclaveConfig } from "../nitro-cli/enclave-config.ts";
import { differingPcrs, type Measurements } from "../nitro-cli/measurements.ts";
import { neededMemoryMib } from "../nitro-cli/sizing.ts";

export interface MeasuredImage {
  readonly sizeBytes: number;
  readonly measurements: Measurements;
}

/** Computes what the hypervisor will measure. @throws {@link HostError} `IMAGE_UNREADABLE` */
export type MeasureImage = (path: string) => Promise<MeasuredImage>;

/**
 * Saves a start that could only end in `KMS_ACCESS_DENIED` or in a boot that fails without a word. It protects nothing:
 * what keeps another image from the vault is the key policy.
 *
 * @throws {@link HostError} `MEASUREMENTS_DIFFER`, `MEMORY_TOO_SMALL`
 */
export function checkImage(image: MeasuredImage, expected: Measurements, { eifPath, memoryMib }: EnclaveConfig): void {
  const differing = differingPcrs(image.measurements, expected);
  if (differing.length > 0) {
    throw new HostError("MEASUREMENTS_DIFFER", `${eifPath} is not the image expected: ${differing.join(", ")} differ`);
  }
  const needed = neededMemoryMib(image.sizeBytes);
  if (memoryMib < needed) {
    throw new HostError(
      "MEMORY_TOO_SMALL",
      `memory_mib is ${memoryMib}; ${eifPath} needs ${needed}, four times its size`,
    );
  }
}
