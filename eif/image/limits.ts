/** How much an image may ask of the machine that builds. Checked before anything is allocated or written for it. */
export interface ImageLimits {
  /** Layers as they are unpacked, and files as they are expanded from sparse ones: all together. */
  readonly maxBytes: number;
  /** Unpacked size over compressed size of a layer, once it is larger than {@link ratioFromBytes}. */
  readonly maxRatio: number;
  readonly ratioFromBytes: number;
  /** Entries of all layers, and of the archive that holds them. */
  readonly maxEntries: number;
  /** Names and link targets together: what memory grows with. */
  readonly maxNameBytes: number;
}

/**
 * An enclave unpacks its image into memory; one of 16 GiB would need 64. Half a million files are five times a full
 * Debian. gzip reaches 1032 to 1, and only on purpose.
 */
export const IMAGE_LIMITS: ImageLimits = {
  maxBytes: 16 * 1024 ** 3,
  maxRatio: 256,
  ratioFromBytes: 1024 ** 3,
  maxEntries: 500_000,
  maxNameBytes: 256 * 1024 ** 2,
};
