/** Every reason to refuse a container image or a folder. Codes are stable; docs/eif-build.md says what to do about each. */
export type ImageErrorCode =
  // The image as a whole.
  | "UNREADABLE"
  | "UNKNOWN_FORMAT"
  | "BLOB_MISSING"
  | "JSON_MALFORMED"
  | "DIGEST_MISMATCH"
  | "NO_SUCH_PLATFORM"
  | "AMBIGUOUS_IMAGE"
  | "FORMATS_DISAGREE"
  | "LAYER_COUNT_MISMATCH"
  | "LAYER_UNSUPPORTED"
  // Limits: before anything is allocated for what is over them.
  | "IMAGE_TOO_LARGE"
  | "COMPRESSION_RATIO"
  | "TOO_MANY_ENTRIES"
  // Compressed layers.
  | "COMPRESSED_DATA_MALFORMED"
  // The tar format.
  | "TAR_TRUNCATED"
  | "TAR_CHECKSUM"
  | "TAR_NUMBER"
  | "TAR_TYPE"
  | "TAR_SIZE"
  | "TAR_EXTENSION"
  | "TAR_SPARSE"
  | "TAR_TRAILING_BYTES"
  // What an entry says.
  | "NAME_INVALID"
  | "NAME_OUTSIDE_ROOT"
  | "NAME_TOO_LONG"
  | "NAME_DUPLICATE"
  | "OWNER_OUT_OF_RANGE"
  | "DEVICE_UNSUPPORTED"
  // How entries and layers fit together.
  | "THROUGH_SYMLINK"
  | "PARENT_NOT_DIRECTORY"
  | "LINK_TARGET"
  | "WHITEOUT_INVALID"
  // A folder given as root file system.
  | "FILE_KIND_UNSUPPORTED";

/** The image is refused. It is no use trying again with the same bytes. */
export class ImageError extends Error {
  override readonly name = "ImageError";
  readonly code: ImageErrorCode;

  constructor(code: ImageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
