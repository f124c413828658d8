/** CBOR messages inside frames, one schema per port and direction. `id` pairs an answer with its call. */
import {
  MAX_BODY_BYTES,
  MAX_RECORD_BYTES,
  MAX_RECORD_CHANGES,
  MAX_RECORD_NAME_LENGTH,
  MAX_RECORDS_PER_PAGE,
  MAX_SEALED_BYTES,
  MAX_STAMPS,
  MAX_WEBAUTHN_STAMP_BYTES,
} from "./limits.ts";
import { bytesUpTo as bytes, bytesOf, z } from "./zod.ts";

const id = z.int().check(z.nonnegative());
/** Passkeys' stamps are the longer ones. */
export const stampHeaders = z
  .array(z.string().check(z.maxLength(MAX_WEBAUTHN_STAMP_BYTES)))
  .check(z.maxLength(MAX_STAMPS));

// Port 5000: the parent calls, the enclave answers.

export const enclaveCall = z.discriminatedUnion("kind", [
  z.strictObject({
    id,
    kind: z.literal("operation"),
    stamps: stampHeaders,
    body: bytes(MAX_BODY_BYTES),
  }),
  /** A request that only the enclave can open, its stamps inside. */
  z.strictObject({ id, kind: z.literal("sealed"), body: bytes(MAX_SEALED_BYTES) }),
  z.strictObject({ id, kind: z.literal("attestation"), nonce: bytes(1024) }),
  z.strictObject({ id, kind: z.literal("status") }),
]);
export type EnclaveCall = z.output<typeof enclaveCall>;

export const enclaveAnswer = z.strictObject({
  id,
  /** An HTTP status. */
  status: z.int().check(z.minimum(100), z.maximum(599)),
  /** JSON, the attestation document, or a sealed answer. */
  body: bytes(1024 * 1024),
  /** Ed25519, 64 bytes; null for what is signed otherwise (an attestation document, inside a sealed answer) or not at all (status). */
  signature: z.nullable(bytes(64)),
  /** Which boot answers: its key id. A hint, for whoever finds the way; what proves it is signature and attestation. */
  boot: z.exactOptional(bytesOf(8)),
});
export type EnclaveAnswer = z.output<typeof enclaveAnswer>;

/** The body of an answer to `status`. Unsigned: it steers the parent's health checks and proves nothing. */
export const enclaveStatus = z.strictObject({
  phase: z.enum(["booting", "attested", "ready", "failed"]),
  /** Why it failed, or what it waits for before it is ready: a code and a sentence. */
  failure: z.nullable(z.strictObject({ code: z.string(), message: z.string() })),
  /** Which binding of libsecp256k1 runs, and its version. An enclave of an older version does not say. */
  secp256k1Binding: z.optional(z.string().check(z.maxLength(64))),
  /** Requests that wait for their turn, and that are under way. Before it is ready it has none. */
  load: z.optional(z.strictObject({ waiting: z.int(), running: z.int() })),
  /** How many signing workers serve now, beside the main thread; an enclave without any does not say. */
  signingWorkers: z.optional(z.int().check(z.nonnegative())),
});
export type EnclaveStatus = z.output<typeof enclaveStatus>;

// Port 5001: the enclave calls, the parent answers.

const recordName = z.string().check(z.minLength(1), z.maxLength(MAX_RECORD_NAME_LENGTH), z.regex(/^[a-z0-9/_-]+$/));
const version = z.int().check(z.minimum(0));

export const recordsCall = z.discriminatedUnion("kind", [
  z.strictObject({ id, kind: z.literal("get"), name: recordName }),
  /** Either every change is made or none. */
  z.strictObject({
    id,
    kind: z.literal("write"),
    changes: z
      .array(
        z.strictObject({
          name: recordName,
          /** The version that must stand there now; 0 means that there is none. */
          expectedVersion: version,
          version,
          /** Null deletes. */
          value: z.nullable(bytes(MAX_RECORD_BYTES)),
          /** From when on the store may drop it by itself, milliseconds since 1970; left out for what is kept. */
          expiresAtMs: z.exactOptional(version),
        }),
      )
      .check(z.minLength(1), z.maxLength(MAX_RECORD_CHANGES)),
  }),
  /** Names that begin with `prefix` and sort after `after`, in order of their bytes. */
  z.strictObject({
    id,
    kind: z.literal("list"),
    /** Empty for all of them. */
    prefix: z.string().check(z.maxLength(MAX_RECORD_NAME_LENGTH), z.regex(/^[a-z0-9/_-]*$/)),
    after: z.nullable(recordName),
    limit: z.int().check(z.minimum(1), z.maximum(MAX_RECORDS_PER_PAGE)),
  }),
]);
export type RecordsCall = z.output<typeof recordsCall>;

const storedRecord = z.strictObject({
  name: recordName,
  version,
  value: bytes(MAX_RECORD_BYTES),
  expiresAtMs: z.exactOptional(version),
});
export type StoredRecord = z.output<typeof storedRecord>;

export const recordsAnswer = z.discriminatedUnion("kind", [
  z.strictObject({ id, kind: z.literal("record"), record: z.nullable(storedRecord) }),
  z.strictObject({ id, kind: z.literal("written") }),
  z.strictObject({ id, kind: z.literal("conflict"), name: recordName }),
  z.strictObject({
    id,
    kind: z.literal("records"),
    records: z.array(storedRecord).check(z.maxLength(MAX_RECORDS_PER_PAGE)),
  }),
  z.strictObject({ id, kind: z.literal("failed") }),
]);
export type RecordsAnswer = z.output<typeof recordsAnswer>;

// Port 5002: the enclave's first frame, the parent's one frame of answer, then raw bytes both ways.

export const egressCall = z.strictObject({
  host: z.string().check(z.regex(/^[a-z0-9.-]{1,253}$/)),
  port: z.int().check(z.minimum(1), z.maximum(65_535)),
});
export type EgressCall = z.output<typeof egressCall>;

export const egressAnswer = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("connected") }),
  z.strictObject({
    kind: z.literal("refused"),
    reason: z.enum(["NOT_ALLOWED", "NAME_NOT_FOUND", "UNREACHABLE", "BUSY"]),
  }),
]);
export type EgressAnswer = z.output<typeof egressAnswer>;

// Port 5003: the enclave calls, the parent answers.

export const credentialsCall = z.strictObject({ id, kind: z.literal("get") });
export type CredentialsCall = z.output<typeof credentialsCall>;

export const credentialsAnswer = z.discriminatedUnion("kind", [
  z.strictObject({
    id,
    kind: z.literal("credentials"),
    accessKeyId: z.string().check(z.maxLength(256)),
    secretAccessKey: z.string().check(z.maxLength(256)),
    sessionToken: z.nullable(z.string().check(z.maxLength(8192))),
    /** Null for credentials that do not expire. */
    expiresAtMs: z.nullable(z.int()),
  }),
  z.strictObject({ id, kind: z.literal("failed") }),
]);
export type CredentialsAnswer = z.output<typeof credentialsAnswer>;

// Port 5004: the enclave sends, nobody answers.

export const logMessage = z.strictObject({
  /** One line of JSON whose fields the enclave's allow-list let through. */
  line: z.string().check(z.maxLength(4096)),
});
export type LogMessage = z.output<typeof logMessage>;
