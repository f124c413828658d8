/** Wallets whose secret is split in three: any two shares give it, and the vault holds the operator's at all times. */
import { sealedShare, sharePublicKey } from "../custody/sealed-share.ts";
import { walletId } from "../scope.ts";
import { z } from "../zod.ts";
import { newWallet, wallet } from "./wallets.ts";

/** Where the recovery share goes. */
export const recovery = z.discriminatedUnion("kind", [
  /** Into the vault, which needs a login other than the device's to use it. */
  z.strictObject({ kind: z.literal("held") }),
  /** To the user, sealed to a key of theirs, and nowhere else. */
  z.strictObject({ kind: z.literal("exported"), publicKey: sharePublicKey }),
]);
export type Recovery = z.output<typeof recovery>;

const newShares = z.strictObject({
  wallet,
  /** Sealed to `devicePublicKey`. */
  deviceShare: sealedShare,
  /** Sealed to `recovery.publicKey`; null where the vault holds it. */
  recoveryShare: z.nullable(sealedShare),
});
export type NewShares = z.output<typeof newShares>;

const toShare = { devicePublicKey: sharePublicKey, recovery };

export const CUSTODY_OPERATIONS = {
  /** Makes a wallet of which nobody but the device can sign. */
  create_split_wallet: { params: z.strictObject({ wallet: newWallet, ...toShare }), result: newShares },
  /**
   * From the operator's share and the recovery share, which the request's `share` is where it was exported: shares the
   * secret anew, so that the lost device share is worth nothing any more. By a fresh login other than the device's.
   */
  recover_wallet: { params: z.strictObject({ walletId, ...toShare }), result: newShares },
  /** From the operator's share and the device's, the request's `share`: to another device, or to export the recovery share. */
  reshare_wallet: { params: z.strictObject({ walletId, ...toShare }), result: newShares },
} as const;
