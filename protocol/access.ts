/**
 * Who may ask for what. An operation that does not stand here does not compile, and a caller that its entry does not
 * name is refused: `enclave/auth/authorise.ts` is the one place that judges by this table.
 */

/** Callers inside an app, by what vouches for them. */
export type CallerKind = "session" | "passkey" | "api-key";

export type Access =
  /** By as many administrators' stamps as the manifest asks for. */
  | (AnyAccess & { readonly kind: "administrators" })
  /** By the key that is to get a session. What vouches for it is in the params, or a passkey that stamps beside it. */
  | (AnyAccess & { readonly kind: "login" })
  | AppAccess;

interface AnyAccess {
  /** Its params or its answer hold what works for whoever has it, such as a login token: clients seal it unless told otherwise. */
  readonly bearer: boolean;
  /** The enclave refuses it in the open: what it asks or answers is not for whoever relays it. */
  readonly sealedOnly?: true;
  /**
   * Done twice it is not as good as done once, so of several enclaves one alone may do it: what is asked names the boot
   * that may, is sealed to it, or is written down first (docs/scale-out.md).
   */
  readonly once?: true;
}

export interface AppAccess extends AnyAccess {
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
  /** Many of other operations, whose rights it takes: no scope and no rule names it (`enclave/auth/judged-as.ts`). */
  readonly batch?: true;
}

const ANY_CALLER = ["session", "passkey", "api-key"] as const;
const USER = ["session", "passkey"] as const;
const SESSION = ["session"] as const;
/** Of a user's account as a whole: a session that is limited to some wallets or chains has no say in it. */
const ACCOUNT = { kind: "app", wallet: "any", chain: "chainless" } as const;

export const ACCESS = {
  create_app: { kind: "administrators", bearer: false },
  update_app: { kind: "administrators", bearer: false },
  list_apps: { kind: "administrators", bearer: false },
  get_app: { kind: "administrators", bearer: false },
  rotate_app_key: { kind: "administrators", bearer: false },
  rotate_vault: { kind: "administrators", bearer: false, once: true },
  vault_status: { kind: "administrators", bearer: false },
  register_session: { kind: "login", bearer: true, once: true },
  refresh_session: { kind: "login", bearer: true },
  register_session_with_passkey: { kind: "login", bearer: true, sealedOnly: true, once: true },
  list_sessions: { ...ACCOUNT, bearer: false, callers: SESSION },
  /** A session may always end itself; another one only if the whole account is in its scope (`enclave/auth/scope.ts`). */
  revoke_session: { kind: "app", bearer: false, callers: SESSION, wallet: "none", chain: "none" },
  revoke_all_sessions: { ...ACCOUNT, bearer: false, callers: SESSION },
  create_wallet: { kind: "app", bearer: false, callers: ANY_CALLER, wallet: "any", chain: "none" },
  create_wallets: { kind: "app", bearer: false, callers: ANY_CALLER, wallet: "any", chain: "none", batch: true },
  create_accounts: { kind: "app", bearer: false, callers: ANY_CALLER, wallet: "named", chain: "none" },
  create_split_wallet: { kind: "app", bearer: false, callers: USER, wallet: "any", chain: "none" },
  /** Of every chain, as what is exported: a scope that lists chains covers neither. */
  recover_wallet: { kind: "app", bearer: false, callers: USER, wallet: "named", chain: "chainless", once: true },
  reshare_wallet: { kind: "app", bearer: false, callers: USER, wallet: "named", chain: "chainless" },
  /** What leaves belongs to every chain: a scope that lists chains does not cover it. */
  export_wallet: {
    ...{ kind: "app", bearer: true, sealedOnly: true, callers: ANY_CALLER, wallet: "named", chain: "chainless" },
  },
  begin_import: { kind: "app", bearer: false, callers: ANY_CALLER, wallet: "any", chain: "none" },
  /** The target is one boot's. */
  import_wallet: { kind: "app", bearer: false, callers: ANY_CALLER, wallet: "any", chain: "none", once: true },
  delete_wallet: { kind: "app", bearer: false, callers: ANY_CALLER, wallet: "named", chain: "chainless" },
  list_wallets: { kind: "app", bearer: false, callers: ANY_CALLER, wallet: "any", chain: "none" },
  sign_transaction: { kind: "app", bearer: false, callers: ANY_CALLER, wallet: "named", chain: "signed" },
  sign_message: { kind: "app", bearer: false, callers: ANY_CALLER, wallet: "named", chain: "chainless" },
  sign_typed_data: { kind: "app", bearer: false, callers: ANY_CALLER, wallet: "named", chain: "signed" },
  sign_authorization: { kind: "app", bearer: false, callers: ANY_CALLER, wallet: "named", chain: "signed" },
  sign_user_operation: { kind: "app", bearer: false, callers: ANY_CALLER, wallet: "named", chain: "signed" },
  sign_solana_transaction: { kind: "app", bearer: false, callers: ANY_CALLER, wallet: "named", chain: "signed" },
  sign_solana_message: { kind: "app", bearer: false, callers: ANY_CALLER, wallet: "named", chain: "chainless" },
  sign_digest: { kind: "app", bearer: false, callers: ANY_CALLER, wallet: "named", chain: "chainless" },
  sign_bitcoin_transaction: { kind: "app", bearer: false, callers: ANY_CALLER, wallet: "named", chain: "signed" },
  sign_bitcoin_message: { kind: "app", bearer: false, callers: ANY_CALLER, wallet: "named", chain: "chainless" },
  /** Each of its elements is judged by itself. */
  sign_batch: { kind: "app", bearer: false, callers: ANY_CALLER, wallet: "none", chain: "none", batch: true },
  register_passkey: { ...ACCOUNT, bearer: false, callers: SESSION, withNewPasskey: true, once: true },
  list_passkeys: { ...ACCOUNT, bearer: false, callers: USER },
  remove_passkey: { ...ACCOUNT, bearer: false, callers: USER },
  enrol_totp: { ...ACCOUNT, bearer: true, sealedOnly: true, callers: USER },
  confirm_totp: { ...ACCOUNT, bearer: true, sealedOnly: true, callers: USER },
  disable_totp: { ...ACCOUNT, bearer: false, callers: USER },
  require_totp: { ...ACCOUNT, bearer: false, callers: USER },
  totp_status: { ...ACCOUNT, bearer: false, callers: USER },
  regenerate_recovery_codes: { ...ACCOUNT, bearer: true, sealedOnly: true, callers: USER },
  link_identity: { ...ACCOUNT, bearer: true, callers: SESSION, once: true },
  list_identities: { ...ACCOUNT, bearer: false, callers: USER },
  unlink_identity: { ...ACCOUNT, bearer: false, callers: USER },
  list_events: { ...ACCOUNT, bearer: false, callers: ANY_CALLER },
  /** All that is held on a user: personal data, which is not for whoever relays it. */
  export_user: { ...ACCOUNT, bearer: true, sealedOnly: true, callers: USER },
  erase_user: { ...ACCOUNT, bearer: false, callers: USER },
  reset_policy: { kind: "administrators", bearer: false, once: true },
  /** Of what was taken away nothing is left, versions neither: asked again it would be set, or taken away, again. */
  set_policy: { ...ACCOUNT, bearer: false, callers: USER, once: true },
  get_policy: { ...ACCOUNT, bearer: false, callers: USER },
  /** Approvers need not be users: an API key approves as itself. */
  approve_request: { ...ACCOUNT, bearer: false, callers: ANY_CALLER },
  reject_request: { ...ACCOUNT, bearer: false, callers: ANY_CALLER },
  get_approval: { ...ACCOUNT, bearer: false, callers: ANY_CALLER },
  list_approvals: { ...ACCOUNT, bearer: false, callers: ANY_CALLER },
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

export function isBatch(name: AppOperation): boolean {
  const { batch }: AppAccess = ACCESS[name];
  return batch === true;
}

/** What scopes and API keys' permissions can name. */
export const APP_OPERATIONS = Object.keys(ACCESS).filter(
  (name): name is AppOperation => isOperationName(name) && isAppOperation(name) && !isBatch(name),
);
