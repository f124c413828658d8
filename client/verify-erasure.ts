/** Checks the receipt of an erasure by itself. */
import {
  decodeErasure,
  decodeHex,
  type Erasure,
  type ErasureReceipt,
  erasureSigningInput,
  ProtocolError,
} from "../protocol/index.ts";

/** Not this vault's receipt. */
export class ErasureError extends Error {
  override readonly name = "ErasureError";
}

/**
 * @param publicKeyHex - Of the vault's event key, from a verified answer and not from the receipt.
 * @throws {@link ErasureError}
 */
export async function verifyErasure(
  { receipt, signature }: Pick<ErasureReceipt, "receipt" | "signature">,
  publicKeyHex: string,
): Promise<Erasure> {
  const key = await crypto.subtle.importKey("raw", decodeHex(publicKeyHex), "Ed25519", false, ["verify"]);
  try {
    const isSigned = await crypto.subtle.verify("Ed25519", key, decodeHex(signature), erasureSigningInput(receipt));
    if (isSigned) return decodeErasure(receipt);
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw new ErasureError("not a receipt", { cause });
  }
  throw new ErasureError("not signed by this vault's event key");
}
