/** What the vault holds of a wallet whose secret is split: the operator's share, and by what it knows the others again. */
import {
  bytesOf,
  bytesUpTo,
  decodeShare,
  encodeHex,
  MAX_SHARE_BYTES,
  type Wallet,
  type WalletCustody,
  z,
} from "../../protocol/index.ts";

export const splitSecret = z.strictObject({
  kind: z.literal("split"),
  operatorShare: bytesUpTo(MAX_SHARE_BYTES),
  /** Of the shares that others hold: a share that is not the very one is refused before anything is made of it. */
  digests: z.strictObject({ device: bytesOf(32), recovery: bytesOf(32) }),
  recovery: z.enum(["held", "exported"]),
  sharedAtMs: z.int(),
  /** Whose login got the device share. */
  deviceLoginId: z.string(),
  /** Whether it got it by recovering: it may do so again for a moment, since the answer may have been lost. */
  isRecovered: z.exactOptional(z.literal(true)),
  /** Whose logins had device shares that were lost: whoever found such a device must not recover with it. */
  lostLoginIds: z.array(z.string()),
  /** Digest of the request that made this set: asked again because an answer was lost, it gets the same answer. */
  madeFor: bytesOf(32),
  /** That answer: opened by the keys alone that the shares were sealed to. */
  sealed: z.strictObject({ device: z.string(), recovery: z.nullable(z.string()) }),
});
export type SplitSecret = z.output<typeof splitSecret>;

export function setIdOf(operatorShare: Uint8Array): Uint8Array {
  return decodeShare(operatorShare).setId;
}

export function custodyKind({ operatorShare }: SplitSecret): Wallet["kind"] {
  return decodeShare(operatorShare).secret.kind;
}

export function custodyOf({ operatorShare, sharedAtMs, recovery, deviceLoginId }: SplitSecret): WalletCustody {
  const setId = encodeHex(setIdOf(operatorShare));
  return { kind: "split", setId, sharedAtMs, recovery, deviceLoginId };
}
