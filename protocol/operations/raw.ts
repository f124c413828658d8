/** What is signed without being understood. */
import { accountSelector } from "../accounts.ts";
import { walletId } from "../scope.ts";
import { z } from "../zod.ts";
import { hexBytes } from "./ids.ts";

export const RAW_OPERATIONS = {
  sign_digest: {
    params: z.strictObject({
      walletId,
      /** Never left out: whose signature it is, is all that can be said of it. */
      account: accountSelector,
      /** `ecdsa` on secp256k1 and P-256, `schnorr` (BIP-340) on secp256k1, `eddsa` on Ed25519. */
      scheme: z.enum(["ecdsa", "schnorr", "eddsa"]),
      /** 32 bytes; of `eddsa` the whole message, since Ed25519 hashes by itself. */
      digest: hexBytes(64 * 1024),
    }),
    result: z.strictObject({
      /** r ‖ s of ECDSA, s the lower one on secp256k1; of `schnorr` and `eddsa` what BIP-340 and RFC 8032 say. 64 bytes. */
      signature: hexBytes(64),
      /** Of ECDSA on secp256k1: 0 to 3 (SEC 1, 4.1.6). Null elsewhere. */
      recoveryId: z.nullable(z.int().check(z.minimum(0), z.maximum(3))),
    }),
  },
} as const;
