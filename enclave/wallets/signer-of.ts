import { signMessage } from "../signing/ed25519.ts";
import { signDigest } from "../signing/p256.ts";
import { signRecoverable, signSchnorr } from "../signing/secp256k1.ts";
import type { SecretKey } from "./secret-key.ts";
import type { Signer } from "./signer.ts";
import type { HeldAccount } from "./wallet-value.ts";

/** What a key on its curve can sign, for as long as it is lent. */
export function signerOf({ curve, publicKey }: Pick<HeldAccount, "curve" | "publicKey">, key: SecretKey): Signer {
  switch (curve) {
    case "secp256k1":
      return {
        curve,
        publicKey,
        signDigest: (digest) => key.use((bytes) => signRecoverable(digest, bytes)),
        // Without randomness beside the key: what is asked for again is answered with the same bytes.
        signSchnorr: (message, tapTweak) => key.use((bytes) => signSchnorr(message, bytes, null, tapTweak)),
      };
    case "ed25519":
      return { curve, publicKey, signMessage: (message) => key.use((bytes) => signMessage(message, bytes)) };
    case "p256":
      return { curve, publicKey, signDigest: (digest) => key.use((bytes) => signDigest(digest, bytes)) };
  }
}
