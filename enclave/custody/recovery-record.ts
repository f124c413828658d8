/** Recovery shares that the vault holds, apart from the wallets that they are of. */
import { bytesOf, bytesUpTo, MAX_SHARE_BYTES, z } from "../../protocol/index.ts";
import { moveOffHeap } from "../off-heap.ts";
import type { RecordKind } from "../vault/records.ts";

const recoverySchema = z.strictObject({
  /** Of which set: the wallet's record says which one is in force, and the two are written together. */
  setId: bytesOf(16),
  share: bytesUpTo(MAX_SHARE_BYTES),
});
export type RecoveryValue = z.output<typeof recoverySchema>;

/** `recovery/<appId>/<userId>/<walletId>` */
export const recoveryRecords: RecordKind<RecoveryValue> = {
  prefix: "recovery/",
  schema: recoverySchema,
  settle(value) {
    value.share = moveOffHeap(value.share);
  },
};
