/** An enclave as the very image that EC2 would run, booted by QEMU's nitro-enclave machine. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pcr3OfRoleArn, pcr4OfInstanceId } from "../../attestation/index.ts";
import type { EifSigner, Measurements } from "../../eif/index.ts";
import { decodeHex } from "../../protocol/index.ts";
import type { ProcessEvent } from "../child-process.ts";
import type { EnclaveSite, EnclaveSource, PreparedEnclave, RunningEnclave } from "../enclave-source.ts";
import { BootReport } from "./boot-report.ts";
import {
  configurationFiles,
  type ExtraFiles,
  extendImage,
  type MeasuredImage,
  measuredImage,
} from "./configured-image.ts";
import { findEmulator } from "./emulator.ts";
import { serveHeartbeat } from "./heartbeat.ts";
import { Machine } from "./machine.ts";
import { keepChainFile } from "./nsm-chain.ts";

/** Under software emulation, on a machine that does other work besides. */
const BOOT_TIMEOUT_MS = 240_000;

export interface MachineEnclaveOptions {
  readonly eif: string;
  readonly memoryMiB: number;
  /** Boot the file as it is, without the simulated deployment's manifest. */
  readonly asIs?: boolean;
  /** False: documents stay as unsigned as QEMU leaves them. */
  readonly signsDocuments?: boolean;
  readonly onConsole?: (line: string) => void;
  /** The heartbeat of a boot was answered. */
  readonly onHeartbeat?: () => void;
  /** More files over the image's own, beside the configuration. */
  readonly extraFiles?: ExtraFiles;
  /** Signs the image that boots, which gives it a PCR8. */
  readonly signer?: EifSigner;
  /** Boots the file that this makes of the measured one, in its place: what a parent might try. */
  readonly bootInstead?: (image: MeasuredImage) => Promise<string>;
  /** Takes the image that will boot. */
  readonly onImage?: (image: MeasuredImage) => void;
  /** Takes each boot's report as it begins, and the socket to the guest. */
  readonly onBoot?: (report: BootReport, vsockPath: string) => void;
}

export function enclaveMachine(options: MachineEnclaveOptions): EnclaveSource {
  const { signsDocuments = true, memoryMiB, onConsole, onHeartbeat, onBoot } = options;
  return {
    async prepare(site: EnclaveSite): Promise<PreparedEnclave> {
      const { runFolder, nsmPki, moduleId, instanceId, roleArn, log, cleanup } = site;
      const emulator = findEmulator();
      const image = await imageFor(options, site);
      options.onImage?.(image);
      const eif = (await options.bootInstead?.(image)) ?? image.path;
      const chainFile = signsDocuments ? join(runFolder, "nsm-chain.pem") : null;
      if (chainFile !== null) cleanup.defer(await keepChainFile(chainFile, nsmPki, moduleId));
      let heartbeat: { close(): Promise<void> } | undefined;
      cleanup.defer(() => heartbeat?.close());
      return {
        pcrs: await registersOf(image.measurements, { roleArn, instanceId }),
        hasOwnManifest: options.asIs === true,
        async boot(vsockPath) {
          heartbeat ??= await serveHeartbeat(vsockPath, () => onHeartbeat?.());
          const report = new BootReport();
          onBoot?.(report, vsockPath);
          const machine = await Machine.start({
            ...{
              emulator,
              eif,
              memoryMiB,
              moduleId,
              instanceId,
              roleArn,
              chainFile,
              vsockPath,
              runFolder,
              log,
            },
            onConsole(line) {
              report.take(line);
              onConsole?.(line);
            },
          });
          return runningMachine(machine, report);
        },
      };
    },
  };
}

async function imageFor(options: MachineEnclaveOptions, site: EnclaveSite): Promise<MeasuredImage> {
  const { eif, asIs = false, extraFiles = {}, signer } = options;
  if (asIs) return measuredImage(eif);
  const files = { ...configurationFiles(site), ...extraFiles };
  return extendImage(eif, join(site.runFolder, "image.eif"), { files, ...(signer === undefined ? {} : { signer }) });
}

/** PCR3 and PCR4 come from the machine, the others from the image. */
async function registersOf(
  { PCR0, PCR1, PCR2, PCR8 }: Measurements,
  { roleArn, instanceId }: { readonly roleArn: string; readonly instanceId: string },
): Promise<Map<number, Uint8Array>> {
  const pcrs = new Map<number, Uint8Array>(
    [PCR0, PCR1, PCR2].map((value, index) => [index, decodeHex(value)] as const),
  );
  pcrs.set(3, await pcr3OfRoleArn(roleArn)).set(4, await pcr4OfInstanceId(instanceId));
  return PCR8 === undefined ? pcrs : pcrs.set(8, decodeHex(PCR8));
}

function runningMachine(machine: Machine, report: BootReport): RunningEnclave {
  const failed = (code: string, message: string): ProcessEvent => ({ event: "failed", code, message });
  const outcome = Promise.race([
    report.result.then((result) =>
      result.kind === "ready" ? { event: "ready" } : failed(result.code, result.message),
    ),
    // The end of a guest is the end of QEMU, and its reason is on the console.
    machine.ended().then((words) => failed("MACHINE_ENDED", words)),
    sleep(BOOT_TIMEOUT_MS, undefined, { ref: false }).then(() =>
      failed("BOOT_TIMEOUT", `no word of readiness; the console's last lines:\n${report.lines.join("\n")}`),
    ),
  ]);
  return {
    pid: machine.pid,
    ended: () => machine.ended(),
    outcome: () => outcome,
    stop: () => machine.stop(),
    kill: () => machine.stop(),
  };
}
