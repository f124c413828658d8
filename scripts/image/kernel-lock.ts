/** What eif/kernel/kernel.lock.json holds. */
import type { DebianPackage } from "./debian.ts";

export interface KernelLock {
  readonly snapshot: string;
  /** Debian's source package of the kernel: a tar file in a .deb. */
  readonly source: DebianPackage;
}

export const KERNEL_LOCK = "eif/kernel/kernel.lock.json";
