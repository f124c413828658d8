/** The whole of Cloister on one machine, with the enclave as its image, booted by QEMU. */
import { existsSync } from "node:fs";
import { SimulatorError } from "../errors.ts";
import { type Simulator, type SimulatorOptions, startAround } from "../start-simulator.ts";
import type { BootReport } from "./boot-report.ts";
import type { MeasuredImage } from "./configured-image.ts";
import { enclaveMachine, type MachineEnclaveOptions } from "./enclave-as-machine.ts";

export const DEFAULT_EIF = "dist/cloister.eif";
/** Enough to unpack the image and to serve; `make bench-emulated` looks for the least. */
export const DEFAULT_MEMORY_MIB = 512;

export type EmulationOptions = SimulatorOptions & Partial<MachineEnclaveOptions>;

/** A simulator whose clock is the machine's: QEMU's NSM has no other. */
export interface Emulation extends Omit<Simulator, "advanceClock"> {
  /** The file that boots, and what was predicted for it. */
  readonly image: MeasuredImage;
  /** Of the boot that runs now. */
  readonly bootReport: BootReport;
  /** The socket to the guest, in the form of `vsock/unix-socket.ts`. */
  readonly vsockPath: string;
}

/**
 * Boots the image and runs parent, KMS and issuer around it. Without {@link MachineEnclaveOptions.asIs} it boots the
 * image with a configuration ramdisk added, as `cloister eif build --manifest` would.
 *
 * @throws {@link SimulatorError} `EMULATOR_MISSING`, `IMAGE_UNUSABLE`, `ENCLAVE_FAILED` with the reason from the console,
 *   and what a simulator's start throws; whatever had been started by then is stopped.
 */
export async function startEmulation(options: EmulationOptions = {}): Promise<Emulation> {
  const { eif = DEFAULT_EIF, memoryMiB = DEFAULT_MEMORY_MIB } = options;
  if (!existsSync(eif)) throw new SimulatorError("IMAGE_UNUSABLE", `there is no ${eif}: "make eif" makes one`);
  const seen: Partial<Pick<Emulation, "image" | "bootReport" | "vsockPath">> & object = {};
  const source = enclaveMachine({
    ...options,
    ...{ eif, memoryMiB },
    onImage(image) {
      Object.assign(seen, { image });
      options.onImage?.(image);
    },
    onBoot(bootReport, vsockPath) {
      Object.assign(seen, { bootReport, vsockPath });
      options.onBoot?.(bootReport, vsockPath);
    },
  });
  const simulator = await startAround(source, options);
  return Object.defineProperties(simulator as Simulator & Emulation, {
    image: { get: () => seen.image },
    bootReport: { get: () => seen.bootReport },
    vsockPath: { get: () => seen.vsockPath },
  });
}
