/** The verifier. Its steps are those of docs/verify-an-attestation.md, in that order and under those numbers. */
import { equalBytes, isAllZero, toHex } from "./bytes.ts";
import { checkExtensions, checkValidity, verifyPath } from "./certificate-chain.ts";
import { type CoseSign1, decodeCoseSign1, sigStructure } from "./cose-sign1.ts";
import { decodeDocument, type UnverifiedAttestation } from "./document.ts";
import { verifyEs384 } from "./ecdsa.ts";
import { AttestationError } from "./errors.ts";
import { type ExpectedAttestation, type ParsedExpectation, type PcrSet, parseExpectation } from "./expectation.ts";

declare const verified: unique symbol;

/** A document that {@link verifyAttestation} has accepted. Nothing else makes one. */
export type VerifiedAttestation = UnverifiedAttestation & { readonly [verified]: true };

/** How far the hypervisor's clock may be ahead of the caller's. Its leaf is backdated by three seconds. */
export const MAX_CLOCK_SKEW_MS = 60_000;

/**
 * Verifies that an AWS Nitro hypervisor signed this document, for an enclave such as the caller expects.
 *
 * What it does not prove: that the peer holds the private half of `publicKey` (make it use it), which process in the
 * enclave asked (any can), and that this document is new where the nonce is unchecked. A document is no unique id: the
 * twin of its ECDSA signature verifies too.
 *
 * @param bytes - The document as the enclave gave it, at most 16 KiB.
 * @throws {@link AttestationError} any of its codes: the first check, in the order of the steps, that does not hold.
 */
export async function verifyAttestation(
  bytes: Uint8Array,
  expected: ExpectedAttestation,
): Promise<VerifiedAttestation> {
  const expectation = parseExpectation(expected);
  const cose = decodeCoseSign1(ownCopy(bytes)); // 1, 2
  const document = decodeDocument(cose.payloadBytes); // 3
  const atMs = expectation.atMs === "document" ? document.timestampMs : expectation.atMs;
  const { path, leafKey } = await verifyPath(document, expectation.rootDers); // 4
  checkValidity(path, atMs); // 5
  checkExtensions(path); // 6
  await verifySignature(cose, leafKey); // 7
  checkFreshness(document, expectation, atMs); // 8
  checkPolicy(document, expectation); // 9
  return document as UnverifiedAttestation as VerifiedAttestation; // the only cast to this type
}

/**
 * Reads a document without believing it: steps 1 to 3 only. For tools that show documents; what it returns cannot be
 * passed where a {@link VerifiedAttestation} is wanted.
 *
 * @throws {@link AttestationError} a code of steps 1 to 3.
 */
export function decodeUnverified(bytes: Uint8Array): UnverifiedAttestation {
  return decodeDocument(decodeCoseSign1(ownCopy(bytes)).payloadBytes);
}

/** Nobody may change what is being verified. Not `slice()`: Node's Buffer shares memory there. */
function ownCopy(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  if (!(bytes instanceof Uint8Array)) throw new AttestationError("INVALID_ARGUMENT", "a Uint8Array", "another value");
  return new Uint8Array(bytes);
}

/** Step 7. */
async function verifySignature(cose: CoseSign1, leafKey: CryptoKey): Promise<void> {
  if (!(await verifyEs384(leafKey, cose.signature, sigStructure(cose)))) {
    throw new AttestationError("SIGNATURE_INVALID", "a signature by the leaf's key", "one that does not verify");
  }
}

/** Step 8. Both directions: a time in the future is no younger than one in the past. */
function checkFreshness(document: UnverifiedAttestation, expectation: ParsedExpectation, atMs: number): void {
  const { nonce, maxAgeMs } = expectation;
  if (nonce !== "unchecked" && (document.nonce === null || !equalBytes(document.nonce, nonce))) {
    const got = document.nonce === null ? "none" : `another of ${document.nonce.length}`;
    throw new AttestationError("NONCE_MISMATCH", `the nonce of ${nonce.length} bytes that was sent`, got);
  }
  const ageMs = atMs - document.timestampMs;
  if (ageMs > maxAgeMs) throw new AttestationError("TOO_OLD", `an age of at most ${maxAgeMs} ms`, `${ageMs}`);
  if (-ageMs > MAX_CLOCK_SKEW_MS) {
    throw new AttestationError("FROM_FUTURE", `a time at most ${MAX_CLOCK_SKEW_MS} ms ahead`, `${-ageMs}`);
  }
}

/** Step 9. */
function checkPolicy({ pcrs }: UnverifiedAttestation, { pcrs: accepted, allowDebug }: ParsedExpectation): void {
  if (!allowDebug) checkNotDebug(pcrs);
  if (accepted === "unchecked") return;
  const refusals = accepted.map((set) => refusalBy(set, pcrs));
  if (refusals.includes(null)) return;
  // Of several sets the last refusal is thrown: one is as good as another, and all of them would flood a log.
  const refusal = refusals.at(-1);
  if (refusal) throw refusal;
}

/** The hypervisor zeroes PCR0, 1 and 2 in debug mode; no image measures to zeros. */
function checkNotDebug(pcrs: PcrSet): void {
  const value = pcrs.get(0);
  if (value === undefined) throw new AttestationError("PCR_ABSENT", "PCR0", "none");
  if (isAllZero(value)) throw new AttestationError("DEBUG_MODE", "PCR0 of an image", "zeros: debug mode");
}

/** Null where every PCR of the set is present and equal: absent is never equal to anything. */
function refusalBy(set: PcrSet, pcrs: PcrSet): AttestationError | null {
  for (const [index, expected] of set) {
    const got = pcrs.get(index);
    if (got === undefined) return new AttestationError("PCR_ABSENT", `PCR${index} ${toHex(expected)}`, "none");
    if (!equalBytes(got, expected)) {
      return new AttestationError("PCR_MISMATCH", `PCR${index} ${toHex(expected)}`, toHex(got));
    }
  }
  return null;
}
