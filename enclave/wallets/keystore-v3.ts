/** Web3 Secret Storage, version 3: a key under a password, as Ethereum's own software reads it. */
import { createCipheriv, type ScryptOptions, scrypt } from "node:crypto";
import { FairTurns } from "../admission/fair-turns.ts";
import type { Randomness } from "../nsm/randomness.ts";
import { keccak256 } from "../signing/keccak.ts";

/** What geth and ethers take for the usual work: 128 MiB and some 0.4 s. */
const SCRYPT = { N: 2 ** 17, r: 8, p: 1 } as const;
const MAX_MEMORY_BYTES = 160 * 1024 * 1024;
const KEY_BYTES = 32;
/** One at a time, so that nobody's exports fill the memory, and of the apps that wait each in its turn. */
const WAITING = { maxWaiting: 17, maxWaitingBytes: 1, maxRunning: 1, maxRunningPerLane: 1, weight: 1 } as const;
/** Short of what the parent waits for. */
const MAX_WAIT_MS = 20_000;

export class Keystores {
  readonly #randomness: Randomness;
  readonly #turns = new FairTurns<"keystores">({
    maxRunning: 1,
    maxWaitMs: MAX_WAIT_MS,
    groups: { keystores: WAITING },
    monotonicMs: () => performance.now(),
  });

  constructor(options: { readonly randomness: Randomness }) {
    this.#randomness = options.randomness;
  }

  /**
   * Writes a keystore.
   *
   * @param appId - Whose turn it takes. No app has more waiting than there is room left for others.
   * @param address - With `0x`.
   * @param password - Taken in its NFKC form, in UTF-8, as ethers does.
   * @returns Its JSON, in UTF-8.
   * @throws {@link RequestError} `BUSY`
   */
  async make(appId: string, privateKey: Uint8Array, address: string, password: string): Promise<Uint8Array> {
    const leave = await this.#turns.take({ group: "keystores", lane: appId, cost: 1, bytes: 0 });
    try {
      return await this.#make(privateKey, address, password);
    } finally {
      leave();
    }
  }

  async #make(privateKey: Uint8Array, address: string, password: string): Promise<Uint8Array> {
    const [salt, iv, id] = [this.#hex(32), this.#hex(16), uuidOf(Buffer.from(this.#randomness.bytes(16)))];
    const secret = Buffer.from(password.normalize("NFKC"), "utf8");
    const derived = await derive(secret, Buffer.from(salt, "hex"), KEY_BYTES, { ...SCRYPT, maxmem: MAX_MEMORY_BYTES });
    secret.fill(0);
    try {
      const cipher = createCipheriv("aes-128-ctr", derived.subarray(0, 16), Buffer.from(iv, "hex"));
      const ciphertext = Buffer.concat([cipher.update(privateKey), cipher.final()]);
      const mac = keccak256(Buffer.concat([derived.subarray(16), ciphertext]));
      const keystore = {
        version: 3,
        id,
        address: address.slice(2).toLowerCase(),
        crypto: {
          cipher: "aes-128-ctr",
          cipherparams: { iv },
          ciphertext: ciphertext.toString("hex"),
          kdf: "scrypt",
          kdfparams: { dklen: KEY_BYTES, n: SCRYPT.N, r: SCRYPT.r, p: SCRYPT.p, salt },
          mac: Buffer.from(mac).toString("hex"),
        },
      };
      return Buffer.from(JSON.stringify(keystore), "utf8");
    } finally {
      derived.fill(0);
    }
  }

  #hex(length: number): string {
    return Buffer.from(this.#randomness.bytes(length)).toString("hex");
  }
}

function derive(secret: Buffer, salt: Buffer, length: number, options: ScryptOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(secret, salt, length, options, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}

/** RFC 9562, version 4. */
function uuidOf(bytes: Buffer): string {
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
