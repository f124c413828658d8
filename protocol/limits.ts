/**
 * Sizes and times that both ends of the wire enforce. Every limit is inclusive: a value equal to it passes.
 * They are checked before memory is allocated for what they bound.
 */

/** One frame on any vsock port, without its 4-byte length. */
export const MAX_FRAME_BYTES = 1024 * 1024;
/** One request body. Leaves room in a frame for stamps and CBOR heads. */
export const MAX_BODY_BYTES = 256 * 1024;
/** The body of one answer. Leaves room in a frame for its signature, and for what seals it. */
export const MAX_ANSWER_BYTES = MAX_FRAME_BYTES - 2048;
/** One sealed request: the largest body with the most stamps, padded, and its head. */
export const MAX_SEALED_BYTES = 512 * 1024 + 1024;
/** Nesting of arrays and objects in a request body. */
export const MAX_JSON_DEPTH = 16;
/** One `X-Stamp` header value. */
export const MAX_STAMP_BYTES = 2048;
/** One `X-Stamp-Webauthn` header value: credential ids have up to 1023 bytes, RSA signatures 512. */
export const MAX_WEBAUTHN_STAMP_BYTES = 4096;
/** A browser writes some 150 bytes of client data, and an origin has 255 at most. */
export const MAX_CLIENT_DATA_BYTES = 2048;
/** What a browser gives for a new passkey, with attestation `none`. */
export const MAX_ATTESTATION_OBJECT_BYTES = 4096;
/** Stamps on one request: administrators may stamp m-of-n. */
export const MAX_STAMPS = 16;
/** nitro.md 2.4: AWS's text says 512 in one place and 1024 in another; we produce within the smaller. */
export const MAX_ATTESTATION_NONCE_BYTES = 512;
/** Shorter nonces do not keep a recorded document from being shown again. */
export const MIN_ATTESTATION_NONCE_BYTES = 16;
/** How old `issuedAtMs` may be by the enclave's clock. */
export const REQUEST_WINDOW_MS = 60_000;
/** The same for administrators: several of them need time to stamp one request. */
export const ADMINISTRATORS_WINDOW_MS = 60 * 60_000;
/** How far ahead `issuedAtMs` may be; the enclave waits until its clock has passed it before it acts. */
export const MAX_FUTURE_MS = 5_000;
/** Requests that one connection may have unanswered. */
export const MAX_IN_FLIGHT = 1024;
/** Changes in one atomic write of records. */
export const MAX_RECORD_CHANGES = 64;
/** A record's sealed value. */
export const MAX_RECORD_BYTES = 64 * 1024;
/** Records in one page of a list: all of them at their greatest size still fit into a frame. */
export const MAX_RECORDS_PER_PAGE = 15;
/** A record's name. */
export const MAX_RECORD_NAME_LENGTH = 200;
