/** Every reason to refuse an image or a request about one. Codes are stable; docs/eif.md says what to do about each. */
export type EifErrorCode =
  // The header (nitro.md 1.1).
  | "EIF_TOO_SHORT"
  | "BAD_MAGIC"
  | "UNSUPPORTED_VERSION"
  | "UNKNOWN_FLAGS"
  | "RESERVED_NOT_ZERO"
  | "TOO_MANY_SECTIONS"
  | "UNUSED_SLOT_NOT_ZERO"
  // Section headers, walked one after the other.
  | "SECTION_TYPE_UNKNOWN"
  | "SECTION_FLAGS_NOT_ZERO"
  | "SECTION_BEYOND_END"
  | "TRAILING_BYTES"
  // The two walks compared: what AWS's library shows, and what a loader that follows the table would run.
  | "SECTION_COUNT_MISMATCH"
  | "TABLE_OFFSET_MISMATCH"
  | "TABLE_SIZE_MISMATCH"
  | "STALE_SIGNATURE_SIZE"
  // Which sections there are, and in which order.
  | "NO_KERNEL"
  | "TWO_KERNELS"
  | "NO_CMDLINE"
  | "TWO_CMDLINES"
  | "NO_RAMDISK"
  | "RAMDISK_BEFORE_KERNEL"
  | "NO_METADATA"
  | "TWO_METADATA"
  | "TWO_SIGNATURES"
  // What is in them.
  | "CRC_MISMATCH"
  | "CMDLINE_TOO_LARGE"
  | "METADATA_TOO_LARGE"
  | "METADATA_NOT_JSON"
  | "METADATA_SHAPE"
  | "SIGNATURE_TOO_LARGE"
  | "SIGNATURE_MALFORMED"
  // The certificate and what it signed.
  | "CERTIFICATE_MALFORMED"
  | "PRIVATE_KEY_UNREADABLE"
  | "CERTIFICATE_KEY_MISMATCH"
  | "CERTIFICATE_KEY_NOT_EC"
  | "KMS_REFUSED"
  | "CERTIFICATE_NOT_YET_VALID"
  | "CERTIFICATE_EXPIRED"
  | "NOT_SIGNED"
  | "SIGNATURE_INVALID"
  | "SIGNED_PCR0_MISMATCH"
  // What is in a ramdisk. The image itself may be in order: the kernel unpacks more than this does.
  | "RAMDISK_COMPRESSION_UNSUPPORTED"
  | "RAMDISK_CORRUPT"
  | "RAMDISK_MALFORMED"
  | "RAMDISK_TRUNCATED"
  | "RAMDISK_TOO_LARGE"
  // Taking it apart.
  | "OUTPUT_NOT_EMPTY"
  // Writing.
  | "INVALID_PARTS"
  | "SOURCE_CHANGED"
  // Reading at all.
  | "FILE_UNREADABLE"
  | "FILE_CHANGED";

/** The image, or what was asked about it, is refused. Nothing of it may be trusted; trying again gives the same. */
export class EifError extends Error {
  override readonly name = "EifError";
  readonly code: EifErrorCode;

  constructor(code: EifErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
