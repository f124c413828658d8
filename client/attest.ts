/** One boot of an enclave, by its attestation document. */
import { type AttestationRoot, type PcrSet, verifyAttestation } from "../attestation/index.ts";
import {
  type AttestedKeys,
  BOOT_HEADER,
  decodeAttestedKeys,
  decodeAttestedUserData,
  encodeHex,
  keyIdOf,
  ProtocolError,
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

export interface Attested {
  readonly vault: Uint8Array | null;
  readonly keys: AttestedKeys;
  /** Its key id, hex: what it is called where requests and answers name it. */
  readonly boot: string;
  readonly answerKey: CryptoKey;
  /** Add to the monotonic clock for the enclave's own, or a little less. */
  readonly clockOffsetMs: number;
}

const NONCE_BYTES = 32;
/** A document made for our nonce is as old as its way back to us. */
const MAX_AGE_MS = 60_000;

/** Types are stripped where this runs: an expectation that was left out must not be a check left out. */
function checkExpectations({ manifestDigest, vaultId }: ExpectedEnclave): void {
  const isBytes = (value: unknown, length: number) => value instanceof Uint8Array && value.length === length;
  if (manifestDigest !== "covered-by-pcrs" && !isBytes(manifestDigest, 32)) {
    throw new TypeError('expected.manifestDigest: give 32 bytes, or "covered-by-pcrs"');
  }
  if (vaultId !== "any" && !isBytes(vaultId, 16)) throw new TypeError('expected.vaultId: give 16 bytes, or "any"');
}

/**
 * Asks for a fresh document and verifies it.
 *
 * @param boot - Whose, if what stands in between can tell; another's may come back, and is as good as its word.
 * @throws {@link ClientError} `UNREACHABLE`, `ATTESTATION_UNAVAILABLE`, `ATTESTATION_NOT_FOR_CALLERS`,
 *   `MANIFEST_MISMATCH`, `VAULT_MISMATCH`; and AttestationError, for a document that must not be trusted.
 */
export async function attest(options: AttestedEnclaveOptions, boot: string | null = null): Promise<Attested> {
  const { url, expected, monotonicMs } = options;
  checkExpectations(expected);
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const response = await reach(url, () =>
    options.fetch(new URL(`/v1/attestation?nonce=${encodeHex(nonce)}`, url), {
      ...(boot === null ? {} : { headers: { [BOOT_HEADER]: boot } }),
      redirect: "error",
    }),
  );
  const bytes = new Uint8Array(await reach(url, () => response.arrayBuffer()));
  if (response.status !== 200) {
    throw new ClientError("ATTESTATION_UNAVAILABLE", `asked for attestation, got status ${response.status}`);
  }
  const document = await verifyDocument(options, bytes, nonce);
  const clockOffsetMs = document.timestampMs - monotonicMs();
  const { keys, manifest, vault } = forCallers(document.publicKey, document.userData);
  checkDeployment(expected, manifest, vault);
  return {
    vault,
    keys,
    boot: encodeHex(await keyIdOf(keys)),
    answerKey: await crypto.subtle.importKey("raw", Uint8Array.from(keys.answerKey), "Ed25519", false, ["verify"]),
    clockOffsetMs,
  };
}

/** @throws AttestationError, for a document that must not be trusted. */
export function verifyDocument(
  { expected, nowMs }: AttestedEnclaveOptions,
  document: Uint8Array,
  nonce: Uint8Array,
): ReturnType<typeof verifyAttestation> {
  const { roots, pcrs } = expected;
  return verifyAttestation(document, { roots, pcrs, atMs: nowMs(), nonce, maxAgeMs: MAX_AGE_MS });
}

/** @throws {@link ClientError} `MANIFEST_MISMATCH`, `VAULT_MISMATCH` */
export function checkDeployment(expected: ExpectedEnclave, manifest: Uint8Array, vault: Uint8Array | null): void {
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

/** @throws {@link ClientError} `UNREACHABLE` */
export async function reach<Value>(url: string, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (cause) {
    const why = whyOf(cause);
    throw new ClientError("UNREACHABLE", `no answer from ${url}${why === null ? "" : ` (${why})`}`, { cause });
  }
}

/** Node's fetch says why in its error's cause (`ECONNREFUSED`, a certificate's fault); browsers do not say. */
function whyOf(error: unknown): string | null {
  const { cause } = error as { readonly cause?: { readonly code?: unknown } | null };
  const code = cause?.code;
  return typeof code === "string" && /^[A-Z0-9_]{1,64}$/.test(code) ? code : null;
}
