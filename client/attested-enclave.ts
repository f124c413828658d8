/**
 * The enclaves behind a URL, as their attestation documents show them: nothing said by anything else is taken for their
 * word. There may be several, over one database, and any of them may answer (docs/scale-out.md): each is verified by its
 * own document before its first answer is believed.
 */
import { sha256 as hashHere } from "@noble/hashes/sha2.js";
import {
  ANSWER_SIGNATURE_HEADER,
  type AttestedImport,
  type AttestedUserData,
  answerSigningInput,
  BOOT_HEADER,
  decodeAttestedUserData,
  decodeBase64url,
  isWebauthnStamp,
  ProtocolError,
  type SealedAnswerParts,
  STAMP_HEADER,
  sealRequest,
  stampsDigestInput,
  WEBAUTHN_STAMP_HEADER,
} from "../protocol/index.ts";
import {
  type Attested,
  type AttestedEnclaveOptions,
  attest,
  checkDeployment,
  reach,
  verifyDocument,
} from "./attest.ts";
import { ClientError } from "./errors.ts";
import { parseRetryAfter } from "./retries.ts";

export type { AttestedEnclaveOptions, ExpectedEnclave } from "./attest.ts";

/** What came back; `isSigned` is true only for the enclave's own answer to this very request. */
export interface PostedAnswer {
  readonly body: Uint8Array;
  readonly isSigned: boolean;
  /** Whose signature it has; null without one. */
  readonly boot: string | null;
  /** As the parent's header has it, which nobody signs. */
  readonly retryAfterMs: number | undefined;
}

/** Those that were started anew long ago go first. */
const MAX_KNOWN = 64;
/** Documents that are asked for until one is of the boot that answered, where nothing on the way follows the hint. */
const MAX_DOCUMENTS = 8;

export class AttestedEnclave {
  readonly #options: AttestedEnclaveOptions;
  /** By their boots, in the order in which they were verified. */
  readonly #known = new Map<string, Attested>();
  /** The one that answered last. */
  #current: Attested;

  private constructor(options: AttestedEnclaveOptions, attested: Attested) {
    this.#options = options;
    this.#current = attested;
    this.#keep(attested);
  }

  /** @throws as {@link attest} */
  static async connect(options: AttestedEnclaveOptions): Promise<AttestedEnclave> {
    return new AttestedEnclave(options, await attest(options));
  }

  /** Which vault the enclave has open; null if it had none when it was last asked. */
  get vaultId(): Uint8Array | null {
    return this.#current.vault;
  }

  /** Which boot a request is for that only one may act on. */
  get boot(): string {
    return this.#current.boot;
  }

  /**
   * The enclave's clock as far as we can tell: behind it by the time that a document took to reach us. Of several, the
   * one that is furthest behind: none has to wait for a request's time to come.
   */
  nowMs(): number {
    const offsetMs = Math.min(...[...this.#known.values()].map(({ clockOffsetMs }) => clockOffsetMs));
    return Math.floor(offsetMs + this.#options.monotonicMs());
  }

  /**
   * Sends one request and checks that the answer is the enclave's, to this very request.
   *
   * @param boot - Which boot it names, if it names one.
   * @throws {@link ClientError} `UNREACHABLE`, `ANSWER_SIGNATURE_INVALID`
   */
  async post(
    path: string,
    body: Uint8Array<ArrayBuffer>,
    stamps: readonly string[],
    boot?: string,
  ): Promise<PostedAnswer> {
    const headers = new Headers({ "content-type": "application/json" });
    if (boot !== undefined) headers.set(BOOT_HEADER, boot);
    for (const stamp of stamps) headers.append(isWebauthnStamp(stamp) ? WEBAUTHN_STAMP_HEADER : STAMP_HEADER, stamp);
    const response = await reach(this.#options.url, () =>
      this.#options.fetch(new URL(path, this.#options.url), { method: "POST", body, headers, redirect: "error" }),
    );
    return this.#read(response, body, stamps);
  }

  /**
   * As {@link post}, so that only this enclave can read the request, and only we the answer.
   *
   * @param boot - Which one, of those that were verified.
   * @throws {@link ClientError} `UNREACHABLE`, `ANSWER_SIGNATURE_INVALID`, `ANSWER_MALFORMED`
   */
  async postSealed(
    audience: string,
    body: Uint8Array<ArrayBuffer>,
    stamps: readonly string[],
    boot: string,
  ): Promise<PostedAnswer> {
    const to = this.#known.get(boot) ?? this.#current;
    const sealed = await sealRequest(to.keys, audience, { stamps: [...stamps], body });
    const headers = new Headers({ "content-type": "application/octet-stream", [BOOT_HEADER]: to.boot });
    const response = await reach(this.#options.url, () =>
      this.#options.fetch(new URL("/v1/sealed", this.#options.url), {
        ...{ method: "POST", body: sealed.bytes, headers, redirect: "error" },
      }),
    );
    // In the open the enclave answers only what it could not open: signed, and for the bytes that we sent.
    if (response.status !== 200) return this.#read(response, sealed.bytes, []);
    const bytes = new Uint8Array(await reach(this.#options.url, () => response.arrayBuffer()));
    const { status, body: answer, signature } = await opened(sealed.openAnswer, bytes);
    const input = await signedInput(body, stamps, status, answer);
    if (!(await isSigned(to, input, Uint8Array.from(signature)))) throw notTheEnclaves();
    return { body: answer, isSigned: true, boot: to.boot, retryAfterMs: undefined };
  }

  /** Asks for a new document, and so for the time: a computer that slept has lost count of it. */
  async refresh(): Promise<void> {
    const fresh = await attest(this.#options);
    this.#known.clear();
    this.#keep(fresh);
    this.#current = fresh;
  }

  async #read(response: Response, body: Uint8Array<ArrayBuffer>, stamps: readonly string[]): Promise<PostedAnswer> {
    const answer = new Uint8Array(await reach(this.#options.url, () => response.arrayBuffer()));
    const header = response.headers.get(ANSWER_SIGNATURE_HEADER);
    const retryAfterMs = parseRetryAfter(response.headers.get("retry-after"));
    if (header === null) return { body: answer, isSigned: false, boot: null, retryAfterMs };
    const signature = decodeSignature(header);
    const input = await signedInput(body, stamps, response.status, answer);
    const signer = await this.#signerOf(bootNamedBy(response), input, signature);
    this.#current = signer;
    return { body: answer, isSigned: true, boot: signer.boot, retryAfterMs };
  }

  /**
   * The key that an import's secret is sealed to, once its document is known to be the expected enclave's, for this import.
   *
   * @param nonce - That the import was begun with.
   * @param target - As the answer has it; the document must say the same.
   * @throws {@link ClientError} `IMPORT_TARGET_MISMATCH`, `MANIFEST_MISMATCH`, `VAULT_MISMATCH`; and AttestationError
   */
  async verifyImport(document: Uint8Array, nonce: Uint8Array, target: AttestedImport): Promise<Uint8Array> {
    const { publicKey, userData } = await verifyDocument(this.#options, document, nonce);
    const attested = decodeImport(userData);
    checkDeployment(this.#options.expected, attested.manifest, attested.vault);
    const { audience, userId, importId, deadlineMs } = attested.import;
    const isSame =
      audience === target.audience &&
      userId === target.userId &&
      importId === target.importId &&
      deadlineMs === target.deadlineMs;
    if (!isSame || deadlineMs <= this.nowMs() || publicKey?.length !== 32) throw wrongTarget();
    return publicKey;
  }

  /** An enclave that is known, or else one that a fresh document proves: a boot has its own key, and another its own. */
  async #signerOf(
    boot: string | null,
    input: Uint8Array<ArrayBuffer>,
    signature: Uint8Array<ArrayBuffer>,
  ): Promise<Attested> {
    const known = boot === null ? this.#current : this.#known.get(boot);
    if (known !== undefined && (await isSigned(known, input, signature))) return known;
    const documents = boot === null ? 1 : MAX_DOCUMENTS;
    for (let document = 1; document <= documents; document += 1) {
      const fresh = await attest(this.#options, boot);
      this.#keep(fresh);
      if (await isSigned(fresh, input, signature)) return fresh;
      if (fresh.boot === boot) break;
    }
    throw notTheEnclaves();
  }

  #keep(attested: Attested): void {
    this.#known.delete(attested.boot);
    this.#known.set(attested.boot, attested);
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest);
  }
}

function bootNamedBy({ headers }: Response): string | null {
  const boot = headers.get(BOOT_HEADER);
  return boot !== null && /^[0-9a-f]{16}$/.test(boot) ? boot : null;
}

function notTheEnclaves(): ClientError {
  return new ClientError("ANSWER_SIGNATURE_INVALID", "the answer is not the enclave's answer to this request");
}

async function signedInput(
  body: Uint8Array<ArrayBuffer>,
  stamps: readonly string[],
  status: number,
  answer: Uint8Array,
): Promise<Uint8Array<ArrayBuffer>> {
  return answerSigningInput({
    requestDigest: await sha256(body),
    stampsDigest: await sha256(stampsDigestInput(stamps)),
    status,
    answerDigest: await sha256(answer),
  });
}

async function opened(
  open: (bytes: Uint8Array) => Promise<SealedAnswerParts>,
  bytes: Uint8Array,
): Promise<SealedAnswerParts> {
  try {
    return await open(bytes);
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw new ClientError("ANSWER_MALFORMED", "not the sealed answer to this request", { cause });
  }
}

function isSigned(
  { answerKey }: Attested,
  input: Uint8Array<ArrayBuffer>,
  signature: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  return crypto.subtle.verify("Ed25519", answerKey, signature, input);
}

function decodeImport(userData: Uint8Array | null): Extract<AttestedUserData, { purpose: "cloister/import/v1" }> {
  try {
    const data = decodeAttestedUserData(userData ?? new Uint8Array(0));
    if (data.purpose === "cloister/import/v1") return data;
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw wrongTarget(cause);
  }
  throw wrongTarget();
}

function wrongTarget(cause?: unknown): ClientError {
  return new ClientError("IMPORT_TARGET_MISMATCH", "the document is not for this import: nothing was sealed to it", {
    cause,
  });
}

function decodeSignature(header: string): Uint8Array<ArrayBuffer> {
  try {
    return decodeBase64url(header);
  } catch (cause) {
    throw new ClientError("ANSWER_SIGNATURE_INVALID", "the answer's signature is not base64url", { cause });
  }
}

/**
 * WebCrypto hashes on another thread, and the way there and back takes 60 µs (Node 24), three times for each answer: what
 * is short is hashed here, in a tenth of that.
 */
const MAX_BYTES_HASHED_HERE = 4096;

async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  if (bytes.length <= MAX_BYTES_HASHED_HERE) return hashHere(bytes);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", Uint8Array.from(bytes)));
}
