/** What the hypervisor measures of an image, computed while its bytes go by (nitro.md 1.6). */
import { createHash, type Hash } from "node:crypto";

export const PCR_BYTES = 48;

/** As nitro-cli prints them: names and order are its own, values are lower-case hex. */
export interface Measurements {
  readonly HashAlgorithm: string;
  readonly PCR0: string;
  readonly PCR1: string;
  readonly PCR2: string;
  /** Of the signing certificate; absent where the image is not signed. */
  readonly PCR8?: string;
}

/** How nitro-cli's hasher prints itself. Others print it otherwise: never compare it. */
const HASH_ALGORITHM = "Sha384 { ... }";

/** One extension of a zero register by the digest that was computed. */
function pcrOfDigest(digest: Uint8Array): Uint8Array {
  return createHash("sha384").update(new Uint8Array(PCR_BYTES)).update(digest).digest();
}

export function pcrOfBytes(bytes: Uint8Array): Uint8Array {
  return pcrOfDigest(createHash("sha384").update(bytes).digest());
}

type Measured = "kernel" | "cmdline" | "ramdisk";

export interface Pcrs {
  readonly pcr0: Uint8Array;
  readonly pcr1: Uint8Array;
  readonly pcr2: Uint8Array;
}

/**
 * Takes the data of kernel, command line and ramdisks in the order of the file. PCR1 begins as PCR0 does and is split off
 * by copying the state, so what both cover is hashed once; only the ramdisks after the first are hashed twice, since
 * PCR2 begins where PCR0 has already taken bytes.
 */
export class Measurer {
  readonly #image: Hash = createHash("sha384");
  readonly #application: Hash = createHash("sha384");
  /** Null while it is the same as the image's. */
  #boot: Hash | null = null;
  #ramdisks = 0;
  #isApplication = false;

  /** Before the data of each section that is measured. */
  begin(type: Measured): void {
    if (type === "ramdisk") this.#ramdisks += 1;
    this.#isApplication = type === "ramdisk" && this.#ramdisks > 1;
    if (this.#isApplication) this.#boot ??= this.#image.copy();
  }

  update(chunk: Uint8Array): void {
    this.#image.update(chunk);
    if (this.#isApplication) this.#application.update(chunk);
    // Kernel or command line after the second ramdisk: AWS's writer does not do that, its reader takes it.
    else this.#boot?.update(chunk);
  }

  /** Ends the measurement; there is no more after it. */
  finish(): Pcrs {
    const boot = this.#boot ?? this.#image.copy();
    return {
      pcr0: pcrOfDigest(this.#image.digest()),
      pcr1: pcrOfDigest(boot.digest()),
      pcr2: pcrOfDigest(this.#application.digest()),
    };
  }
}

export function measurementsOf({ pcr0, pcr1, pcr2 }: Pcrs, pcr8: Uint8Array | null): Measurements {
  return {
    HashAlgorithm: HASH_ALGORITHM,
    PCR0: hexOf(pcr0),
    PCR1: hexOf(pcr1),
    PCR2: hexOf(pcr2),
    ...(pcr8 === null ? {} : { PCR8: hexOf(pcr8) }),
  };
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
