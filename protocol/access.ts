/**
 * Who may ask for what. An operation that does not stand here does not compile, and a caller that its entry does not
 * name is refused: `enclave/auth/authorise.ts` is the one place that judges by this table.
 */

/** Callers inside an app, by what vouches for them. */
export type CallerKind = "session" | "passkey" | "api-key";

export type Access =
  /** By as many administrators' stamps as the manifest asks for. */
  | { readonly kind: "administrators" }
  /** By the key that is to get a session. What vouches for it is in the params, or a passkey that stamps beside it. */
  | { readonly kind: "login" }
  | AppAccess;

export interface AppAccess {
  readonly kind: "app";
  readonly callers: readonly CallerKind[];
  /** A passkey stamps beside the caller: the one that the request is to register. */
  readonly withNewPasskey?: true;
  /** `named`: the wallet of `params.walletId`. `any`: wallets at large, so no scope that lists wallets covers it. */
  readonly wallet: "named" | "any" | "none";
  /**
   * `signed`: what is signed belongs to a chain, which is checked once it is parsed. `chainless`: what is signed belongs
   * to none, so no scope that lists chains covers it. `none`: nothing is signed.
   */
  readonly chain: "signed" | "chainless" | "none";
}

const ANY_CALLER = ["session", "passkey", "api-key"] as const;
const USER = ["session", "passkey"] as const;
const SESSION = ["session"] as const;
/** Of a user's account as a whole: a session that is limited to some wallets or chains has no say in it. */
const ACCOUNT = { kind: "app", wallet: "any", chain: "chainless" } as const;

export const ACCESS = {
  create_app: { kind: "administrators" },
  rotate_vault: { kind: "administrators" },
  vault_status: { kind: "administrators" },
  register_session: { kind: "login" },
  register_session_with_passkey: { kind: "login" },
  create_wallet: { kind: "app", callers: ANY_CALLER, wallet: "any", chain: "none" },
  list_wallets: { kind: "app", callers: ANY_CALLER, wallet: "any", chain: "none" },
  sign_transaction: { kind: "app", callers: ANY_CALLER, wallet: "named", chain: "signed" },
  sign_message: { kind: "app", callers: ANY_CALLER, wallet: "named", chain: "chainless" },
  register_passkey: { ...ACCOUNT, callers: SESSION, withNewPasskey: true },
  list_passkeys: { ...ACCOUNT, callers: USER },
  remove_passkey: { ...ACCOUNT, callers: USER },
  enrol_totp: { ...ACCOUNT, callers: USER },
  confirm_totp: { ...ACCOUNT, callers: USER },
  disable_totp: { ...ACCOUNT, callers: USER },
  require_totp: { ...ACCOUNT, callers: USER },
  totp_status: { ...ACCOUNT, callers: USER },
  regenerate_recovery_codes: { ...ACCOUNT, callers: USER },
  link_identity: { ...ACCOUNT, callers: SESSION },
  list_identities: { ...ACCOUNT, callers: USER },
  unlink_identity: { ...ACCOUNT, callers: USER },
  list_events: { ...ACCOUNT, callers: USER },
} as const satisfies Record<string, Access>;

type Accesses = typeof ACCESS;
type NamesOf<Kind extends Access["kind"]> = {
  [Name in keyof Accesses]: Accesses[Name]["kind"] extends Kind ? Name : never;
}[keyof Accesses];

export type OperationName = keyof Accesses;
export type AdministratorsOperation = NamesOf<"administrators">;
export type LoginOperation = NamesOf<"login">;
export type AppOperation = NamesOf<"app">;
/** The kinds of caller that an operation can meet. */
export type CallerOf<Name extends AppOperation> = Accesses[Name]["callers"][number];

export function isOperationName(name: string): name is OperationName {
  return Object.hasOwn(ACCESS, name);
}

export function isAppOperation(name: OperationName): name is AppOperation {
  return ACCESS[name].kind === "app";
}

/** What scopes and API keys' permissions can name. */
export const APP_OPERATIONS = Object.keys(ACCESS).filter(
  (name): name is AppOperation => isOperationName(name) && isAppOperation(name),
);
