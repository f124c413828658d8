import { createHmac, createSecretKey, type KeyObject } from "node:crypto";

/** What callers may pin to know a vault again: says nothing of what is in it. */
const VAULT_ID_LABEL = "cloister/vault-id/v1";

/** Half of an HMAC-SHA-256: 128 bits, so that ids meet by chance only after some 2^64 of them. */
const ID_BYTES = 16;

/**
 * Derives ids under a key of the vault: who stores records learns from a name neither the person nor the request that
 * it stands for, and the same parts always give the same id.
 */
export class Ids {
  readonly #key: KeyObject;

  constructor(key: Uint8Array | KeyObject) {
    this.#key = key instanceof Uint8Array ? createSecretKey(key) : key;
  }

  /** For another thread: the same one in memory. */
  get key(): KeyObject {
    return this.#key;
  }

  /** 16 bytes that belong to this vault and no other. */
  vaultId(): Uint8Array {
    return createHmac("sha256", this.#key).update(VAULT_ID_LABEL).digest().subarray(0, ID_BYTES);
  }

  /** 32 bytes for a key of another purpose, which lives as long as the vault. @param label - Of that purpose alone. */
  keyMaterial(label: `cloister/${string}`): Buffer {
    return createHmac("sha256", this.#key).update(label).digest();
  }

  /** @param kind - Three letters that begin the id and keep one kind from meeting another. */
  derive(
    kind: "app" | "usr" | "idn" | "ses" | "wal" | "psk" | "imp" | "apr" | "lim" | "clm",
    parts: readonly string[],
  ): string {
    const hmac = createHmac("sha256", this.#key);
    for (const part of [kind, ...parts]) {
      const bytes = Buffer.from(part, "utf8");
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      hmac.update(length).update(bytes);
    }
    return `${kind}_${hmac.digest().subarray(0, ID_BYTES).toString("hex")}`;
  }
}
