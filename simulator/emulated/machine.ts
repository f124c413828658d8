/** One boot of an image: QEMU's nitro-enclave machine, and the device that carries its AF_VSOCK to unix sockets. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Child } from "../child-process.ts";
import { SimulatorError } from "../errors.ts";
import type { Emulator } from "./emulator.ts";

/** Any but 0 to 2, which have meanings of their own; the parent speaks to the socket, not to the CID. */
const GUEST_CID = 4;
/**
 * With the device's own default of 64 KiB what a guest writes to the parent hangs for ever: it refuses descriptors that
 * are shorter than the buffer.
 */
const TX_BUFFER_BYTES = 16_384;
/**
 * emulator/patches/0002: a guest that has to measure its processor's clock errs on a busy host, and time runs slow in it.
 */
const CLOCK = "tsc=reliable tsc_early_khz=1000000";
/** Everything that QEMU can emulate but what is slower emulated than done without: wide vectors, for one. */
const PROCESSOR = "max,-avx,-avx2,-bmi1,-bmi2,-erms,-fsrm";
const DEVICE_TIMEOUT_MS = 10_000;

export interface MachineOptions {
  readonly emulator: Emulator;
  /** The image's file. */
  readonly eif: string;
  readonly memoryMiB: number;
  readonly moduleId: string;
  readonly instanceId: string;
  readonly roleArn: string;
  /** Who signs attestation documents, as emulator/patches/ reads it; null: nobody, and no verifier will take them. */
  readonly chainFile: string | null;
  /** The guest's sockets: itself for streams to the guest, `_<port>` added for streams from it. */
  readonly vsockPath: string;
  /** For the sockets and temporary files of the two programs. */
  readonly runFolder: string;
  readonly log: (line: string) => void;
  readonly onConsole: (line: string) => void;
}

export class Machine {
  readonly #device: Child;
  readonly #qemu: Child;
  readonly startedAt = performance.now();

  private constructor(device: Child, qemu: Child) {
    this.#device = device;
    this.#qemu = qemu;
    // Neither is of use without the other.
    void device.exited.then(() => qemu.kill());
    void qemu.exited.then(() => device.kill());
  }

  /** @throws {@link SimulatorError} `PROCESS_FAILED` with the device's last words, `PROCESS_TIMEOUT` */
  static async start(options: MachineOptions): Promise<Machine> {
    const { runFolder, vsockPath, log, onConsole } = options;
    const deviceSocket = join(runFolder, "vhost");
    // What a machine before this one left behind.
    for (const socket of [deviceSocket, vsockPath]) await rm(socket, { force: true });
    const env = { ...process.env, TMPDIR: runFolder };
    const device = new Child({
      name: "vhost-device-vsock",
      command: dyingWithUs([
        options.emulator.vhostDeviceVsock,
        "--vm",
        `guest-cid=${GUEST_CID},socket=${deviceSocket},uds-path=${vsockPath},tx-buffer-size=${TX_BUFFER_BYTES}`,
      ]),
      ...{ env, log },
    });
    try {
      await appears(deviceSocket, device);
    } catch (error) {
      await device.kill();
      throw error;
    }
    const command = dyingWithUs([options.emulator.qemu, ...qemuArguments(options, deviceSocket)]);
    return new Machine(device, new Child({ name: "QEMU", command, env, log, onLine: onConsole }));
  }

  get pid(): number | undefined {
    return this.#qemu.pid;
  }

  /** Settles when the machine is off, with the last lines of its console. */
  async ended(): Promise<string> {
    await this.#qemu.exited;
    // Which of the two went first: one that was killed only followed.
    const isDevices = !this.#device.isRunning && this.#qemu.wasKilled;
    return isDevices ? this.#device.lastWords : this.#qemu.lastWords;
  }

  /** An enclave has no other end than this: nothing inside is told. */
  async stop(): Promise<void> {
    await this.#qemu.kill();
    await this.#device.kill();
  }
}

function qemuArguments(options: MachineOptions, deviceSocket: string): string[] {
  const { emulator, eif, memoryMiB, moduleId, instanceId, roleArn, chainFile } = options;
  return [
    ...["-L", emulator.firmware, "-accel", "tcg", "-cpu", PROCESSOR, "-smp", "1", "-m", `${memoryMiB}M`],
    ...["-M", `nitro-enclave,vsock=c,id=${moduleId},parent-role=${roleArn},parent-id=${instanceId}`],
    ...["-chardev", `socket,id=c,path=${deviceSocket}`],
    ...(chainFile === null ? [] : ["-global", `virtio-nsm-device.pki=${chainFile}`]),
    // Never -initrd: what it adds is in no image. What -append adds stands behind the image's own command line, is not
    // measured, and says of the machine what a processor would: the rate of its clock.
    ...["-kernel", eif, "-append", CLOCK],
    ...["-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"],
  ];
}

/** These programs do not notice that their standard input ended; util-linux can have the kernel see to it. */
function dyingWithUs(command: [string, ...string[]]): [string, ...string[]] {
  return hasSetpriv() ? ["setpriv", "--pdeathsig", "KILL", "--", ...command] : command;
}

let setpriv: boolean | undefined;
function hasSetpriv(): boolean {
  setpriv ??= spawnSync("setpriv", ["--pdeathsig", "KILL", "--", "true"]).status === 0;
  return setpriv;
}

async function appears(socket: string, maker: Child): Promise<void> {
  const deadline = performance.now() + DEVICE_TIMEOUT_MS;
  while (!existsSync(socket)) {
    if (!maker.isRunning) throw new SimulatorError("PROCESS_FAILED", maker.lastWords);
    if (performance.now() > deadline) throw new SimulatorError("PROCESS_TIMEOUT", `no socket ${socket} appears`);
    await sleep(10);
  }
}
