/** Counts what an image has asked for so far, over all its layers, against its limits. */
import { ImageError } from "./errors.ts";
import type { ImageLimits } from "./limits.ts";

export class Budget {
  readonly limits: ImageLimits;
  #bytes = 0;
  #entries = 0;
  #nameBytes = 0;

  constructor(limits: ImageLimits) {
    this.limits = limits;
  }

  /** @throws {@link ImageError} `IMAGE_TOO_LARGE` */
  takeBytes(count: number): void {
    this.#bytes += count;
    if (this.#bytes > this.limits.maxBytes) {
      throw new ImageError("IMAGE_TOO_LARGE", `more than ${this.limits.maxBytes} bytes when unpacked`);
    }
  }

  /**
   * A sparse file's map, which is kept until the file is read: each segment counts as an entry.
   *
   * @throws {@link ImageError} `TOO_MANY_ENTRIES`
   */
  takeSegments(count: number): void {
    this.#entries += count;
    if (this.#entries > this.limits.maxEntries) {
      throw new ImageError(
        "TOO_MANY_ENTRIES",
        `more than ${this.limits.maxEntries} entries and segments of sparse files`,
      );
    }
  }

  /** @throws {@link ImageError} `TOO_MANY_ENTRIES` */
  takeEntry(name: string, linkName: string): void {
    this.#entries += 1;
    this.#nameBytes += name.length + linkName.length;
    const { maxEntries, maxNameBytes } = this.limits;
    if (this.#entries > maxEntries) throw new ImageError("TOO_MANY_ENTRIES", `more than ${maxEntries} entries`);
    if (this.#nameBytes > maxNameBytes)
      throw new ImageError("TOO_MANY_ENTRIES", `more than ${maxNameBytes} bytes of names`);
  }
}
