/** Documents that are wrong in one way each, and the code that must refuse them; and some that are merely unusual. */
import { encode } from "cborg";
import type { AttestationErrorCode } from "../../attestation/index.ts";
import { basicConstraints, der, keyUsage, raw } from "../../simulator/pki/index.ts";
import {
  AT_MS,
  at,
  authority,
  encodeMap,
  type Forgery,
  forge,
  type Level,
  leafExtensions,
  level,
  NONCE,
  PCR0,
  replaced,
  swapBytes,
} from "./forge.ts";

export type Case = readonly [name: string, code: AttestationErrorCode, forgery: Forgery];

const HOUR_MS = 3_600_000;
const ORDER = BigInt(
  "0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
);
const concat = der.concat;
export const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"));
export const setEntry = (name: string, value: unknown): Forgery => ({
  entries: (entries) => replaced(entries, name, value),
});
const dropEntry = (name: string): Forgery => ({ entries: (entries) => entries.filter(([key]) => key !== name) });
export const header = (bytes: string): Forgery => ({ protectedHeader: hex(bytes) });
const halves = (r: Uint8Array, s: Uint8Array): Forgery => ({ signature: () => concat(r, s) });
const leaf = (changes: Parameters<typeof at>[1]): Forgery => ({ levels: at(4, changes) });
const instance = (changes: Parameters<typeof at>[1]): Forgery => ({ levels: at(3, changes) });
const critical = (oid: string) => raw({ oid, critical: true, value: der.sequence() });
const tbs = (from: string, to: string): Forgery => leaf({ tbs: (bytes) => swapBytes(bytes, from, to) });
export const pcrs = (entries: readonly (readonly [unknown, unknown])[]): Forgery => ({
  payload: (payload) => {
    // The map of PCRs stands after its key; what follows it is the certificate's key.
    const [key, next] = [Buffer.from(encode("pcrs")), Buffer.from(encode("certificate"))];
    const from = Buffer.from(payload).indexOf(key) + key.length;
    return concat(payload.subarray(0, from), encodeMap(entries), payload.subarray(Buffer.from(payload).indexOf(next)));
  },
});

export const ACCEPTED: readonly (readonly [string, Forgery])[] = [
  ["tag 18, as NitroTPM's", { bytes: (bytes) => concat(hex("d2"), bytes) }],
  ["s replaced by n - s: a document is no unique id", { signature: (signature) => highTwin(signature) }],
  ["a payload of indefinite length", { payload: (payload) => concat(hex("bf"), payload.subarray(1), hex("ff")) }],
  ["an unknown key", { entries: (entries) => [...entries, ["future", [1, -1, "x", true, null, new Map()]]] }],
  ["a key named __proto__", { entries: (entries) => [...entries, ["__proto__", new Map([["nonce", 1]])]] }],
  ["an unprotected header that says something", { items: ([a, , c, d]) => parts(a, hex("a10443010203"), c, d) }],
  ["a protected header that says more", header("a20138220443010203")],
  ["no public_key", dropEntry("public_key")],
  ["a public_key of null", setEntry("public_key", null)],
  ["no user_data", dropEntry("user_data")],
  ["an empty user_data", setEntry("user_data", new Uint8Array(0))],
  ["user_data of 1024 bytes", setEntry("user_data", new Uint8Array(1024))],
  ["keys in another order", { entries: (entries) => entries.toReversed() }],
  ["no path length above", { levels: unlimited }],
  ["a leaf straight under the root", { levels: (levels) => levels.filter((_, index) => index === 0 || index === 4) }],
];

const STEP_1: readonly Case[] = [
  ["17 KiB", "INPUT_TOO_LARGE", { bytes: () => new Uint8Array(16 * 1024 + 1) }],
  ["nothing", "CBOR_TRUNCATED", { bytes: () => new Uint8Array(0) }],
  ["a byte less", "CBOR_TRUNCATED", { bytes: (bytes) => bytes.subarray(0, -1) }],
  ["a byte more", "CBOR_TRAILING_BYTES", { bytes: (bytes) => concat(bytes, hex("00")) }],
  ["a length of 2^32 - 1", "CBOR_TRUNCATED", { bytes: () => hex("845affffffff") }],
  ["a length of 2^63", "CBOR_TRUNCATED", { bytes: () => hex("845b8000000000000000") }],
  ["an array of 2^32 - 1", "CBOR_TRUNCATED", { bytes: () => hex("9affffffff") }],
  ["an array of 2^63", "CBOR_TRUNCATED", { bytes: () => hex("9b8000000000000000") }],
  ["a map of 2^64 - 1", "CBOR_TRUNCATED", { bytes: () => hex("bbffffffffffffffff") }],
  ["an indefinite map without end", "CBOR_TRUNCATED", { bytes: () => hex("bf0000") }],
  ["an array nested 10,000 deep", "CBOR_TOO_DEEP", { bytes: () => new Uint8Array(10_000).fill(0x81) }],
  [
    "maps nested 8,000 deep",
    "CBOR_TOO_DEEP",
    { bytes: () => concat(...new Array<Uint8Array>(8000).fill(hex("a100"))) },
  ],
  ["a head longer than needed", "CBOR_NOT_MINIMAL", { bytes: (bytes) => concat(hex("9804"), bytes.subarray(1)) }],
  ["24 in nine bytes", "CBOR_NOT_MINIMAL", { bytes: () => hex("1b0000000000000018") }],
  ["an indefinite array", "CBOR_UNSUPPORTED", { bytes: (bytes) => concat(hex("9f"), bytes.subarray(1), hex("ff")) }],
  ["an indefinite byte string", "CBOR_UNSUPPORTED", { items: (items) => [hex("5f44a1013822ff"), ...items.slice(1)] }],
  ["a reserved head", "CBOR_UNSUPPORTED", { bytes: () => hex("1c") }],
  ["a float", "CBOR_UNSUPPORTED", { entries: (entries) => [...entries, ["x", 1.5]] }],
  ["undefined", "CBOR_UNSUPPORTED", { entries: (entries) => [...entries, ["x", undefined]] }],
  ["tag 18 twice", "CBOR_UNSUPPORTED", { bytes: (bytes) => concat(hex("d2d2"), bytes) }],
  ["a key of bytes", "CBOR_UNSUPPORTED", { bytes: () => hex("a1410000") }],
  ["a break where none belongs", "CBOR_UNSUPPORTED", { bytes: () => hex("81ff") }],
  ["invalid UTF-8", "CBOR_INVALID_UTF8", { payload: (payload) => swapBytes(payload, "692d3031", "692dc031") }],
  ["a surrogate in UTF-8", "CBOR_INVALID_UTF8", { bytes: () => hex("63eda080") }],
  ["a key twice", "CBOR_DUPLICATE_KEY", { entries: (entries) => [...entries, ["nonce", NONCE]] }],
  [
    "a PCR twice",
    "CBOR_DUPLICATE_KEY",
    pcrs([
      [0, PCR0],
      [0, PCR0],
    ]),
  ],
  ["a header twice", "CBOR_DUPLICATE_KEY", header("a2013822013822")],
  ["__proto__ twice", "CBOR_DUPLICATE_KEY", { entries: (e) => [...e, ["__proto__", 1], ["__proto__", 2]] }],
  ["no array", "NOT_COSE_SIGN1", { bytes: () => hex("a0") }],
  ["an array of three", "NOT_COSE_SIGN1", { bytes: () => hex("8340a040") }],
  ["an array of five", "NOT_COSE_SIGN1", { bytes: () => hex("8540a0404040") }],
  ["an unprotected header of bytes", "NOT_COSE_SIGN1", { items: ([a, , c, d]) => parts(a, hex("40"), c, d) }],
  ["a detached payload", "NOT_COSE_SIGN1", { items: ([a, b, , d]) => parts(a, b, hex("f6"), d) }],
];

const STEP_2: readonly Case[] = [
  ["a protected header that is no map", "HEADER_MALFORMED", header("01")],
  ["ES256", "ALGORITHM_NOT_ALLOWED", header("a10126")],
  ["ES512", "ALGORITHM_NOT_ALLOWED", header("a1013823")],
  ["algorithm -1, as QEMU's", "ALGORITHM_NOT_ALLOWED", header("a10120")],
  ["algorithm 35", "ALGORITHM_NOT_ALLOWED", header("a1011823")],
  ["algorithm by name", "ALGORITHM_NOT_ALLOWED", header("a101654553333834")],
  ["algorithm under the text key 1", "ALGORITHM_NOT_ALLOWED", header("a161313822")],
  ["an empty header", "ALGORITHM_NOT_ALLOWED", header("")],
  ["an empty map", "ALGORITHM_NOT_ALLOWED", header("a0")],
  [
    "the algorithm unprotected only",
    "ALGORITHM_NOT_ALLOWED",
    { ...header("a0"), items: ([a, , c, d]) => parts(a, hex("a1013822"), c, d) },
  ],
  ["crit", "CRITICAL_HEADER", header("a2013822028101")],
  ["95 bytes of signature", "SIGNATURE_LENGTH", { signature: (signature) => signature.subarray(1) }],
  ["97 bytes of signature", "SIGNATURE_LENGTH", { signature: (signature) => concat(signature, hex("00")) }],
  ["no signature", "SIGNATURE_LENGTH", { signature: () => new Uint8Array(0) }],
];

const FIELDS = ["module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"] as const;

const STEP_3: readonly Case[] = [
  ...FIELDS.map((field): Case => [`no ${field}`, "FIELD_MISSING", dropEntry(field)]),
  ...FIELDS.map((field): Case => [`${field} as true`, "FIELD_TYPE", setEntry(field, true)]),
  ...FIELDS.map((field): Case => [`${field} as null`, "FIELD_TYPE", setEntry(field, null)]),
  ...["public_key", "user_data", "nonce"].map(
    (field): Case => [`${field} as text`, "FIELD_TYPE", setEntry(field, "x")],
  ),
  ["a payload that is no map", "FIELD_TYPE", { payload: () => hex("80") }],
  ["a payload with a number as key", "FIELD_TYPE", { entries: (entries) => [...entries, [1, 1]] }],
  ["an empty module_id", "FIELD_LENGTH", setEntry("module_id", "")],
  ["an empty certificate", "FIELD_LENGTH", setEntry("certificate", new Uint8Array(0))],
  ["a certificate of 1025 bytes", "FIELD_LENGTH", setEntry("certificate", new Uint8Array(1025))],
  ["a cabundle with text", "FIELD_TYPE", setEntry("cabundle", ["x"])],
  ["a cabundle with an empty one", "FIELD_LENGTH", setEntry("cabundle", [new Uint8Array(0)])],
  ["an empty public_key", "FIELD_LENGTH", setEntry("public_key", new Uint8Array(0))],
  ["a nonce of 1025 bytes", "FIELD_LENGTH", setEntry("nonce", new Uint8Array(1025))],
  ["user_data of 1025 bytes", "FIELD_LENGTH", setEntry("user_data", new Uint8Array(1025))],
  ["digest SHA256", "DIGEST_NOT_SUPPORTED", setEntry("digest", "SHA256")],
  ["digest sha384", "DIGEST_NOT_SUPPORTED", setEntry("digest", "sha384")],
  ["a timestamp of 0", "TIMESTAMP_OUT_OF_RANGE", setEntry("timestamp", 0)],
  ["a negative timestamp", "TIMESTAMP_OUT_OF_RANGE", setEntry("timestamp", -1)],
  ["a timestamp past all dates", "TIMESTAMP_OUT_OF_RANGE", setEntry("timestamp", 8.64e15 + 1)],
  ["a timestamp of 2^64 - 1", "TIMESTAMP_OUT_OF_RANGE", setEntry("timestamp", 2n ** 64n - 1n)],
  ["no PCRs", "PCR_COUNT", pcrs([])],
  ["33 PCRs", "PCR_COUNT", pcrs(Array.from({ length: 33 }, (_, index) => [index, PCR0]))],
  ["PCR32", "PCR_INDEX", pcrs([[32, PCR0]])],
  ["PCR-1", "PCR_INDEX", pcrs([[-1, PCR0]])],
  ["PCR 2^64 - 1", "PCR_INDEX", pcrs([[2n ** 64n - 1n, PCR0]])],
  ["a PCR named by text", "PCR_INDEX", pcrs([["0", PCR0]])],
  ["a PCR of 32 bytes under SHA384", "PCR_LENGTH", pcrs([[0, PCR0.subarray(16)]])],
  ["a PCR of 64 bytes under SHA384", "PCR_LENGTH", pcrs([[0, new Uint8Array(64)]])],
  ["a PCR of no bytes", "PCR_LENGTH", pcrs([[0, new Uint8Array(0)]])],
  ["a PCR as null", "FIELD_TYPE", pcrs([[0, null]])],
  ["an empty cabundle", "CABUNDLE_LENGTH", setEntry("cabundle", [])],
  ["a cabundle of 9", "CABUNDLE_LENGTH", setEntry("cabundle", new Array(9).fill(Uint8Array.of(0x30, 0)))],
];

const EC_SPKI = "3076301006072a8648ce3d020106052b81040022";
const STEP_4: readonly Case[] = [
  ["the bundle without its root", "ROOT_NOT_TRUSTED", { bundle: (ders) => ders.slice(1) }],
  [
    "the bundle in reverse",
    "ROOT_NOT_TRUSTED",
    { bundle: (ders) => [...ders.slice(0, -1).reverse(), ...ders.slice(-1)] },
  ],
  ["another root of the same name", "ROOT_NOT_TRUSTED", { bundle: foreignRoot }],
  ...[1, 2, 3].map(
    (index): Case => [`cabundle[${index}] dropped`, "ISSUER_MISMATCH", { bundle: (d) => d.toSpliced(index, 1) }],
  ),
  ["two certificates swapped", "ISSUER_MISMATCH", { bundle: (ders) => swap(ders, 1, 2) }],
  ["the root twice", "ISSUER_MISMATCH", { bundle: ([root, ...rest]) => parts(root, root, ...rest) }],
  [
    "the instance's certificate as leaf",
    "ISSUER_MISMATCH",
    { bundle: (ders) => [...ders.slice(0, 4), ders[3] ?? PCR0] },
  ],
  ["an issuer of another name", "ISSUER_MISMATCH", instance({ issuerCn: "other" })],
  ["an issuer in other letters", "ISSUER_MISMATCH", instance({ issuerCn: "ZONAL" })],
  [
    "a leaf of another chain",
    "CERTIFICATE_SIGNATURE_INVALID",
    { bundle: (ders) => [...ders.slice(0, 4), otherChain(4)] },
  ],
  ["an authority of another chain", "CERTIFICATE_SIGNATURE_INVALID", { bundle: (ders) => ders.with(2, otherChain(2)) }],
  ["a certificate's signature changed", "CERTIFICATE_SIGNATURE_INVALID", instance({ signed: flipLast })],
  ["a leaf key on P-256", "CERTIFICATE_KEY", { ...leaf({ curve: "P-256" }), signature: () => new Uint8Array(96) }],
  ["an authority's key on P-256", "CERTIFICATE_KEY", instance({ curve: "P-256" })],
  ["a point that is not on the curve", "CERTIFICATE_KEY", leaf({ tbs: offCurve })],
  ["a compressed point", "CERTIFICATE_KEY", leaf({ tbs: (bytes) => swapBytes(bytes, "03620004", "03620002") })],
  ["another curve's name", "CERTIFICATE_KEY", tbs(EC_SPKI, EC_SPKI.replace(/22$/, "23"))],
  ["ecdsa-with-SHA256 inside", "CERTIFICATE_ALGORITHM", tbs("06082a8648ce3d040303", "06082a8648ce3d040302")],
  [
    "ecdsa-with-SHA256 outside",
    "CERTIFICATE_ALGORITHM",
    leaf({ signed: (bytes) => swapLast(bytes, "2a8648ce3d040303", "2a8648ce3d040302") }),
  ],
  ["a certificate that is no DER", "CERTIFICATE_MALFORMED", { bundle: (ders) => [...ders.slice(0, 4), PCR0] }],
  ["a byte after a certificate", "CERTIFICATE_MALFORMED", leaf({ signed: (bytes) => concat(bytes, hex("00")) })],
  ["a length longer than needed", "CERTIFICATE_MALFORMED", tbs("300a06082a8648ce3d040303", "30810906082a8648ce3d0403")],
  ["an indefinite length", "CERTIFICATE_MALFORMED", tbs("300a06082a8648ce3d040303", "308006082a8648ce3d040303")],
  ["version 1", "CERTIFICATE_MALFORMED", tbs("a003020102", "a003020100")],
  ["a negative serial", "CERTIFICATE_MALFORMED", tbs("020105", "020185")],
  ["an empty subject", "CERTIFICATE_MALFORMED", leaf({ cn: "" })],
  ["a date that does not exist", "CERTIFICATE_MALFORMED", tbs(utcTimeHex("260303"), utcTimeHex("260230"))],
  [
    "a time without Z",
    "CERTIFICATE_MALFORMED",
    tbs(`${utcTimeHex("260303030506")}5a`, `${utcTimeHex("260303030506")}2b`),
  ],
  ["GeneralizedTime before 2050", "CERTIFICATE_MALFORMED", leaf({ tbs: generalizedTime })],
  ["an extension twice", "CERTIFICATE_MALFORMED", leaf({ extensions: [...leafExtensions, ...leafExtensions] })],
  [
    "CA=false written out",
    "CERTIFICATE_MALFORMED",
    leaf({ extensions: [raw({ oid: "2.5.29.19", critical: true, value: hex("3003010100") })] }),
  ],
  [
    "critical=false written out",
    "CERTIFICATE_MALFORMED",
    leaf({ tbs: (b) => swapBytes(b, "0603551d130101ff", "0603551d13010100") }),
  ],
  [
    "a keyUsage without bits",
    "CERTIFICATE_MALFORMED",
    leaf({ extensions: [keyUsage({ usages: [], critical: true })] }),
  ],
  [
    "a keyUsage with unused ones",
    "CERTIFICATE_MALFORMED",
    leaf({ extensions: [raw({ oid: "2.5.29.15", critical: true, value: hex("030206ff") })] }),
  ],
  [
    "an r longer than the order",
    "CERTIFICATE_MALFORMED",
    leaf({ signed: (bytes) => withSignature(bytes, ORDER << 8n, 1n) }),
  ],
  ["a negative s", "CERTIFICATE_MALFORMED", leaf({ signed: (bytes) => withSignature(bytes, 1n, -1n) })],
  [
    "r and s of 0 in a certificate",
    "CERTIFICATE_SIGNATURE_INVALID",
    leaf({ signed: (bytes) => withSignature(bytes, 0n, 0n) }),
  ],
];

const STEP_5: readonly Case[] = [
  ...[0, 1, 2, 3, 4].flatMap((index): readonly Case[] => [
    [
      `certificate ${index} expired a second ago`,
      "CERTIFICATE_EXPIRED",
      { levels: at(index, { notAfterMs: AT_MS - 1000 }) },
    ],
    [
      `certificate ${index} valid from the next second`,
      "CERTIFICATE_NOT_YET_VALID",
      { levels: at(index, { notBeforeMs: AT_MS + 1000 }) },
    ],
  ]),
  ["an expired intermediate over a leaf that is not", "CERTIFICATE_EXPIRED", instance({ notAfterMs: AT_MS - HOUR_MS })],
];

const STEP_6: readonly Case[] = [
  [
    "nameConstraints, critical",
    "CRITICAL_EXTENSION_UNKNOWN",
    instance({ extensions: [...authority(0), critical("2.5.29.30")] }),
  ],
  [
    "extendedKeyUsage, critical, in the leaf",
    "CRITICAL_EXTENSION_UNKNOWN",
    leaf({ extensions: [...leafExtensions, critical("2.5.29.37")] }),
  ],
  ["an authority without basicConstraints", "BASIC_CONSTRAINTS", instance({ extensions: authority(0).slice(1) })],
  ["an authority without extensions", "BASIC_CONSTRAINTS", instance({ extensions: [] })],
  [
    "an authority whose basicConstraints is not critical",
    "BASIC_CONSTRAINTS",
    instance({ extensions: [basicConstraints({ ca: true, critical: false }), ...authority().slice(1)] }),
  ],
  [
    "a leaf as intermediate",
    "BASIC_CONSTRAINTS",
    { levels: (levels) => [...unlimited(levels), level("below the leaf", leafExtensions)] },
  ],
  ["a CA as leaf", "BASIC_CONSTRAINTS", leaf({ extensions: authority() })],
  ["a leaf without basicConstraints", "BASIC_CONSTRAINTS", leaf({ extensions: leafExtensions.slice(1) })],
  [
    "a leaf with a path length",
    "BASIC_CONSTRAINTS",
    leaf({ extensions: [basicConstraints({ ca: false, pathLength: 0, critical: true }), ...leafExtensions.slice(1)] }),
  ],
  [
    "a path longer than the instance allows",
    "PATH_TOO_LONG",
    { levels: (levels) => levels.toSpliced(4, 0, level("more", authority())) },
  ],
  ["a path longer than the regional allows", "PATH_TOO_LONG", { levels: at(1, { extensions: authority(1) }) }],
  ["an authority without keyUsage", "KEY_USAGE", instance({ extensions: authority(0).slice(0, 1) })],
  [
    "an authority without keyCertSign",
    "KEY_USAGE",
    instance({ extensions: [...authority(0).slice(0, 1), ...leafExtensions.slice(1)] }),
  ],
  ["a leaf without keyUsage", "KEY_USAGE", leaf({ extensions: leafExtensions.slice(0, 1) })],
  [
    "a leaf without digitalSignature",
    "KEY_USAGE",
    leaf({ extensions: [...leafExtensions.slice(0, 1), keyUsage({ usages: ["keyEncipherment"], critical: true })] }),
  ],
  [
    "a leaf with keyCertSign",
    "KEY_USAGE",
    leaf({
      extensions: [
        ...leafExtensions.slice(0, 1),
        keyUsage({ usages: ["digitalSignature", "keyCertSign"], critical: true }),
      ],
    }),
  ],
];

const ZERO = new Uint8Array(48);
const STEP_7: readonly Case[] = [
  ["r = 0", "SIGNATURE_INVALID", { signature: (signature) => concat(ZERO, signature.subarray(48)) }],
  ["s = 0", "SIGNATURE_INVALID", { signature: (signature) => concat(signature.subarray(0, 48), ZERO) }],
  ["r = s = 0", "SIGNATURE_INVALID", halves(ZERO, ZERO)],
  ["r = s = n", "SIGNATURE_INVALID", halves(bytesOf(ORDER), bytesOf(ORDER))],
  ["r = s = 1", "SIGNATURE_INVALID", halves(bytesOf(1n), bytesOf(1n))],
  [
    "r and s exchanged",
    "SIGNATURE_INVALID",
    { signature: (signature) => concat(signature.subarray(48), signature.subarray(0, 48)) },
  ],
  [
    "a payload changed after signing",
    "SIGNATURE_INVALID",
    { bytes: (bytes) => swapBytes(bytes, Buffer.from(NONCE).toString("hex"), "4f".repeat(32)) },
  ],
  [
    "a protected header changed after signing",
    "SIGNATURE_INVALID",
    { items: ([, ...rest]) => parts(hex("49a20138220443010203"), ...rest) },
  ],
];

/** By step, from 1 on. */
export const REFUSED: readonly (readonly Case[])[] = [STEP_1, STEP_2, STEP_3, STEP_4, STEP_5, STEP_6, STEP_7];

function parts(...items: readonly (Uint8Array | undefined)[]): readonly Uint8Array[] {
  return items.map((item) => item ?? new Uint8Array(0));
}

function unlimited(levels: readonly Level[]): readonly Level[] {
  return levels.map((one, index) => (index < 4 ? { ...one, extensions: authority() } : one));
}

function bytesOf(value: bigint): Uint8Array {
  return hex(value.toString(16).padStart(96, "0"));
}

function highTwin(signature: Uint8Array): Uint8Array {
  const s = BigInt(`0x${Buffer.from(signature.subarray(48)).toString("hex")}`);
  return concat(signature.subarray(0, 48), bytesOf(ORDER - s));
}

function swap(ders: readonly Uint8Array[], a: number, b: number): readonly Uint8Array[] {
  return ders.with(a, ders[b] ?? PCR0).with(b, ders[a] ?? PCR0);
}

function otherChain(index: number): Uint8Array {
  let found: Uint8Array | undefined;
  forge({
    bundle: (ders) => {
      found = ders[index];
      return ders;
    },
  });
  return found ?? PCR0;
}

function foreignRoot(ders: readonly Uint8Array[]): readonly Uint8Array[] {
  return ders.with(0, otherChain(0));
}

function flipLast(bytes: Uint8Array): Uint8Array {
  return bytes.with(-1, (bytes.at(-1) ?? 0) ^ 1);
}

/** Changes the last place where some bytes stand. */
function swapLast(bytes: Uint8Array, from: string, to: string): Uint8Array {
  const where = Buffer.from(bytes).lastIndexOf(Buffer.from(from, "hex"));
  return concat(bytes.subarray(0, where), hex(to), bytes.subarray(where + from.length / 2));
}

function utcTimeHex(digits: string): string {
  return Buffer.from(digits).toString("hex");
}

/** A certificate with a signature of chosen numbers: the last element, after the second algorithm. */
function withSignature(certificate: Uint8Array, r: bigint, s: bigint): Uint8Array {
  const oid = der.sequence(der.objectIdentifier("1.2.840.10045.4.3.3"));
  const end = Buffer.from(certificate).lastIndexOf(Buffer.from(oid));
  return der.sequence(certificate.subarray(4, end), oid, der.bitString(der.sequence(der.integer(r), der.integer(s))));
}

/** The last byte of a point's y, changed: the curve has at most two y for one x. */
function offCurve(bytes: Uint8Array): Uint8Array {
  const start = Buffer.from(bytes).indexOf(Buffer.from(EC_SPKI, "hex")) + EC_SPKI.length / 2;
  const lastOfY = start + 4 + 96 - 1;
  return bytes.with(lastOfY, (bytes[lastOfY] ?? 0) ^ 1);
}

function generalizedTime(bytes: Uint8Array): Uint8Array {
  const [utc, general] = [der.time(AT_MS - HOUR_MS), der.element(0x18, Buffer.from("20260303030506Z"))];
  const where = Buffer.from(bytes).indexOf(Buffer.from(utc));
  // The two SEQUENCEs around it, validity and the certificate's body, are two bytes longer now.
  const body = concat(bytes.subarray(0, where), general, bytes.subarray(where + utc.length));
  const longer = body.with(where - 1, (body[where - 1] ?? 0) + 2);
  const length = new DataView(longer.buffer).getUint16(2) + 2;
  new DataView(longer.buffer).setUint16(2, length);
  return longer;
}
