/** The enclave behind a URL, as its attestation document shows it: nothing said by anything else is taken for its word. */
import { type AttestationRoot, type PcrSet, verifyAttestation } from "../attestation/index.ts";
import {
  ANSWER_SIGNATURE_HEADER,
  type AttestedImport,
  type AttestedKeys,
  type AttestedUserData,
  answerSigningInput,
  decodeAttestedKeys,
  decodeAttestedUserData,
  decodeBase64url,
  encodeHex,
  isWebauthnStamp,
  ProtocolError,
  type SealedAnswerParts,
  STAMP_HEADER,
  sealRequest,
  stampsDigestInput,
  WEBAUTHN_STAMP_HEADER,
} from "../protocol/index.ts";
import { ClientError } from "./errors.ts";

/** Which enclaves a caller trusts. Nothing here has a default: an expectation left out would be a check left out. */
export interface ExpectedEnclave {
  readonly roots: readonly AttestationRoot[];
  /** Images that may answer; any one of them. */
  readonly pcrs: readonly PcrSet[];
  /** SHA-256 of the manifest in the image, 32 bytes, or the word for not asking (the image's PCRs cover it as well). */
  readonly manifestDigest: Uint8Array | "covered-by-pcrs";
  /**
   * The vault's id, 16 bytes, as {@link Client.vaultId} showed it when the deployment was set up; or the word for taking
   * any. A parent that hides the records makes the enclave start a new vault: genuine, empty, and with another id.
   */
  readonly vaultId: Uint8Array | "any";
}

export interface AttestedEnclaveOptions {
  readonly url: string;
  readonly expected: ExpectedEnclave;
  readonly fetch: typeof fetch;
  /** Milliseconds since 1970: what the documents' certificates are checked at. */
  readonly nowMs: () => number;
  /** Milliseconds from any moment; never runs backwards. */
  readonly monotonicMs: () => number;
}

/** What came back; `isSigned` is true only for the enclave's own answer to this very request. */
export interface PostedAnswer {
  readonly body: Uint8Array;
  readonly isSigned: boolean;
}

interface Attested {
  readonly vault: Uint8Array | null;
  readonly keys: AttestedKeys;
  readonly answerKey: CryptoKey;
  /** Add to the monotonic clock for the enclave's own, or a little less. */
  readonly clockOffsetMs: number;
}

const NONCE_BYTES = 32;
/** A document made for our nonce is as old as its way back to us. */
const MAX_AGE_MS = 60_000;

export class AttestedEnclave {
  readonly #options: AttestedEnclaveOptions;
  #attested: Attested;

  private constructor(options: AttestedEnclaveOptions, attested: Attested) {
    this.#options = options;
    this.#attested = attested;
  }

  /**
   * Asks for a fresh document and verifies it.
   *
   * @throws {@link ClientError} `UNREACHABLE`, `ATTESTATION_UNAVAILABLE`, `ATTESTATION_NOT_FOR_CALLERS`,
   *   `MANIFEST_MISMATCH`, `VAULT_MISMATCH`; and AttestationError, for a document that must not be trusted.
   */
  static async connect(options: AttestedEnclaveOptions): Promise<AttestedEnclave> {
    return new AttestedEnclave(options, await attest(options));
  }

  /** Which vault the enclave has open; null if it had none when it was last asked. */
  get vaultId(): Uint8Array | null {
    return this.#attested.vault;
  }

  /** The enclave's clock as far as we can tell: behind it by the time that a document took to reach us. */
  nowMs(): number {
    return Math.floor(this.#attested.clockOffsetMs + this.#options.monotonicMs());
  }

  /**
   * Sends one request and checks that the answer is the enclave's, to this very request.
   *
   * @throws {@link ClientError} `UNREACHABLE`, `ANSWER_SIGNATURE_INVALID`
   */
  async post(path: string, body: Uint8Array<ArrayBuffer>, stamps: readonly string[]): Promise<PostedAnswer> {
    const headers = new Headers({ "content-type": "application/json" });
    for (const stamp of stamps) headers.append(isWebauthnStamp(stamp) ? WEBAUTHN_STAMP_HEADER : STAMP_HEADER, stamp);
    const response = await reach(this.#options.url, () =>
      this.#options.fetch(new URL(path, this.#options.url), { method: "POST", body, headers, redirect: "error" }),
    );
    return this.#read(response, body, stamps);
  }

  /**
   * As {@link post}, so that only this enclave can read the request, and only we the answer.
   *
   * @throws {@link ClientError} `UNREACHABLE`, `ANSWER_SIGNATURE_INVALID`, `ANSWER_MALFORMED`
   */
  async postSealed(audience: string, body: Uint8Array<ArrayBuffer>, stamps: readonly string[]): Promise<PostedAnswer> {
    const sealed = await sealRequest(this.#attested.keys, audience, { stamps: [...stamps], body });
    const headers = new Headers({ "content-type": "application/octet-stream" });
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
    if (!(await isSigned(this.#attested, input, Uint8Array.from(signature)))) {
      throw new ClientError("ANSWER_SIGNATURE_INVALID", "the answer is not the enclave's answer to this request");
    }
    return { body: answer, isSigned: true };
  }

  async #read(response: Response, body: Uint8Array<ArrayBuffer>, stamps: readonly string[]): Promise<PostedAnswer> {
    const answer = new Uint8Array(await reach(this.#options.url, () => response.arrayBuffer()));
    const header = response.headers.get(ANSWER_SIGNATURE_HEADER);
    if (header === null) return { body: answer, isSigned: false };
    const signature = decodeSignature(header);
    const input = await signedInput(body, stamps, response.status, answer);
    if (!(await isSigned(this.#attested, input, signature))) {
      // An enclave that was started anew has another key, and another document to prove it.
      const fresh = await attest(this.#options);
      if (!(await isSigned(fresh, input, signature))) {
        throw new ClientError("ANSWER_SIGNATURE_INVALID", "the answer is not the enclave's answer to this request");
      }
      this.#attested = fresh;
    }
    return { body: answer, isSigned: true };
  }

  /**
   * The key that an import's secret is sealed to, once its document is known to be the expected enclave's, for this import.
   *
   * @param nonce - That the import was begun with.
   * @param target - As the answer has it; the document must say the same.
   * @throws {@link ClientError} `IMPORT_TARGET_MISMATCH`, `MANIFEST_MISMATCH`, `VAULT_MISMATCH`; and AttestationError
   */
  async verifyImport(document: Uint8Array, nonce: Uint8Array, target: AttestedImport): Promise<Uint8Array> {
    const { publicKey, userData } = await verify(this.#options, document, nonce);
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

  /** Asks for a new document, and so for the time: a computer that slept has lost count of it. */
  async refresh(): Promise<void> {
    this.#attested = await attest(this.#options);
  }
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
    answerDigest: await sha256(Uint8Array.from(answer)),
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

/** Types are stripped where this runs: an expectation that was left out must not be a check left out. */
function checkExpectations({ manifestDigest, vaultId }: ExpectedEnclave): void {
  const isBytes = (value: unknown, length: number) => value instanceof Uint8Array && value.length === length;
  if (manifestDigest !== "covered-by-pcrs" && !isBytes(manifestDigest, 32)) {
    throw new TypeError('expected.manifestDigest: give 32 bytes, or "covered-by-pcrs"');
  }
  if (vaultId !== "any" && !isBytes(vaultId, 16)) throw new TypeError('expected.vaultId: give 16 bytes, or "any"');
}

async function attest(options: AttestedEnclaveOptions): Promise<Attested> {
  const { url, expected, monotonicMs } = options;
  checkExpectations(expected);
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const response = await reach(url, () =>
    options.fetch(new URL(`/v1/attestation?nonce=${encodeHex(nonce)}`, url), { redirect: "error" }),
  );
  const bytes = new Uint8Array(await reach(url, () => response.arrayBuffer()));
  if (response.status !== 200) {
    throw new ClientError("ATTESTATION_UNAVAILABLE", `asked for attestation, got status ${response.status}`);
  }
  const document = await verify(options, bytes, nonce);
  const clockOffsetMs = document.timestampMs - monotonicMs();
  const { keys, manifest, vault } = forCallers(document.publicKey, document.userData);
  checkDeployment(expected, manifest, vault);
  return {
    vault,
    keys,
    answerKey: await crypto.subtle.importKey("raw", Uint8Array.from(keys.answerKey), "Ed25519", false, ["verify"]),
    clockOffsetMs,
  };
}

function verify({ expected, nowMs }: AttestedEnclaveOptions, document: Uint8Array, nonce: Uint8Array) {
  const { roots, pcrs } = expected;
  return verifyAttestation(document, { roots, pcrs, atMs: nowMs(), nonce, maxAgeMs: MAX_AGE_MS });
}

function checkDeployment(expected: ExpectedEnclave, manifest: Uint8Array, vault: Uint8Array | null): void {
  if (expected.manifestDigest !== "covered-by-pcrs" && encodeHex(expected.manifestDigest) !== encodeHex(manifest)) {
    throw new ClientError("MANIFEST_MISMATCH", "the enclave's manifest is not the expected one");
  }
  if (expected.vaultId !== "any" && (vault === null || encodeHex(expected.vaultId) !== encodeHex(vault))) {
    throw new ClientError("VAULT_MISMATCH", "the enclave has not opened the expected vault");
  }
}

function forCallers(
  publicKey: Uint8Array | null,
  userData: Uint8Array | null,
): { keys: AttestedKeys; manifest: Uint8Array; vault: Uint8Array | null } {
  try {
    const { purpose, manifest, vault } = decodeAttestedUserData(userData ?? new Uint8Array(0));
    if (purpose === "cloister/callers/v1") {
      return { keys: decodeAttestedKeys(publicKey ?? new Uint8Array(0)), manifest, vault };
    }
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw new ClientError("ATTESTATION_NOT_FOR_CALLERS", "the document is not a Cloister enclave's", { cause });
  }
  throw new ClientError("ATTESTATION_NOT_FOR_CALLERS", "the document was made for another purpose");
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

async function reach<Value>(url: string, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (cause) {
    throw new ClientError("UNREACHABLE", `no answer from ${url}`, { cause });
  }
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}
