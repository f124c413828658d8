export type { ExpectedEnclave } from "./attested-enclave.ts";
export { type CallOptions, Client, type ConnectOptions, connect, Session } from "./client.ts";
export { ClientError, type ClientErrorCode, RefusedError } from "./errors.ts";
export { loginNonce } from "./login-nonce.ts";
export { generateStampKey, type StampKey, stampKeyFromJwk, stampKeyOf } from "./stamp-key.ts";
