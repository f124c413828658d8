/** What a caller demands of a document. Nothing here has a default that lowers it. */
import type { AttestationRoot } from "./aws-root.ts";
import { type Bytes, isAllZero } from "./bytes.ts";
import { MAX_DATE_MS, MAX_FIELD_BYTES, MAX_PCR_INDEX, PCR_BYTES } from "./document.ts";
import { AttestationError } from "./errors.ts";

/** PCR index to its 48 bytes. Every PCR named must be present and equal; those not named may be anything. */
export type PcrSet = ReadonlyMap<number, Uint8Array>;

export interface ExpectedAttestation {
  /** At least one. */
  readonly roots: readonly AttestationRoot[];
  /**
   * When to judge validity and age, milliseconds since 1970. `"document"` takes the document's own signed time: for
   * archived evidence only, where something else proves when it was made. The age limit is then met by definition, and
   * whoever holds an old leaf key can date a document back into that leaf's life.
   */
  readonly atMs: number | "document";
  /** The challenge that was sent, 1 to 1024 bytes. `"unchecked"`: a captured document passes until it is too old. */
  readonly nonce: Uint8Array | "unchecked";
  /** Any one of these sets must match. `"unchecked"`: any enclave of any AWS account passes. */
  readonly pcrs: readonly PcrSet[] | "unchecked";
  /** How long before `atMs` the document may have been made. */
  readonly maxAgeMs: number;
  /** Accepts debug mode, in which the parent reads the enclave's console and PCR0 to 2 are zero. */
  readonly allowDebug?: boolean;
}

/** The same, checked, and copied so that nobody changes it while signatures are being verified. */
export interface ParsedExpectation {
  readonly rootDers: readonly Bytes[];
  readonly atMs: number | "document";
  readonly nonce: Bytes | "unchecked";
  readonly pcrs: readonly PcrSet[] | "unchecked";
  readonly maxAgeMs: number;
  readonly allowDebug: boolean;
}

/**
 * Makes a set of PCRs that pins an image: PCR0 (everything), or PCR1 and PCR2 (system and application), or PCR8 (who
 * signed it) with others beside it. Zeros pin nothing: they are what debug mode and unsigned images show.
 *
 * @throws {@link AttestationError} `INVALID_EXPECTATION`
 */
export function createPcrSet(entries: Iterable<readonly [index: number, value: Uint8Array]>): PcrSet {
  const set = checkedCopy(entries);
  checkPins(set, false);
  return set;
}

/** @throws {@link AttestationError} `INVALID_EXPECTATION` */
export function parseExpectation(expected: ExpectedAttestation): ParsedExpectation {
  const { roots, atMs, nonce, pcrs, maxAgeMs, allowDebug = false } = expected;
  if (!Array.isArray(roots) || roots.length === 0) throw invalid("at least one root", "none");
  if (atMs !== "document" && !(typeof atMs === "number" && atMs > 0 && atMs <= MAX_DATE_MS)) {
    throw invalid('atMs as milliseconds after 1970, or "document"', "another value");
  }
  if (!Number.isFinite(maxAgeMs) || maxAgeMs < 0) throw invalid("maxAgeMs of 0 or more", "another value");
  if (typeof allowDebug !== "boolean") throw invalid("allowDebug as true or false", "another value");
  return {
    rootDers: roots.map(({ der }: AttestationRoot) => parseRoot(der)),
    atMs,
    nonce: parseNonce(nonce),
    pcrs: parsePcrs(pcrs, allowDebug),
    maxAgeMs,
    allowDebug,
  };
}

function parseRoot(der: Uint8Array): Bytes {
  // DER of a certificate starts with a SEQUENCE; PEM text, the usual mistake, with a hyphen.
  if (!(der instanceof Uint8Array) || der[0] !== 0x30) throw invalid("a root as DER bytes", "something else");
  return new Uint8Array(der);
}

function parseNonce(nonce: Uint8Array | "unchecked"): Bytes | "unchecked" {
  if (nonce === "unchecked") return nonce;
  if (!(nonce instanceof Uint8Array)) throw invalid('a nonce in bytes, or "unchecked"', "another value");
  if (nonce.length < 1 || nonce.length > MAX_FIELD_BYTES) {
    throw invalid(`a nonce of 1 to ${MAX_FIELD_BYTES} bytes`, `${nonce.length}`);
  }
  return new Uint8Array(nonce);
}

function parsePcrs(pcrs: readonly PcrSet[] | "unchecked", allowDebug: boolean): readonly PcrSet[] | "unchecked" {
  if (pcrs === "unchecked") return pcrs;
  if (!Array.isArray(pcrs) || pcrs.length === 0) throw invalid('at least one PCR set, or "unchecked"', "none");
  return pcrs.map((set: PcrSet) => {
    if (!(set instanceof Map)) throw invalid("a PCR set as a Map", "another value");
    const copy = checkedCopy(set);
    checkPins(copy, allowDebug);
    return copy;
  });
}

function checkedCopy(entries: Iterable<readonly [number, Uint8Array]>): PcrSet {
  const set = new Map<number, Uint8Array>();
  for (const [index, value] of entries) {
    if (!Number.isInteger(index) || index < 0 || index > MAX_PCR_INDEX) {
      throw invalid(`PCR indices 0 to ${MAX_PCR_INDEX}`, String(index));
    }
    if (!(value instanceof Uint8Array) || value.length !== PCR_BYTES) {
      throw invalid(`PCR${index} as ${PCR_BYTES} bytes`, "another value");
    }
    if (set.has(index)) throw invalid(`PCR${index} once`, "it twice");
    set.set(index, new Uint8Array(value));
  }
  return set;
}

/** Whoever allows debug mode may name its zeros, and must name the same PCRs. */
function checkPins(set: PcrSet, allowZeros: boolean): void {
  const pins = (index: number): boolean => {
    const value = set.get(index);
    return value !== undefined && (allowZeros || !isAllZero(value));
  };
  const signerAndMore = pins(8) && [...set.keys()].some((index) => index !== 8 && pins(index));
  if (!pins(0) && !(pins(1) && pins(2)) && !signerAndMore) {
    const named = [...set.keys()].map((index) => `PCR${index}${pins(index) ? "" : " of zeros"}`).join(", ");
    throw invalid("PCR0, or PCR1 and PCR2, or PCR8 with others, none of zeros", named === "" ? "no PCR" : named);
  }
}

function invalid(expected: string, got: string): AttestationError {
  return new AttestationError("INVALID_EXPECTATION", expected, got);
}
