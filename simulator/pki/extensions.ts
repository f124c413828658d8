/** X.509 v3 extensions (RFC 5280 section 4.2). */
import { createHash, type KeyObject } from "node:crypto";
import { isIP } from "node:net";
import {
  boolean,
  concat,
  explicit,
  implicit,
  integer,
  namedBits,
  objectIdentifier,
  octetString,
  sequence,
} from "./der.ts";
import { PkiError } from "./errors.ts";

export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  /** DER of the extension's own type, before it goes into an OCTET STRING. */
  readonly value: Uint8Array;
}

/** Bit numbers of RFC 5280 4.2.1.3. */
const KEY_USAGE_BITS = {
  digitalSignature: 0,
  nonRepudiation: 1,
  keyEncipherment: 2,
  dataEncipherment: 3,
  keyAgreement: 4,
  keyCertSign: 5,
  cRLSign: 6,
} as const;

export type KeyUsage = keyof typeof KEY_USAGE_BITS;

/** RFC 5280 4.2.1.12. */
const EXTENDED_KEY_USAGE_OIDS = { serverAuth: "1.3.6.1.5.5.7.3.1", clientAuth: "1.3.6.1.5.5.7.3.2" } as const;

export type ExtendedKeyUsage = keyof typeof EXTENDED_KEY_USAGE_OIDS;

/** Any extension at all, so that tests can build certificates that a verifier must refuse. */
export function raw(extension: Extension): Extension {
  return extension;
}

export function basicConstraints(options: {
  readonly ca: boolean;
  readonly pathLength?: number;
  readonly critical: boolean;
}): Extension {
  // cA is DEFAULT FALSE: DER leaves a default out (X.690 11.5).
  const fields = options.ca ? [boolean(true)] : [];
  if (options.pathLength !== undefined) fields.push(integer(options.pathLength));
  return { oid: "2.5.29.19", critical: options.critical, value: sequence(...fields) };
}

export function keyUsage(options: { readonly usages: readonly KeyUsage[]; readonly critical: boolean }): Extension {
  const value = namedBits(options.usages.map((usage) => KEY_USAGE_BITS[usage]));
  return { oid: "2.5.29.15", critical: options.critical, value };
}

export function extendedKeyUsage(usages: readonly ExtendedKeyUsage[]): Extension {
  const value = sequence(...usages.map((usage) => objectIdentifier(EXTENDED_KEY_USAGE_OIDS[usage])));
  return { oid: "2.5.29.37", critical: false, value };
}

/**
 * @param hosts - Host names become dNSName, IPv4 and IPv6 addresses iPAddress.
 * @throws {@link PkiError} `MALFORMED_VALUE` for what is neither.
 */
export function subjectAltName(hosts: readonly string[]): Extension {
  return { oid: "2.5.29.17", critical: false, value: sequence(...hosts.map(generalName)) };
}

/** RFC 5280 4.2.1.2, method 1: SHA-1 of the subjectPublicKey bits. It is a name here and protects nothing. */
export function keyIdentifierOf(publicKey: KeyObject): Uint8Array {
  return createHash("sha1").update(subjectPublicKeyBits(publicKey)).digest();
}

export function subjectKeyIdentifier(keyIdentifier: Uint8Array): Extension {
  return { oid: "2.5.29.14", critical: false, value: octetString(keyIdentifier) };
}

export function authorityKeyIdentifier(keyIdentifier: Uint8Array): Extension {
  return { oid: "2.5.29.35", critical: false, value: sequence(implicit(0, keyIdentifier)) };
}

/** One DistributionPoint for each URI, with a fullName of that URI alone. */
export function crlDistributionPoints(uris: readonly string[]): Extension {
  const points = uris.map((uri) => sequence(explicit(0, explicit(0, implicit(6, Buffer.from(uri, "latin1"))))));
  return { oid: "2.5.29.31", critical: false, value: sequence(...points) };
}

export function encodeExtension({ oid, critical, value }: Extension): Uint8Array {
  return sequence(objectIdentifier(oid), ...(critical ? [boolean(true)] : []), octetString(value));
}

function generalName(host: string): Uint8Array {
  // A zone, as in fe80::1%eth0, means something on one machine only.
  switch (host.includes("%") ? 0 : isIP(host)) {
    case 4:
      return implicit(7, Uint8Array.from(host.split("."), Number));
    case 6:
      return implicit(7, ipv6Octets(host));
    default:
      if (!/^(?=.{1,253}$)(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i.test(host)) {
        throw new PkiError("MALFORMED_VALUE", `neither a host name nor an address: ${JSON.stringify(host)}`);
      }
      return implicit(2, Buffer.from(host, "latin1"));
  }
}

function ipv6Octets(address: string): Uint8Array {
  // The URL parser writes every form (zone-less) in the same lower-case groups, an embedded IPv4 address included.
  const text = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const [head = "", tail] = text.split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = new Array<string>(8 - before.length - after.length).fill("0");
  const groups = [...before, ...zeros, ...after].map((group) => Number.parseInt(group, 16));
  return concat(...groups.map((group) => Uint8Array.of(group >> 8, group & 0xff)));
}

/** The content of the BIT STRING that ends a SubjectPublicKeyInfo, without its count of unused bits. */
function subjectPublicKeyBits(publicKey: KeyObject): Uint8Array {
  const spki = publicKey.export({ type: "spki", format: "der" });
  const [, algorithmAt] = header(spki, 0);
  const [algorithmSize, algorithmContentAt] = header(spki, algorithmAt);
  const [, bitsAt] = header(spki, algorithmContentAt + algorithmSize);
  return spki.subarray(bitsAt + 1);
}

/** Size and offset of the content of the element at an offset. OpenSSL wrote these bytes: they are DER. */
function header(der: Uint8Array, at: number): [size: number, contentAt: number] {
  const first = der[at + 1] ?? 0;
  if (first < 0x80) return [first, at + 2];
  const count = first & 0x7f;
  return [Buffer.from(der).readUIntBE(at + 2, count), at + 2 + count];
}
