/**
 * Secret random bytes from two sources, the kernel's generator and the NSM's: unknown to whoever does not know both, and
 * never the same twice in one boot. What OpenSSL draws for itself (the boot's own keys, nonces) comes from the kernel
 * alone, which the image's init feeds from the NSM.
 */
import { createHmac, createSecretKey, hkdfSync, type KeyObject, randomBytes } from "node:crypto";
import { StartError } from "../errors.ts";
import type { Nsm } from "./nsm.ts";

/** Below this the NSM's answer adds too little; hardware gives 256. */
const MIN_NSM_BYTES = 32;
const BLOCK_BYTES = 64;
const SEED_BYTES = 64;

export class Randomness {
  readonly #nsmKey: KeyObject;
  #drawn = 0n;

  private constructor(nsmKey: KeyObject) {
    this.#nsmKey = nsmKey;
  }

  /** In another thread, of what {@link fork} gave. */
  static ofFork(seed: KeyObject): Randomness {
    return new Randomness(seed);
  }

  /**
   * Reads the NSM twice. A source that repeats itself or gives a constant is broken, and the enclave must not make keys.
   *
   * @throws {@link StartError} `NSM_RANDOMNESS_BAD`
   */
  static async seed(nsm: Nsm): Promise<Randomness> {
    const [first, second] = [await nsm.random(), await nsm.random()];
    for (const bytes of [first, second]) {
      if (bytes.length < MIN_NSM_BYTES) {
        throw new StartError("NSM_RANDOMNESS_BAD", `${bytes.length} bytes, expected at least ${MIN_NSM_BYTES}`);
      }
      if (new Set(bytes).size < 8) throw new StartError("NSM_RANDOMNESS_BAD", "bytes that hardly vary");
    }
    if (Buffer.compare(first, second) === 0) throw new StartError("NSM_RANDOMNESS_BAD", "the same bytes twice");
    const seed = hkdfSync(
      "sha512",
      Buffer.concat([first, second]),
      randomBytes(64),
      "cloister/randomness/v1",
      SEED_BYTES,
    );
    return new Randomness(createSecretKey(Buffer.from(seed)));
  }

  /** A seed for one other thread, as hard to guess as this one's and never the same twice. */
  fork(): KeyObject {
    const seed = this.bytes(SEED_BYTES);
    try {
      return createSecretKey(seed);
    } finally {
      seed.fill(0);
    }
  }

  /** HMAC under the NSM's seed over fresh kernel randomness: at least as hard to guess as the better of the two. */
  bytes(length: number): Buffer {
    const out = Buffer.alloc(length);
    for (let at = 0; at < length; at += BLOCK_BYTES) {
      this.#drawn += 1n;
      const count = Buffer.alloc(8);
      count.writeBigUInt64BE(this.#drawn);
      const block = createHmac("sha512", this.#nsmKey).update(count).update(randomBytes(BLOCK_BYTES)).digest();
      block.copy(out, at);
      block.fill(0);
    }
    return out;
  }
}
