/** Steps 4 to 6: from a pinned root to the key that signed the document. */
import { type Bytes, equalBytes } from "./bytes.ts";
import { type Certificate, decodeCertificate } from "./certificate.ts";
import type { DecodedDocument } from "./document.ts";
import { importP384Key, verifyEs384 } from "./ecdsa.ts";
import { AttestationError } from "./errors.ts";

/** Root first, leaf last. */
export type CertificatePath = readonly Certificate[];

/**
 * Step 4: the bundle starts with a pinned root, each certificate names the one before it as issuer, and is signed by it.
 * The root's own signature is not checked: it is trusted for being pinned (RFC 5280 section 6.1.1 d).
 *
 * @returns The path, and the leaf's key.
 * @throws {@link AttestationError} `ROOT_NOT_TRUSTED`, `CERTIFICATE_*`, `ISSUER_MISMATCH`
 */
export async function verifyPath(
  document: Pick<DecodedDocument, "certificate" | "cabundle">,
  rootDers: readonly Bytes[],
): Promise<{ readonly path: CertificatePath; readonly leafKey: CryptoKey }> {
  const [first] = document.cabundle;
  if (first === undefined || !rootDers.some((root) => equalBytes(root, first))) {
    throw new AttestationError("ROOT_NOT_TRUSTED", "a pinned root as the first of cabundle", "another certificate");
  }
  const path = [...document.cabundle, document.certificate].map(decodeCertificate);
  path.slice(1).forEach((certificate, at) => {
    if (!equalBytes(certificate.issuer, path[at]?.subject ?? certificate.tbs)) {
      throw new AttestationError("ISSUER_MISMATCH", `${nameOf(at + 1, path)} issued by the one before it`, "another");
    }
    // Below the root nobody vouches for himself: it would only make the path longer.
    if (equalBytes(certificate.issuer, certificate.subject)) {
      throw new AttestationError("ISSUER_MISMATCH", `${nameOf(at + 1, path)} issued by another`, "its own name");
    }
  });
  return { path, leafKey: await verifySignatures(path) };
}

/** All at once, because each is the most costly thing that a verification does; the first bad one is reported. */
async function verifySignatures(path: CertificatePath): Promise<CryptoKey> {
  const keys = await Promise.all(path.map(({ publicKey }) => importP384Key(publicKey)));
  const signed = await Promise.all(path.map((certificate, at) => at === 0 || isSignedBy(certificate, keys[at - 1])));
  let leafKey: CryptoKey | null = null;
  for (const [at, key] of keys.entries()) {
    if (signed[at] !== true) {
      const expected = `${nameOf(at, path)} signed by the one before it`;
      throw new AttestationError("CERTIFICATE_SIGNATURE_INVALID", expected, "a signature that does not verify");
    }
    if (key === null) throw new AttestationError("CERTIFICATE_KEY", `a point of P-384 in ${nameOf(at, path)}`, "none");
    leafKey = key;
  }
  if (leafKey === null) throw new AttestationError("CERTIFICATE_KEY", "a leaf", "an empty path");
  return leafKey;
}

async function isSignedBy({ signature, tbs }: Certificate, key: CryptoKey | null | undefined): Promise<boolean> {
  return key !== undefined && key !== null && verifyEs384(key, signature, tbs);
}

/**
 * Step 5: every certificate is valid at that time, both ends included.
 *
 * @throws {@link AttestationError} `CERTIFICATE_NOT_YET_VALID`, `CERTIFICATE_EXPIRED`
 */
export function checkValidity(path: CertificatePath, atMs: number): void {
  for (const [at, { notBeforeMs, notAfterMs }] of path.entries()) {
    if (atMs < notBeforeMs) {
      const expected = `${nameOf(at, path)} valid at ${isoTime(atMs)}`;
      throw new AttestationError("CERTIFICATE_NOT_YET_VALID", expected, `one valid from ${isoTime(notBeforeMs)}`);
    }
    if (atMs > notAfterMs) {
      const expected = `${nameOf(at, path)} valid at ${isoTime(atMs)}`;
      throw new AttestationError("CERTIFICATE_EXPIRED", expected, `one valid until ${isoTime(notAfterMs)}`);
    }
  }
}

/**
 * Step 6: authorities may issue and leaves may not (RFC 5280 sections 4.2, 4.2.1.3, 4.2.1.9 and 6.1.4).
 *
 * @throws {@link AttestationError} `CRITICAL_EXTENSION_UNKNOWN`, `BASIC_CONSTRAINTS`, `PATH_TOO_LONG`, `KEY_USAGE`
 */
export function checkExtensions(path: CertificatePath): void {
  const leafAt = path.length - 1;
  for (const [at, certificate] of path.entries()) {
    if (certificate.hasUnknownCriticalExtension) {
      const expected = `only basicConstraints and keyUsage as critical extensions in ${nameOf(at, path)}`;
      throw new AttestationError("CRITICAL_EXTENSION_UNKNOWN", expected, "another");
    }
    if (at === leafAt) checkLeaf(certificate);
    else checkAuthority(certificate, nameOf(at, path), leafAt - 1 - at);
  }
}

/** @param intermediatesBelow - Authorities between this one and the leaf. */
function checkAuthority(certificate: Certificate, name: string, intermediatesBelow: number): void {
  const { basicConstraints, keyUsage } = certificate;
  if (basicConstraints === null || !basicConstraints.critical || !basicConstraints.ca) {
    throw new AttestationError("BASIC_CONSTRAINTS", `critical CA=true in ${name}`, "none");
  }
  const { pathLength } = basicConstraints;
  if (pathLength !== null && pathLength < intermediatesBelow) {
    const expected = `at most ${pathLength} authorities below ${name}`;
    throw new AttestationError("PATH_TOO_LONG", expected, `${intermediatesBelow}`);
  }
  if (keyUsage?.keyCertSign !== true) throw new AttestationError("KEY_USAGE", `keyCertSign in ${name}`, "none");
}

function checkLeaf({ basicConstraints, keyUsage }: Certificate): void {
  if (basicConstraints === null || basicConstraints.ca || basicConstraints.pathLength !== null) {
    const got = basicConstraints === null ? "none" : "CA=true or a path length";
    throw new AttestationError("BASIC_CONSTRAINTS", "CA=false and no path length in the leaf", got);
  }
  if (keyUsage?.digitalSignature !== true || keyUsage.keyCertSign) {
    throw new AttestationError("KEY_USAGE", "digitalSignature and no keyCertSign in the leaf", "other bits");
  }
}

function nameOf(at: number, path: CertificatePath): string {
  return at === path.length - 1 ? "the leaf" : `cabundle[${at}]`;
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
