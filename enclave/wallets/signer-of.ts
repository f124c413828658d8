import { signRecoverable } from "../signing/secp256k1.ts";
import { signMessage } from "./ed25519.ts";
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
        signSchnorr: () => {
          throw new Error("no Schnorr signatures yet");
        },
      };
    case "ed25519":
      return { curve, publicKey, signMessage: (message) => key.use((bytes) => signMessage(message, bytes)) };
    case "p256":
      return {
        curve,
        publicKey,
        signDigest: () => {
          throw new Error("no signatures on P-256 yet");
        },
      };
  }
}
