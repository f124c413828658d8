/** What is signed for Bitcoin. */
import { accountSelector } from "../accounts.ts";
import { walletId } from "../scope.ts";
import { z } from "../zod.ts";
import { hexBytes } from "./ids.ts";

/** Neither a transaction nor a PSBT says which network it is for: whoever asks does. `bitcoin-testnet` is signet too. */
export const BITCOIN_NETWORKS = ["bitcoin", "bitcoin-testnet"] as const;
export type BitcoinNetworkName = (typeof BITCOIN_NETWORKS)[number];

/** All there are but `ALL` and `DEFAULT`, which leave nothing open. */
export const OPEN_SIGHASH_TYPES = [
  "NONE",
  "SINGLE",
  "ALL|ANYONECANPAY",
  "NONE|ANYONECANPAY",
  "SINGLE|ANYONECANPAY",
] as const;
export type OpenSighashType = (typeof OPEN_SIGHASH_TYPES)[number];

const MAX_PSBT_BYTES = 128 * 1024;

/** RFC 4648 section 4, padded. */
const base64 = (maxBytes: number) =>
  z
    .string()
    .check(
      z.regex(/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/, "expected base64"),
      z.maxLength(4 * Math.ceil(maxBytes / 3)),
    );

export const BITCOIN_OPERATIONS = {
  sign_bitcoin_transaction: {
    params: z.strictObject({
      walletId,
      network: z.enum(BITCOIN_NETWORKS),
      /** BIP-174 or BIP-370, with all that says what its inputs bring. */
      psbt: base64(MAX_PSBT_BYTES),
      /** What inputs may ask for beyond `ALL` and `DEFAULT`: none, unless given. The policy has to allow it as well. */
      sighashTypes: z.exactOptional(z.array(z.enum(OPEN_SIGHASH_TYPES)).check(z.maxLength(OPEN_SIGHASH_TYPES.length))),
    }),
    result: z.strictObject({
      /** With this wallet's signatures, and all else as it came. */
      psbt: base64(2 * MAX_PSBT_BYTES),
      /** Ready to broadcast; null while other signatures are missing. */
      finalTransaction: z.nullable(hexBytes(2 * MAX_PSBT_BYTES)),
      /** Of `finalTransaction`, as explorers write it. */
      txid: z.nullable(z.string().check(z.regex(/^[0-9a-f]{64}$/))),
    }),
  },
  sign_bitcoin_message: {
    params: z.strictObject({
      walletId,
      account: z.exactOptional(accountSelector),
      message: hexBytes(64 * 1024),
    }),
    result: z.strictObject({
      /** BIP-322: `simple` of segwit addresses, `full` of P2PKH. */
      format: z.enum(["simple", "full"]),
      signature: base64(1024),
      address: z.string(),
    }),
  },
} as const;
