/** CRC-32/ISO-HDLC of bytes that are known in another order than they stand: the header is known last, and stands first. */
const POLYNOMIAL = 0xedb88320;

/** The CRC of `A ‖ B` from those of A and B, and how many bytes B has; 0xFFFFFFFF in and out cancel each other. */
export function combineCrc32(crcOfA: number, crcOfB: number, bytesOfB: number): number {
  return (multiply(crcOfA, powerOfX(8n * BigInt(bytesOfB))) ^ crcOfB) >>> 0;
}

/** Polynomials over GF(2) modulo the CRC's, bit-reversed as the CRC has them: the highest bit is x^0. */
function multiply(a: number, b: number): number {
  let product = 0;
  let factor = b;
  for (let bit = 31; bit >= 0; bit -= 1) {
    if (((a >>> bit) & 1) === 1) product ^= factor;
    factor = (factor & 1) === 1 ? (factor >>> 1) ^ POLYNOMIAL : factor >>> 1;
  }
  return product >>> 0;
}

function powerOfX(exponent: bigint): number {
  let power = 0x80000000; // x^0
  let square = 0x40000000; // x^1
  for (let left = exponent; left > 0n; left >>= 1n) {
    if ((left & 1n) === 1n) power = multiply(power, square);
    square = multiply(square, square);
  }
  return power;
}
