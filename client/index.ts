export { Account } from "./account.ts";
export type { ExpectedEnclave } from "./attested-enclave.ts";
export { type CallOptions, Client, type ConnectOptions, connect } from "./client.ts";
export { Custody, type RecoveryChoice, type Shared } from "./custody.ts";
export {
  type DeviceStore,
  indexedDbDeviceStore,
  memoryDeviceStore,
  type PendingShare,
  type StoredDevice,
} from "./device-store.ts";
export { ClientError, type ClientErrorCode, CustodyError, type CustodyErrorCode, RefusedError } from "./errors.ts";
export { loginNonce } from "./login-nonce.ts";
export { createPasskey, type NewPasskeyOptions, type PasskeyStampKey, passkeyStampKey } from "./passkeys.ts";
export { type RebuiltSecret, rebuildSecret } from "./rebuild-secret.ts";
export {
  openRecoveryFile,
  parseRecoveryFile,
  type RecoveryFile,
  type RecoveryOpener,
  type RecoveryRecipient,
  recoveryRecipient,
} from "./recovery-file.ts";
export type { LoginOptions, SessionLimits } from "./renewal.ts";
export { Session } from "./session.ts";
export { indexedDbStore, memoryStore, type SessionStore, type StoredSession } from "./session-store.ts";
export {
  generateStampKey,
  generateStampPair,
  type Stamper,
  type StampKey,
  stampKeyFromJwk,
  stampKeyOf,
} from "./stamp-key.ts";
export { ErasureError, verifyErasure } from "./verify-erasure.ts";
export { EventsError, type EventsErrorCode, verifyEvents } from "./verify-events.ts";
export { type ExportOptions, exportWallet, type ImportOptions, importWallet, type WalletCaller } from "./wallets.ts";
