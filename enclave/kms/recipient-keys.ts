import { generateKeyPair, type KeyObject } from "node:crypto";
import { promisify } from "node:util";

const generate = promisify(generateKeyPair);

export interface RecipientKey {
  readonly privateKey: KeyObject;
  /** SubjectPublicKeyInfo, DER: the document's `public_key`. */
  readonly publicKeyDer: Uint8Array;
}

/**
 * RSA-2048 keys, one for each KMS request and for nothing else. Making one takes about 150 ms, so as many as the start
 * needs are begun early, off the event loop.
 */
export class RecipientKeys {
  readonly #prepared: Promise<RecipientKey>[] = [];

  prepare(count: number): void {
    for (let made = 0; made < count; made += 1) {
      const key = makeRecipientKey();
      // Whoever takes it hears of a failure; until then it must not end the process.
      key.catch(() => {});
      this.#prepared.push(key);
    }
  }

  take(): Promise<RecipientKey> {
    return this.#prepared.shift() ?? makeRecipientKey();
  }
}

async function makeRecipientKey(): Promise<RecipientKey> {
  const { privateKey, publicKey } = await generate("rsa", { modulusLength: 2048, publicExponent: 65_537 });
  return { privateKey, publicKeyDer: publicKey.export({ type: "spki", format: "der" }) };
}
