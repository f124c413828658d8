/** What carries out each operation inside an app. One that is missing here does not compile. */
import type { AppOperation } from "../../protocol/index.ts";
import { createWallets, signBatch } from "./batches.ts";
import { createSplitWallet, recoverWallet, reshareWallet } from "./custody.ts";
import type { AppHandler } from "./handler.ts";
import { linkIdentity, listEvents, listIdentities, unlinkIdentity } from "./identities.ts";
import { listPasskeys, registerPasskey, removePasskey } from "./passkeys.ts";
import { approveRequest, getApproval, getPolicy, listApprovals, rejectRequest, setPolicy } from "./policies.ts";
import { listSessions, revokeAllSessions, revokeSession } from "./sessions.ts";
import { SIGNING_HANDLERS } from "./signing-handlers.ts";
import { confirmTotp, disableTotp, enrolTotp, regenerateRecoveryCodes, requireTotp, totpStatus } from "./totp.ts";
import { eraseUser, exportUser } from "./user-data.ts";
import {
  beginImport,
  createAccounts,
  createWallet,
  deleteWallet,
  exportWallet,
  importWallet,
  listWallets,
} from "./wallets.ts";

export type AppHandlers = { readonly [Name in AppOperation]: AppHandler<Name> };

export const APP_HANDLERS = {
  list_sessions: listSessions,
  revoke_session: revokeSession,
  revoke_all_sessions: revokeAllSessions,
  create_wallet: createWallet,
  create_wallets: createWallets,
  create_accounts: createAccounts,
  create_split_wallet: createSplitWallet,
  recover_wallet: recoverWallet,
  reshare_wallet: reshareWallet,
  export_wallet: exportWallet,
  begin_import: beginImport,
  import_wallet: importWallet,
  delete_wallet: deleteWallet,
  list_wallets: listWallets,
  ...SIGNING_HANDLERS,
  sign_batch: signBatch,
  register_passkey: registerPasskey,
  list_passkeys: listPasskeys,
  remove_passkey: removePasskey,
  enrol_totp: enrolTotp,
  confirm_totp: confirmTotp,
  disable_totp: disableTotp,
  require_totp: requireTotp,
  totp_status: totpStatus,
  regenerate_recovery_codes: regenerateRecoveryCodes,
  link_identity: linkIdentity,
  list_identities: listIdentities,
  unlink_identity: unlinkIdentity,
  list_events: listEvents,
  export_user: exportUser,
  erase_user: eraseUser,
  set_policy: setPolicy,
  get_policy: getPolicy,
  approve_request: approveRequest,
  reject_request: rejectRequest,
  get_approval: getApproval,
  list_approvals: listApprovals,
} as const satisfies AppHandlers;
