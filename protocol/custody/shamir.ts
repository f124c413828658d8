/**
 * Shamir's 2-of-3 over GF(2^8), by an audited library that looks bytes up in tables: where it looks depends on what it is
 * given. So it is given masked bytes alone. A random line is added to the one that hides the secret, and taken off again
 * here, with shifts and no table: what the library sees is as random as the mask, whatever the secret is, and two sources
 * would have to fail before a share says anything of it (docs/decisions/0640).
 */
import { combine, split } from "shamir-secret-sharing";

const SHARES = 3;
const THRESHOLD = 2;
/** x^8 + x^4 + x^3 + x + 1, without its highest term: the library's field. */
const REDUCTION = 0x1b;

/** @returns Fresh random bytes: whoever asked wipes them. */
export type RandomBytes = (length: number) => Uint8Array;

/** The line at a point: for every byte of the secret one of the line, and the point after them, 1 to 255. */
export type SharePoint = Uint8Array<ArrayBuffer>;

/** @returns The caller wipes them. */
export async function splitSecret(
  secret: Uint8Array,
  random: RandomBytes,
): Promise<readonly [SharePoint, SharePoint, SharePoint]> {
  const mask = new Mask(secret.length, random);
  const hidden = mask.at(0, secret);
  const points = await split(hidden, SHARES, THRESHOLD);
  const [first, second, third] = points.map((point) => unmasked(point, mask));
  for (const bytes of [hidden, ...points]) bytes.fill(0);
  mask.wipe();
  if (first === undefined || second === undefined || third === undefined) throw new Error("unreachable: three shares");
  return [first, second, third];
}

/**
 * Gives the secret that any two shares of one split have in common, and of any others some bytes or other: whether it is
 * the secret is for the caller to check.
 *
 * @returns The caller wipes it.
 * @throws Error for points of different lengths, and for one point twice
 */
export async function combineShares(one: Uint8Array, other: Uint8Array, random: RandomBytes): Promise<Uint8Array> {
  const mask = new Mask(one.length - 1, random);
  const points = [one, other].map((point) => unmasked(point, mask));
  const hidden = await combine(points);
  const secret = mask.at(0, hidden);
  for (const bytes of [hidden, ...points]) bytes.fill(0);
  mask.wipe();
  return secret;
}

/** A random line. To add it and to take it off are the same in this field. */
class Mask {
  readonly #constant: Uint8Array;
  readonly #slope: Uint8Array;

  constructor(length: number, random: RandomBytes) {
    this.#constant = random(length);
    this.#slope = random(length);
  }

  at(x: number, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(
      bytes,
      (byte, index) => byte ^ (this.#constant[index] ?? 0) ^ times(x, this.#slope[index] ?? 0),
    );
  }

  wipe(): void {
    this.#constant.fill(0);
    this.#slope.fill(0);
  }
}

function unmasked(point: Uint8Array, mask: Mask): SharePoint {
  const x = point[point.length - 1] ?? 0;
  const moved = mask.at(x, point.subarray(0, -1));
  const result = new Uint8Array(point.length);
  result.set(moved);
  result[point.length - 1] = x;
  moved.fill(0);
  return result;
}

/** @param x - Public: it alone decides which steps are taken. */
function times(x: number, secret: number): number {
  let product = 0;
  let power = secret;
  for (let bit = 0; bit < 8; bit += 1) {
    product ^= power & -((x >> bit) & 1);
    power = ((power << 1) & 0xff) ^ (REDUCTION & -(power >> 7));
  }
  return product;
}
