/** Requests that the parent relays without being able to read them. */
import type { KeyObject } from "node:crypto";
import { timingSafeEqual } from "node:crypto";
import {
  type AttestedKeys,
  decodeSealed,
  keyIdOf,
  openRequest,
  ProtocolError,
  RequestError,
  type SealedHead,
} from "../../protocol/index.ts";
import type { ReceivedRequest, SignedAnswer } from "../answer.ts";
import type { Randomness } from "../nsm/randomness.ts";

const ANSWER_NONCE_BYTES = 32;

export interface OpenedRequest {
  readonly request: ReceivedRequest;
  /** Seals the answer so that nobody but who sealed the request can read it, or take another for it. */
  readonly seal: (answer: SignedAnswer) => Promise<Uint8Array>;
}

export class SealedRequests {
  readonly #keys: AttestedKeys;
  readonly #keyId: Uint8Array;
  readonly #pair: CryptoKeyPair;
  readonly #randomness: Randomness;

  private constructor(keys: AttestedKeys, keyId: Uint8Array, pair: CryptoKeyPair, randomness: Randomness) {
    this.#keys = keys;
    this.#keyId = keyId;
    this.#pair = pair;
    this.#randomness = randomness;
  }

  /** @param pair - X25519, of this boot; its public half is `keys.sealingKey`. */
  static async create(
    keys: AttestedKeys,
    pair: { readonly publicKey: KeyObject; readonly privateKey: KeyObject },
    randomness: Randomness,
  ): Promise<SealedRequests> {
    // Node's type of a key knows more usages than the standard's.
    const cryptoKeys = {
      publicKey: pair.publicKey.toCryptoKey("X25519", true, []) as CryptoKey,
      privateKey: pair.privateKey.toCryptoKey("X25519", false, ["deriveBits"]) as CryptoKey,
    };
    return new SealedRequests(keys, await keyIdOf(keys), cryptoKeys, randomness);
  }

  /** @throws {@link RequestError} `SEALED_MALFORMED`, `SEALED_FOR_ANOTHER_BOOT`, `SEALED_NOT_OPENED` */
  async open(bytes: Uint8Array): Promise<OpenedRequest> {
    const head = this.#decode(bytes);
    if (!timingSafeEqual(head.keyId, this.#keyId)) {
      throw new RequestError(
        "SEALED_FOR_ANOTHER_BOOT",
        "sealed to keys that are not this boot's: verify it, and seal again",
      );
    }
    try {
      const { request, sealAnswer } = await openRequest(this.#keys, this.#pair, head);
      const { stamps, body } = request;
      return {
        request: { stamps, body, sealedFor: head.audience },
        seal: (answer) => sealAnswer(answer, this.#randomness.bytes(ANSWER_NONCE_BYTES)),
      };
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      const code = error.code === "SEALED_REQUEST_INVALID" ? "SEALED_NOT_OPENED" : "SEALED_MALFORMED";
      throw new RequestError(code, error.message, { cause: error });
    }
  }

  #decode(bytes: Uint8Array): SealedHead {
    try {
      return decodeSealed(bytes);
    } catch (cause) {
      if (!(cause instanceof ProtocolError)) throw cause;
      throw new RequestError("SEALED_MALFORMED", cause.message, { cause });
    }
  }
}
