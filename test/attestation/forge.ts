/**
 * Builds attestation documents that are wrong in one chosen way and right in every other, under a root made for the test:
 * whatever refuses one of them refuses it for that one reason.
 */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { encode } from "cborg";
import type { ExpectedAttestation } from "../../attestation/index.ts";
import {
  basicConstraints,
  type CertificateAlgorithm,
  der,
  type Extension,
  issueCertificate,
  keyUsage,
  type Name,
} from "../../simulator/pki/index.ts";

export const AT_MS = Date.UTC(2026, 2, 3, 4, 5, 6, 789);
export const NONCE: Uint8Array = new Uint8Array(32).fill(0x4e);
export const PCR0: Uint8Array = new Uint8Array(48).fill(0xa0);
const HOUR_MS = 3_600_000;

/** One certificate, root first. Whatever is given replaces what would be right. */
export interface Level {
  readonly cn: string;
  readonly extensions: readonly Extension[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly curve: "P-384" | "P-256";
  /** Name of the issuer; that of the level above unless given. */
  readonly issuerCn?: string;
  /** Changes the bytes that the issuer then signs. */
  readonly tbs?: (tbs: Uint8Array) => Uint8Array;
  /** Changes the certificate after it was signed. */
  readonly signed?: (der: Uint8Array) => Uint8Array;
}

export type Entry = readonly [key: unknown, value: unknown];

export interface Forgery {
  readonly levels?: (levels: readonly Level[]) => readonly Level[];
  /** DERs, root first, leaf last, as they go into the document. */
  readonly bundle?: (ders: readonly Uint8Array[]) => readonly Uint8Array[];
  readonly entries?: (entries: readonly Entry[]) => readonly Entry[];
  readonly payload?: (payload: Uint8Array) => Uint8Array;
  readonly protectedHeader?: Uint8Array;
  /** Changes the signature after it was made. */
  readonly signature?: (signature: Uint8Array) => Uint8Array;
  /** The four items of the COSE_Sign1, encoded. */
  readonly items?: (items: readonly Uint8Array[]) => readonly Uint8Array[];
  readonly bytes?: (bytes: Uint8Array) => Uint8Array;
}

export interface Forged {
  readonly bytes: Uint8Array;
  readonly expected: ExpectedAttestation;
  readonly leafKey: KeyObject;
}

const caUsage = keyUsage({ usages: ["digitalSignature", "keyCertSign"], critical: true });
export const authority = (pathLength?: number): readonly Extension[] => [
  basicConstraints({ ca: true, critical: true, ...(pathLength === undefined ? {} : { pathLength }) }),
  caUsage,
];
export const leafExtensions: readonly Extension[] = [
  basicConstraints({ ca: false, critical: true }),
  keyUsage({ usages: ["digitalSignature", "nonRepudiation"], critical: false }),
];

export function level(cn: string, extensions: readonly Extension[]): Level {
  return { cn, extensions, notBeforeMs: AT_MS - HOUR_MS, notAfterMs: AT_MS + HOUR_MS, curve: "P-384" };
}

const LEVELS: readonly Level[] = [
  level("root", authority()),
  level("regional", authority(2)),
  level("zonal", authority(1)),
  level("instance", authority(0)),
  level("leaf", leafExtensions),
];

const KEYS = {
  "P-384": { namedCurve: "P-384", algorithm: "ecdsa-p384-sha384", hash: "sha384", oid: "1.2.840.10045.4.3.3" },
  "P-256": { namedCurve: "P-256", algorithm: "ecdsa-p256-sha256", hash: "sha256", oid: "1.2.840.10045.4.3.2" },
} as const satisfies Record<string, { algorithm: CertificateAlgorithm } & Record<string, string>>;

export function forge(forgery: Forgery = {}): Forged {
  const levels = forgery.levels?.(LEVELS) ?? LEVELS;
  const { ders, leafKey } = issueAll(levels);
  const [root = new Uint8Array()] = ders;
  const bundle = forgery.bundle?.(ders) ?? ders;
  const entries: readonly Entry[] = [
    ["module_id", "i-0123456789abcdef0-enc0123456789abcdef"],
    ["digest", "SHA384"],
    ["timestamp", AT_MS],
    ["pcrs", new Map(Array.from({ length: 16 }, (_, index) => [index, index === 0 ? PCR0 : new Uint8Array(48)]))],
    ["certificate", bundle.at(-1)],
    ["cabundle", bundle.slice(0, -1)],
    ["public_key", Uint8Array.of(1, 2, 3)],
    ["user_data", null],
    ["nonce", NONCE],
  ];
  const encoded = encodeMap(forgery.entries?.(entries) ?? entries);
  const payload = forgery.payload?.(encoded) ?? encoded;
  const protectedHeader = forgery.protectedHeader ?? Uint8Array.of(0xa1, 0x01, 0x38, 0x22);
  const toBeSigned = encode(["Signature1", protectedHeader, new Uint8Array(0), payload]);
  const signature = sign("sha384", toBeSigned, { key: leafKey, dsaEncoding: "ieee-p1363" });
  const items = [protectedHeader, new Map(), payload, forgery.signature?.(signature) ?? signature].map((item) =>
    encode(item),
  );
  const bytes = der.concat(Uint8Array.of(0x84), ...(forgery.items?.(items) ?? items));
  const roots = [{ name: "test", der: root }];
  const expected = { roots, atMs: AT_MS, nonce: NONCE, pcrs: [new Map([[0, PCR0]])], maxAgeMs: 60_000 };
  return { bytes: forgery.bytes?.(bytes) ?? bytes, expected, leafKey };
}

/** A map of definite length; keys may come twice. */
export function encodeMap(entries: readonly Entry[]): Uint8Array {
  const head = entries.length < 24 ? Uint8Array.of(0xa0 | entries.length) : Uint8Array.of(0xb8, entries.length);
  return der.concat(head, ...entries.flatMap(([key, value]) => [encode(key), encode(value)]));
}

export function replaced(entries: readonly Entry[], name: string, value: unknown): readonly Entry[] {
  return entries.map(([key, old]) => (key === name ? [key, value] : [key, old]));
}

/** Replaces one level. */
export function at(index: number, changes: Partial<Level>): (levels: readonly Level[]) => readonly Level[] {
  return (levels) => levels.map((one, which) => (which === index ? { ...one, ...changes } : one));
}

function issueAll(levels: readonly Level[]): { readonly ders: readonly Uint8Array[]; readonly leafKey: KeyObject } {
  const keys = levels.map(({ curve }) => generateKeyPairSync("ec", { namedCurve: KEYS[curve].namedCurve }));
  const ders = levels.map((one, index) => {
    const own = keys[index];
    const issuerIndex = Math.max(0, index - 1);
    const issuer = keys[issuerIndex];
    const issuerLevel = levels[issuerIndex];
    if (own === undefined || issuer === undefined || issuerLevel === undefined) throw new Error("no such level");
    const { algorithm, hash, oid } = KEYS[issuerLevel.curve];
    const certificate = issueCertificate({
      subject: nameOf(one.cn),
      issuer: nameOf(one.issuerCn ?? issuerLevel.cn),
      serial: BigInt(index + 1),
      notBeforeMs: one.notBeforeMs,
      notAfterMs: one.notAfterMs,
      subjectPublicKey: own.publicKey,
      issuerPrivateKey: issuer.privateKey,
      algorithm,
      extensions: one.extensions,
    });
    const resigned =
      one.tbs === undefined ? certificate : resign(one.tbs(tbsOf(certificate)), issuer.privateKey, hash, oid);
    return one.signed?.(resigned) ?? resigned;
  });
  const leafKey = keys.at(-1)?.privateKey;
  if (leafKey === undefined) throw new Error("no leaf");
  return { ders, leafKey };
}

function nameOf(cn: string): Name {
  // The long one makes every certificate's body longer than 255 bytes.
  return cn === ""
    ? []
    : [
        ["O", "An organisation that exists in tests and nowhere else"],
        ["CN", cn],
      ];
}

/** Both headers are four bytes long: certificates here are longer than 255 bytes and shorter than 64 KiB. */
function tbsOf(certificate: Uint8Array): Uint8Array {
  const length = new DataView(certificate.buffer, certificate.byteOffset).getUint16(6);
  return certificate.subarray(4, 8 + length);
}

function resign(tbs: Uint8Array, key: KeyObject, hash: string, oid: string): Uint8Array {
  const signature = sign(hash, tbs, { key, dsaEncoding: "der" });
  return der.sequence(tbs, der.sequence(der.objectIdentifier(oid)), der.bitString(signature));
}

/** Replaces the first place where some bytes stand by others of the same length. */
export function swapBytes(bytes: Uint8Array, fromHex: string, toHex: string): Uint8Array {
  const where = Buffer.from(bytes).indexOf(Buffer.from(fromHex, "hex"));
  if (where < 0 || fromHex.length !== toHex.length) throw new Error(`cannot put ${toHex} for ${fromHex}`);
  const copy = Uint8Array.from(bytes);
  copy.set(Buffer.from(toHex, "hex"), where);
  return copy;
}
