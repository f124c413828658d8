/** What a ramdisk may still ask of its reader. Each limit is far above what a root file system of programs comes to. */
import { EifError } from "./errors.ts";

export interface RamdiskLimits {
  /** Of compressed data; {@link MAX_RATIO} times its size where it is not given. */
  readonly maxUnpackedBytes?: number;
  readonly maxEntries?: number;
  /** Of names, targets of links, and folders as they are unpacked: what a reader's memory grows with. */
  readonly maxNameBytes?: number;
  /** Archives, compressed frames and members: each costs something, even if nothing is in it. */
  readonly maxArchives?: number;
  /** Of compressed frames: a block may unpack to nothing. */
  readonly maxBlocks?: number;
}

/** What unpacks to more is made to waste a reader's time: file systems of programs shrink to a fifth, not a hundredth. */
const MAX_RATIO = 200;
const ALWAYS_ALLOWED_BYTES = 64 * 1024 ** 2;
/** What an image may have that is built here: five times a full Debian. */
const MAX_ENTRIES = 500_000;
/** A full Debian's names are a tenth of it. */
const MAX_NAME_BYTES = 64 * 1024 ** 2;
/** Kernels are given three or four. */
const MAX_ARCHIVES = 4096;
/** A block holds up to 128 KiB: these alone are 8 GiB. */
const ALWAYS_ALLOWED_BLOCKS = 65_536;
const BYTES_PER_BLOCK = 256;

export class RamdiskAllowance {
  readonly #limits: Required<RamdiskLimits>;
  #unpackedBytes = 0;
  #entries = 0;
  #nameBytes = 0;
  #archives = 0;
  #blocks = 0;

  constructor(sizeBytes: number, limits: RamdiskLimits) {
    this.#limits = {
      maxUnpackedBytes: ALWAYS_ALLOWED_BYTES + MAX_RATIO * sizeBytes,
      maxEntries: MAX_ENTRIES,
      maxNameBytes: MAX_NAME_BYTES,
      maxArchives: MAX_ARCHIVES,
      maxBlocks: ALWAYS_ALLOWED_BLOCKS + Math.floor(sizeBytes / BYTES_PER_BLOCK),
      ...limits,
    };
  }

  /** @throws {@link EifError} `RAMDISK_TOO_LARGE`, as all of these */
  takeUnpacked(bytes: number): void {
    this.#unpackedBytes += bytes;
    if (this.#unpackedBytes > this.#limits.maxUnpackedBytes) throw tooLarge("its size allows for");
  }

  takeEntry(): void {
    this.#entries += 1;
    if (this.#entries > this.#limits.maxEntries) throw tooLarge(`${this.#limits.maxEntries} entries`);
  }

  takeName(length: number): void {
    this.#nameBytes += length;
    if (this.#nameBytes > this.#limits.maxNameBytes) throw tooLarge(`${this.#limits.maxNameBytes} bytes of names`);
  }

  takeArchive(): void {
    this.#archives += 1;
    if (this.#archives > this.#limits.maxArchives) throw tooLarge(`${this.#limits.maxArchives} archives or frames`);
  }

  takeBlock(): void {
    this.#blocks += 1;
    if (this.#blocks > this.#limits.maxBlocks) throw tooLarge(`${this.#limits.maxBlocks} compressed blocks`);
  }
}

function tooLarge(what: string): EifError {
  return new EifError("RAMDISK_TOO_LARGE", `the ramdisk unpacks to more than ${what}`);
}
