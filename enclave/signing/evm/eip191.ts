import { keccak256 } from "../keccak.ts";
import type { DigestSigner } from "../secp256k1.ts";

/** EIP-191, version 0x45: no transaction begins with 0x19, so a message can never be taken for one. */
const PREFIX = "\x19Ethereum Signed Message:\n";

/** r ‖ s ‖ v, 65 bytes, v 27 or 28, over the prefixed message. */
export function signEip191(message: Uint8Array, signer: DigestSigner): Uint8Array {
  const prefix = Buffer.from(`${PREFIX}${message.length}`, "latin1");
  return signatureOver(keccak256(Buffer.concat([prefix, message])), signer);
}

/** r ‖ s ‖ v, 65 bytes, v 27 or 28, over a digest whose meaning is known. */
export function signatureOver(digest: Uint8Array, signer: DigestSigner): Uint8Array {
  const { rs, recoveryId } = signer.signDigest(digest);
  return Buffer.concat([rs, Uint8Array.of(27 + recoveryId)]);
}
