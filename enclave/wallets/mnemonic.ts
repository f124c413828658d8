/** BIP-39 without strings: a mnemonic that was ever a string stays in memory until the collector takes it. */
import { createHash, pbkdf2, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import { wordlist } from "@scure/bip39/wordlists/english.js";

const WORD_BITS = 11;
const SEED_BYTES = 64;
/** BIP-39, "From mnemonic to seed". */
const ITERATIONS = 2048;
const SALT = Buffer.from("mnemonic");

const words: readonly Buffer[] = wordlist.map((word) => Buffer.from(word, "ascii"));
const derive = promisify(pbkdf2);

/**
 * The sentence for some entropy, words joined by spaces, ASCII.
 *
 * @param entropy - 16, 20, 24, 28 or 32 bytes.
 * @returns The caller wipes it.
 */
export function mnemonicOf(entropy: Uint8Array): Buffer {
  if (entropy.length % 4 !== 0 || entropy.length < 16 || entropy.length > 32) {
    throw new RangeError(`entropy of ${entropy.length} bytes, expected 16 to 32 in steps of 4`);
  }
  const checksum = createHash("sha256").update(entropy).digest();
  const bits = Buffer.concat([entropy, checksum.subarray(0, 1)]);
  const count = (entropy.length * 8 + entropy.length / 4) / WORD_BITS;
  const sentence = Buffer.alloc(count * 9);
  let length = 0;
  for (let word = 0; word < count; word += 1) {
    const bytes = words[bitsAt(bits, word * WORD_BITS)];
    if (bytes === undefined) throw new Error("unreachable: 11 bits index 2048 words");
    if (word > 0) {
      sentence[length] = 0x20;
      length += 1;
    }
    length += bytes.copy(sentence, length);
  }
  bits.fill(0);
  checksum.fill(0);
  return sentence.subarray(0, length);
}

/**
 * The entropy of a sentence: lower-case ASCII, one space between words.
 *
 * @returns The caller wipes it; undefined for what is no sentence of 12 to 24 words, or has a wrong checksum.
 */
export function entropyOf(mnemonic: Uint8Array): Uint8Array | undefined {
  const indices = indicesOf(Buffer.from(mnemonic.buffer, mnemonic.byteOffset, mnemonic.byteLength));
  const count = indices.length;
  if (count < 12 || count > 24 || count % 3 !== 0 || indices.some((index) => index < 0)) {
    indices.fill(0);
    return undefined;
  }
  const bits = new Uint8Array(33);
  indices.forEach((index, word) => {
    for (let bit = 0; bit < WORD_BITS; bit += 1) {
      const at = word * WORD_BITS + bit;
      bits[at >> 3] = (bits[at >> 3] ?? 0) | (((index >> (WORD_BITS - 1 - bit)) & 1) << (7 - (at & 7)));
    }
  });
  indices.fill(0);
  const entropy = bits.slice(0, (count / 3) * 4);
  bits.fill(0);
  // The checksum is the rest of the last word: the sentence that the entropy gives is this one, or it is none.
  const sentence = mnemonicOf(entropy);
  const isSame = sentence.length === mnemonic.length && timingSafeEqual(sentence, mnemonic);
  sentence.fill(0);
  if (isSame) return entropy;
  entropy.fill(0);
  return undefined;
}

/** Of each word in the list; -1 for what is not in it. The list is sorted, and no word becomes a string of its own. */
function indicesOf(mnemonic: Buffer): number[] {
  const indices: number[] = [];
  for (let at = 0; at <= mnemonic.length; ) {
    const space = mnemonic.indexOf(0x20, at);
    const end = space < 0 ? mnemonic.length : space;
    indices.push(indexOf(mnemonic.subarray(at, end)));
    at = end + 1;
  }
  return indices;
}

function indexOf(word: Buffer): number {
  let [low, high] = [0, words.length - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    const order = words[middle]?.compare(word) ?? 0;
    if (order === 0) return middle;
    if (order < 0) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

/** The 64-byte seed under an empty passphrase. @returns The caller wipes it. */
export async function seedOf(mnemonic: Uint8Array): Promise<Buffer> {
  return await derive(mnemonic, SALT, ITERATIONS, SEED_BYTES, "sha512");
}

function bitsAt(bytes: Uint8Array, offset: number): number {
  let value = 0;
  for (let bit = offset; bit < offset + WORD_BITS; bit += 1) {
    value = (value << 1) | (((bytes[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1);
  }
  return value;
}
