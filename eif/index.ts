export { type ByteSource, bytesSource, fileSource } from "./byte-source.ts";
export { EifError, type EifErrorCode } from "./errors.ts";
export type { Architecture } from "./format.ts";
export type { Measurements } from "./measure.ts";
export type { EifMetadata, JsonValue } from "./metadata.ts";
export type { EifSignatureAlgorithm, EifSigner } from "./signer.ts";
export { type EifParts, writeEif } from "./write-eif.ts";
