/**
 * ECDSA over a digest that somebody else computed (FIPS 186-5 section 6.4). Node signs only what it has hashed itself, and
 * KMS's `MessageType: DIGEST` is the one that matters to callers. For simulated keys only: nothing here takes care of
 * how long it takes.
 */
import { type KeyObject, randomBytes } from "node:crypto";

interface Curve {
  readonly p: bigint;
  readonly n: bigint;
  readonly g: Point;
}

/** Null is the point at infinity. */
type Point = { readonly x: bigint; readonly y: bigint } | null;

/** SP 800-186 section 3.2.1. All three have a = -3. */
const CURVES: Readonly<Record<string, Curve>> = {
  "P-256": {
    p: 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn,
    n: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
    g: {
      x: 0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296n,
      y: 0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5n,
    },
  },
  "P-384": {
    p: 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
    n: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
    g: {
      x: 0xaa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7n,
      y: 0x3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5fn,
    },
  },
  "P-521": {
    p: 2n ** 521n - 1n,
    n: (2n ** 265n - 6n) * 2n ** 256n + 0x51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
    g: {
      x: 0xc6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66n,
      y: 0x11839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650n,
    },
  },
};

/** @returns SEQUENCE { r INTEGER, s INTEGER }, as KMS gives it. */
export function signDigest(privateKey: KeyObject, digest: Uint8Array): Buffer {
  const { crv = "", d = "" } = privateKey.export({ format: "jwk" });
  const curve = CURVES[crv];
  if (curve === undefined) throw new Error(`no curve ${crv}`);
  const { n } = curve;
  const bits = n.toString(2).length;
  const hash = bigOf(digest);
  const e = digest.length * 8 > bits ? hash >> BigInt(digest.length * 8 - bits) : hash;
  for (;;) {
    // 64 bits more than n has: what is left of bias is below 2^-64.
    const k = bigOf(randomBytes(Math.ceil(bits / 8) + 8)) % n;
    const r = (multiply(curve, k, curve.g)?.x ?? 0n) % n;
    const s = k === 0n ? 0n : modulo(inverse(k, n) * (e + r * bigOf(Buffer.from(d, "base64url"))), n);
    if (r !== 0n && s !== 0n) return derOf(r, s);
  }
}

function multiply(curve: Curve, scalar: bigint, point: Point): Point {
  let [sum, doubled]: [Point, Point] = [null, point];
  for (let left = scalar; left > 0n; left >>= 1n) {
    if ((left & 1n) === 1n) sum = add(curve, sum, doubled);
    doubled = add(curve, doubled, doubled);
  }
  return sum;
}

function add({ p }: Curve, a: Point, b: Point): Point {
  if (a === null) return b;
  if (b === null) return a;
  if (a.x === b.x && modulo(a.y + b.y, p) === 0n) return null;
  const slope =
    a.x === b.x ? (3n * a.x * a.x - 3n) * inverse(2n * a.y, p) : (b.y - a.y) * inverse(modulo(b.x - a.x, p), p);
  const x = modulo(slope * slope - a.x - b.x, p);
  return { x, y: modulo(slope * (a.x - x) - a.y, p) };
}

/** Euclid's, extended. */
function inverse(value: bigint, modulus: bigint): bigint {
  let [a, b, x, y] = [modulo(value, modulus), modulus, 1n, 0n];
  while (a > 1n) {
    const quotient = b / a;
    [a, b] = [b - quotient * a, a];
    [x, y] = [y - quotient * x, x];
  }
  return modulo(x, modulus);
}

function modulo(value: bigint, modulus: bigint): bigint {
  const rest = value % modulus;
  return rest < 0n ? rest + modulus : rest;
}

function bigOf(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
}

function derOf(...integers: readonly bigint[]): Buffer {
  const body = Buffer.concat(
    integers.map((integer) => {
      const hex = integer.toString(16);
      const bytes = Buffer.from(hex.padStart(hex.length + (hex.length % 2), "0"), "hex");
      const signed = (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), bytes]) : bytes;
      return Buffer.concat([Buffer.of(0x02, signed.length), signed]);
    }),
  );
  const length = body.length < 0x80 ? Buffer.of(body.length) : Buffer.of(0x81, body.length);
  return Buffer.concat([Buffer.of(0x30), length, body]);
}
