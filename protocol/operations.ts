/** Every operation: what it takes and what it gives. The enclave parses params with these, the client checks results. */
import type { OperationName } from "./access.ts";
import { ACCOUNT_OPERATIONS } from "./operations/account.ts";
import { ADMINISTRATION_OPERATIONS } from "./operations/administration.ts";
import { BATCH_OPERATIONS } from "./operations/batches.ts";
import { BITCOIN_OPERATIONS } from "./operations/bitcoin.ts";
import { CUSTODY_OPERATIONS } from "./operations/custody.ts";
import { EVM_OPERATIONS } from "./operations/evm.ts";
import { POLICY_OPERATIONS } from "./operations/policies.ts";
import { RAW_OPERATIONS } from "./operations/raw.ts";
import { SESSION_OPERATIONS } from "./operations/sessions.ts";
import { SOLANA_OPERATIONS } from "./operations/solana.ts";
import { WALLET_OPERATIONS } from "./operations/wallets.ts";
import type { z } from "./zod.ts";

export type { HeldOnUser } from "./operations/account.ts";
export type { VaultStatus } from "./operations/administration.ts";
export {
  type BatchRefusal,
  MAX_BATCH_ACCOUNTS,
  MAX_BATCH_SIGNATURES,
  MAX_BATCH_WALLETS,
  SIGNING_OPERATIONS,
  type SigningOperation,
} from "./operations/batches.ts";
export {
  BITCOIN_NETWORKS,
  type BitcoinNetworkName,
  OPEN_SIGHASH_TYPES,
  type OpenSighashType,
} from "./operations/bitcoin.ts";
export { type NewShares, type Recovery, recovery as recoverySchema } from "./operations/custody.ts";
export type { PendingApproval } from "./operations/policies.ts";
export type { NewImport, NewWallet, Wallet, WalletCustody } from "./operations/wallets.ts";

export const OPERATIONS = {
  ...ADMINISTRATION_OPERATIONS,
  ...SESSION_OPERATIONS,
  ...WALLET_OPERATIONS,
  ...CUSTODY_OPERATIONS,
  ...EVM_OPERATIONS,
  ...SOLANA_OPERATIONS,
  ...RAW_OPERATIONS,
  ...BITCOIN_OPERATIONS,
  ...ACCOUNT_OPERATIONS,
  ...POLICY_OPERATIONS,
  ...BATCH_OPERATIONS,
} as const satisfies Record<OperationName, { params: z.ZodMiniType; result: z.ZodMiniType }>;

export type Params<Name extends OperationName> = z.output<(typeof OPERATIONS)[Name]["params"]>;
export type Result<Name extends OperationName> = z.output<(typeof OPERATIONS)[Name]["result"]>;

/** The audience of an administrators' request, or of one inside an app. */
export function audienceOf(deployment: string, appId: string | null): string {
  return appId === null ? deployment : `${deployment}/${appId}`;
}
