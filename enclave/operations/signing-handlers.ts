/** What carries out each operation that signs, by itself or in a batch. */
import type { SigningOperation } from "../../protocol/index.ts";
import type { AppHandler } from "./handler.ts";
import { signBitcoinMessage, signBitcoinTransaction } from "./sign-bitcoin.ts";
import { signDigest } from "./sign-digest.ts";
import { signAuthorization, signMessage, signTransaction, signTypedData, signUserOperation } from "./sign-evm.ts";
import { signSolanaMessage, signSolanaTransaction } from "./sign-solana.ts";

export type SigningHandlers = { readonly [Name in SigningOperation]: AppHandler<Name> };

export const SIGNING_HANDLERS = {
  sign_transaction: signTransaction,
  sign_message: signMessage,
  sign_typed_data: signTypedData,
  sign_authorization: signAuthorization,
  sign_user_operation: signUserOperation,
  sign_solana_transaction: signSolanaTransaction,
  sign_solana_message: signSolanaMessage,
  sign_digest: signDigest,
  sign_bitcoin_transaction: signBitcoinTransaction,
  sign_bitcoin_message: signBitcoinMessage,
} as const satisfies SigningHandlers;
