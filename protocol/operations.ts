/** Every operation: what it takes and what it gives. The enclave parses params with these, the client checks results. */
import type { OperationName } from "./access.ts";
import { apiKeyName, apiPublicKey, appConfig, lifetimeS, newApp, stampScheme } from "./app-config.ts";
import { decimal } from "./decimal.ts";
import { listedEvent } from "./events.ts";
import { credentialId, newPasskey, passkey, passkeyId } from "./passkeys.ts";
import { guardable, operations, scope, walletId } from "./scope.ts";
import { z } from "./zod.ts";

/** Lower case, so that one value has one spelling. */
const hexBytes = (maxBytes: number) =>
  z.string().check(z.regex(/^0x(?:[0-9a-f]{2})*$/, "expected 0x and lower-case hex"), z.maxLength(2 + 2 * maxBytes));
const address = z.string().check(z.regex(/^0x[0-9a-fA-F]{40}$/));
const wallet = z.strictObject({
  walletId,
  /** `hd`: BIP-39 entropy of 128 bits, BIP-32 account at `path`. `single-key`: one random secp256k1 key. */
  kind: z.enum(["hd", "single-key"]),
  /** EIP-55. */
  address,
  /** secp256k1, compressed, hex. */
  publicKey: z.string().check(z.regex(/^[0-9a-f]{66}$/)),
  /** BIP-32 path, or null for a single key. */
  path: z.nullable(z.string()),
  createdAtMs: z.int(),
});

const appId = z.string().check(z.regex(/^app_[0-9a-f]{32}$/, "expected app_ and 32 hex digits"));
const jwt = z.string().check(z.minLength(1), z.maxLength(16_384));
const sessionId = z.string().check(z.regex(/^ses_[0-9a-f]{32}$/, "expected ses_ and 32 hex digits"));
const registered = z.strictObject({ sessionId, userId: z.string(), expiresAtMs: z.int() });
const nothing = z.strictObject({});

const linkedIdentity = z.strictObject({
  identityId: z.string().check(z.regex(/^idn_[0-9a-f]{32}$/)),
  issuer: z.string(),
  subject: z.string(),
  linkedAtMs: z.int(),
});
/** Ten, each good for one use; they are never shown again. */
const recoveryCodes = z.strictObject({ recoveryCodes: z.array(z.string()) });

const vaultStatus = z.strictObject({
  /** What new records are sealed under. */
  generation: z.int(),
  /** Older generations that records may still be sealed under; empty when no rotation is under way. */
  retiring: z.array(z.int()),
  /** Records sealed anew since this boot, by the rotation that is under way or was the last. */
  resealed: z.int(),
});

export const OPERATIONS = {
  create_app: {
    params: newApp,
    result: z.strictObject({ appId }),
  },
  /** Puts a whole configuration in the place of the one that stands. */
  update_app: {
    params: z.strictObject({
      appId,
      /** The version that this change was made from: whoever changed the app meanwhile is not overwritten. */
      expectedVersion: z.int(),
      app: newApp,
    }),
    result: z.strictObject({ appId, version: z.int() }),
  },
  list_apps: {
    params: z.strictObject({
      /** The last app of the page before, or null for the first page. */
      after: z.nullable(appId),
    }),
    result: z.strictObject({
      apps: z.array(z.strictObject({ appId, name: z.string(), version: z.int() })),
      more: z.boolean(),
    }),
  },
  get_app: {
    params: z.strictObject({ appId }),
    result: z.strictObject({ appId, version: z.int(), app: appConfig }),
  },
  /** Gives an API key's name and permissions to another key. */
  rotate_app_key: {
    params: z.strictObject({
      appId,
      expectedVersion: z.int(),
      name: apiKeyName,
      scheme: stampScheme,
      publicKey: apiPublicKey,
      /** How long the key of before still works; 0 to end it at once. */
      overlapS: z.int().check(z.minimum(0), z.maximum(7 * 86_400)),
    }),
    result: z.strictObject({ appId, version: z.int() }),
  },
  /** Begins a new generation of the vault, or tells of one that is under way. */
  rotate_vault: { params: z.strictObject({}), result: vaultStatus },
  vault_status: { params: z.strictObject({}), result: vaultStatus },
  register_session: {
    params: z.strictObject({
      jwt,
      /** Everything unless given. */
      scope: z.exactOptional(scope),
      /** The app's `sessionLifetimeS` unless given; cut to the app's maximum and the token's own end. */
      lifetimeS: z.exactOptional(lifetimeS),
    }),
    result: registered,
  },
  /** Stamped by the key that is to get the session, and by the passkey. */
  register_session_with_passkey: {
    params: z.strictObject({
      /** The key that stamps beside the passkey: named here, so that none can be put in its place. */
      publicKey: z.string().check(z.regex(/^(?:[0-9a-f]{2}){32,33}$/, "expected a public key in lower-case hex")),
      /** The passkey's, base64url, where it is known before the user is asked: then no other logs in. */
      credentialId: z.exactOptional(credentialId),
      scope: z.exactOptional(scope),
      lifetimeS: z.exactOptional(lifetimeS),
    }),
    result: registered,
  },
  /** Puts another key in the place of a live session's, under a token for it. The scope stays. */
  refresh_session: {
    params: z.strictObject({ jwt, sessionId, lifetimeS: z.exactOptional(lifetimeS) }),
    result: registered,
  },
  list_sessions: {
    params: z.strictObject({}),
    result: z.strictObject({
      /** Live ones, the oldest first. */
      sessions: z.array(
        z.strictObject({
          sessionId,
          createdAtMs: z.int(),
          expiresAtMs: z.int(),
          scope,
          /** That of the key which asks. */
          isCurrent: z.boolean(),
        }),
      ),
    }),
  },
  /** Ends one of the user's sessions, or tells that there is none of this id. */
  revoke_session: {
    params: z.strictObject({ sessionId }),
    result: z.strictObject({ isRevoked: z.boolean() }),
  },
  /** Ends all of them, this one too; tokens that were issued before log nobody in any more. */
  revoke_all_sessions: { params: z.strictObject({}), result: z.strictObject({ revoked: z.int() }) },
  create_wallet: {
    params: z.strictObject({ kind: z.enum(["hd", "single-key"]) }),
    result: wallet,
  },
  list_wallets: {
    params: z.strictObject({
      /** The last wallet of the page before, or null for the first page. */
      after: z.nullable(walletId),
    }),
    result: z.strictObject({ wallets: z.array(wallet), more: z.boolean() }),
  },
  sign_transaction: {
    params: z.strictObject({
      walletId,
      /** EIP-155 chain id; must be the transaction's own. */
      chainId: decimal,
      /** EIP-2718 bytes without signature: `0x02` ‖ RLP of the nine fields of EIP-1559. */
      unsignedTransaction: hexBytes(128 * 1024),
    }),
    result: z.strictObject({
      /** EIP-2718 bytes, ready to broadcast. */
      signedTransaction: hexBytes(129 * 1024),
      /** keccak256 of `signedTransaction`. */
      transactionHash: hexBytes(32),
    }),
  },
  sign_message: {
    params: z.strictObject({
      walletId,
      /** The bytes to sign under EIP-191 version 0x45 (`personal_sign`), before the prefix. */
      message: hexBytes(64 * 1024),
    }),
    result: z.strictObject({
      /** r ‖ s ‖ v, 65 bytes, v 27 or 28. */
      signature: hexBytes(65),
    }),
  },
  /** Stamped by the session's key, and by the passkey that is to be registered. */
  register_passkey: { params: newPasskey, result: passkey },
  list_passkeys: { params: nothing, result: z.strictObject({ passkeys: z.array(passkey) }) },
  remove_passkey: { params: z.strictObject({ passkeyId }), result: nothing },
  /** A new secret, which guards nothing until `confirm_totp`. Only sealed. */
  enrol_totp: {
    params: z.strictObject({
      /** What the authenticator app shows beside the app's name, such as the user's address. */
      account: z.string().check(z.minLength(1), z.maxLength(64)),
    }),
    result: z.strictObject({
      /** Base32, for typing. */
      secret: z.string(),
      /** `otpauth://`, for a QR code. */
      uri: z.string(),
    }),
  },
  /** With a code of the new secret as `secondFactor`. Only sealed. */
  confirm_totp: { params: nothing, result: recoveryCodes },
  disable_totp: { params: nothing, result: nothing },
  /** What this user wants guarded beyond what the app guards. */
  require_totp: { params: z.strictObject({ operations: guardable }), result: nothing },
  totp_status: {
    params: nothing,
    result: z.strictObject({
      /** Null while no secret is confirmed. */
      confirmedAtMs: z.nullable(z.int()),
      recoveryCodesLeft: z.int(),
      /** The app's, this user's own, and what always is. */
      requiredFor: operations,
    }),
  },
  /** The old ones end. Only sealed. */
  regenerate_recovery_codes: { params: nothing, result: recoveryCodes },
  /** A login of the other identity, bound to the session's key like any login. */
  link_identity: { params: z.strictObject({ jwt }), result: linkedIdentity },
  list_identities: { params: nothing, result: z.strictObject({ identities: z.array(linkedIdentity) }) },
  unlink_identity: { params: z.strictObject({ identityId: linkedIdentity.shape.identityId }), result: nothing },
  list_events: {
    params: z.strictObject({
      /** The last event of the page before, or 0 for the first page. */
      after: z.int().check(z.nonnegative()),
    }),
    result: z.strictObject({
      events: z.array(listedEvent),
      more: z.boolean(),
      /** Ed25519, hex; of this vault, so it stays the same across boots. */
      publicKey: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
    }),
  },
} as const satisfies Record<OperationName, { params: z.ZodMiniType; result: z.ZodMiniType }>;

export type Params<Name extends OperationName> = z.output<(typeof OPERATIONS)[Name]["params"]>;
export type Result<Name extends OperationName> = z.output<(typeof OPERATIONS)[Name]["result"]>;
export type Wallet = z.output<typeof wallet>;
export type VaultStatus = z.output<typeof vaultStatus>;

/** The audience of an administrators' request, or of one inside an app. */
export function audienceOf(deployment: string, appId: string | null): string {
  return appId === null ? deployment : `${deployment}/${appId}`;
}
