/**
 * Seals records for a parent that keeps them and must neither read nor swap nor change them (design section 4):
 * AES-256-GCM under a key of each record's own, with the record's whole identity as additional data.
 */
import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomFillSync,
} from "node:crypto";
import { RequestError } from "../../protocol/index.ts";

/** format ‖ generation (u32) ‖ nonce ‖ ciphertext ‖ tag */
const FORMAT = 1;
const GENERATION_AT = 1;
const NONCE_AT = 5;
/** NIST SP 800-38D, 8.2.2: random, 96 bits. */
const NONCE_BYTES = 12;
/** Drawn together: one nonce costs as much to draw as hundreds. They are no secret. */
const NONCES_AT_ONCE = 256;
const CIPHERTEXT_AT = NONCE_AT + NONCE_BYTES;
export const TAG_BYTES = 16;
const OVERHEAD_BYTES = CIPHERTEXT_AT + TAG_BYTES;

const KEY_INFO = "cloister/record/v1";

export interface RecordIdentity {
  readonly name: string;
  /** From 1; each write of a name gives it a higher one. */
  readonly version: number;
}

/** What becomes of a cipher's generations, in order. Secrets are named, not shown: all threads hold the one in memory. */
export type GenerationChange =
  | { readonly kind: "add"; readonly generation: number; readonly secret: KeyObject }
  | { readonly kind: "use" | "remove"; readonly generation: number };

export class RecordCipher {
  readonly #deployment: string;
  /** By generation; more than one while the vault is rotated. */
  readonly #secrets = new Map<number, KeyObject>();
  readonly #listeners = new Set<(change: GenerationChange) => void>();
  #generation: number;
  readonly #nonces = Buffer.alloc(NONCE_BYTES * NONCES_AT_ONCE);
  #nextNonceAt = this.#nonces.length;

  /** @param secret - The vault secret; bytes are copied into a KeyObject, and the caller may wipe them. */
  constructor(secret: Uint8Array | KeyObject, context: { readonly deployment: string; readonly generation: number }) {
    this.#deployment = context.deployment;
    this.#generation = context.generation;
    this.add(context.generation, secret);
  }

  /** What {@link seal} seals under. */
  get generation(): number {
    return this.#generation;
  }

  /** Whether records of this generation can be opened. */
  has(generation: number): boolean {
    return this.#secrets.has(generation);
  }

  /** Lets records of another generation be opened. The caller may wipe the secret. */
  add(generation: number, secret: Uint8Array | KeyObject): void {
    const key = secret instanceof Uint8Array ? createSecretKey(secret) : secret;
    this.#secrets.set(generation, key);
    this.#tell({ kind: "add", generation, secret: key });
  }

  /** From now on records are sealed under this generation. It must be where a later boot will find it. */
  use(generation: number): void {
    if (!this.#secrets.has(generation)) throw new Error(`no secret of generation ${generation}`);
    this.#generation = generation;
    this.#tell({ kind: "use", generation });
  }

  /** From now on no record of this generation is opened. */
  remove(generation: number): void {
    if (generation === this.#generation) throw new Error(`generation ${generation} is in use`);
    this.#secrets.delete(generation);
    this.#tell({ kind: "remove", generation });
  }

  /**
   * Tells what it holds now, and from then on every change before it has any effect.
   *
   * @returns What ends that.
   */
  follow(hear: (change: GenerationChange) => void): () => void {
    for (const [generation, secret] of this.#secrets) hear({ kind: "add", generation, secret });
    hear({ kind: "use", generation: this.#generation });
    this.#listeners.add(hear);
    return () => this.#listeners.delete(hear);
  }

  /** Makes a change that another cipher of the same vault has told of. */
  apply(change: GenerationChange): void {
    if (change.kind === "add") this.add(change.generation, change.secret);
    else this[change.kind](change.generation);
  }

  #tell(change: GenerationChange): void {
    for (const hear of this.#listeners) hear(change);
  }

  seal(record: RecordIdentity, plaintext: Uint8Array, generation: number = this.#generation): Uint8Array {
    const sealed = Buffer.alloc(OVERHEAD_BYTES + plaintext.length);
    sealed.writeUInt8(FORMAT, 0);
    sealed.writeUInt32BE(generation, GENERATION_AT);
    const nonce = sealed.subarray(NONCE_AT, CIPHERTEXT_AT);
    this.#drawNonce(nonce);
    const cipher = createCipheriv("aes-256-gcm", this.#keyOf(record.name, generation), nonce, {
      authTagLength: TAG_BYTES,
    });
    cipher.setAAD(this.#additionalData(record, generation));
    cipher.update(plaintext).copy(sealed, CIPHERTEXT_AT);
    cipher.final();
    cipher.getAuthTag().copy(sealed, sealed.length - TAG_BYTES);
    return sealed;
  }

  /**
   * @returns The plaintext; the caller wipes it if it is secret.
   * @throws {@link RequestError} `RECORD_TAMPERED`, the same words whatever failed.
   */
  open(record: RecordIdentity, sealed: Uint8Array): Uint8Array {
    const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
    const generation = generationOf(bytes);
    if (generation === null || !this.#secrets.has(generation)) throw tampered();
    const nonce = bytes.subarray(NONCE_AT, CIPHERTEXT_AT);
    const decipher = createDecipheriv("aes-256-gcm", this.#keyOf(record.name, generation), nonce, {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(this.#additionalData(record, generation));
    decipher.setAuthTag(tagOf(bytes));
    const plaintext = decipher.update(bytes.subarray(CIPHERTEXT_AT, bytes.length - TAG_BYTES));
    try {
      decipher.final();
    } catch (cause) {
      plaintext.fill(0);
      throw tampered(cause);
    }
    return plaintext;
  }

  /** Each is given once: nothing waits between where it is taken and where it is passed over. */
  #drawNonce(into: Uint8Array): void {
    if (this.#nextNonceAt === this.#nonces.length) {
      randomFillSync(this.#nonces);
      this.#nextNonceAt = 0;
    }
    const end = this.#nextNonceAt + NONCE_BYTES;
    into.set(this.#nonces.subarray(this.#nextNonceAt, end));
    this.#nextNonceAt = end;
  }

  /** A key for each name: no number of records under one vault comes near GCM's limit of random nonces. */
  #keyOf(name: string, generation: number): KeyObject {
    const secret = this.#secrets.get(generation);
    if (secret === undefined) throw new Error(`no secret of generation ${generation}`);
    const key = Buffer.from(hkdfSync("sha256", secret, "", KEY_INFO + name, 32));
    try {
      return createSecretKey(key);
    } finally {
      key.fill(0);
    }
  }

  /** Each text with its length before it: no two identities give the same bytes. */
  #additionalData({ name, version }: RecordIdentity, generation: number): Buffer {
    const numbers = Buffer.alloc(12);
    numbers.writeBigUInt64BE(BigInt(version), 0);
    numbers.writeUInt32BE(generation, 8);
    return Buffer.concat([withLength(this.#deployment), withLength(name), numbers]);
  }
}

/** The generation that a record says it is sealed under; null for what is no sealed record. */
export function generationOf(sealed: Uint8Array): number | null {
  if (sealed.length < OVERHEAD_BYTES || sealed[0] !== FORMAT) return null;
  return new DataView(sealed.buffer, sealed.byteOffset, sealed.byteLength).getUint32(GENERATION_AT);
}

/** What tells one sealing of a record from another. */
export function tagOf(sealed: Uint8Array): Uint8Array {
  return sealed.subarray(sealed.length - TAG_BYTES);
}

function withLength(text: string): Buffer {
  const bytes = Buffer.from(text, "utf8");
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function tampered(cause?: unknown): RequestError {
  return new RequestError("RECORD_TAMPERED", "a stored record is not the one that the enclave wrote there", { cause });
}
