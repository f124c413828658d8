/** The 32 registers of one module: extended by whoever asks, locked for good (nitro.md 2.4). */
import { createHash } from "node:crypto";
import { NsmSimulatorError } from "./errors.ts";
import type { NsmErrorCode } from "./messages.ts";

export const PCR_COUNT = 32;
/** 0 to 15 are locked when an enclave boots. */
const BOOT_LOCKED = 16;
const PCR_BYTES = 48;

interface Register {
  readonly value: Uint8Array;
  readonly locked: boolean;
}

export class PcrBank {
  readonly #registers: Register[];

  /** @throws {@link NsmSimulatorError} `INVALID_PCR` */
  constructor(measured: ReadonlyMap<number, Uint8Array>) {
    for (const [index, value] of measured) {
      if (!Number.isInteger(index) || index < 0 || index >= PCR_COUNT || value.length !== PCR_BYTES) {
        throw new NsmSimulatorError(
          "INVALID_PCR",
          `expected PCRs 0 to 31 of 48 bytes, got PCR${index} of ${value.length}`,
        );
      }
    }
    this.#registers = Array.from({ length: PCR_COUNT }, (_, index) => ({
      value: Uint8Array.from(measured.get(index) ?? new Uint8Array(PCR_BYTES)),
      locked: index < BOOT_LOCKED,
    }));
  }

  describe(index: number): Register | NsmErrorCode {
    return this.#registers[index] ?? "InvalidIndex";
  }

  /** SHA-384(old ‖ data). */
  extend(index: number, data: Uint8Array): Uint8Array | NsmErrorCode {
    const register = this.#registers[index];
    if (register === undefined) return "InvalidIndex";
    if (register.locked) return "ReadOnlyIndex";
    const value = createHash("sha384").update(register.value).update(data).digest();
    this.#registers[index] = { value, locked: false };
    return value;
  }

  /** A second lock is an error; which one hardware gives is not known, so this is QEMU's. */
  lock(index: number): NsmErrorCode | null {
    const register = this.#registers[index];
    if (register === undefined) return "InvalidIndex";
    if (register.locked) return "ReadOnlyIndex";
    this.#registers[index] = { ...register, locked: true };
    return null;
  }

  /** Locks every index below `range`, those locked already included. */
  lockBelow(range: number): NsmErrorCode | null {
    if (range > PCR_COUNT) return "InvalidIndex";
    for (const [index, register] of this.#registers.entries()) {
      if (index < range) this.#registers[index] = { ...register, locked: true };
    }
    return null;
  }

  /** In order of index. */
  all(): ReadonlyMap<number, Uint8Array> {
    return new Map(this.#registers.map(({ value }, index) => [index, Uint8Array.from(value)]));
  }

  /** What documents list. */
  locked(): ReadonlyMap<number, Uint8Array> {
    return new Map([...this.all()].filter(([index]) => this.#registers[index]?.locked === true));
  }
}
