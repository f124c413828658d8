import { decodeHex } from "../../protocol/index.ts";
import { ownerOf } from "../auth/owner.ts";
import { authenticateAdministrators } from "./authenticate-administrators.ts";
import type { AdministratorsHandler, AppHandler } from "./handler.ts";

export const setPolicy: AppHandler<"set_policy"> = async ({ actor }, params, { userPolicies, wallets }) => {
  const { of, policy, expectedVersion } = params;
  // Nobody binds a wallet that is not there, and what is not theirs.
  if (of !== "user" && policy !== null) (await wallets.open(ownerOf(actor), of))[Symbol.dispose]();
  return { version: await userPolicies.set(actor, of, policy, expectedVersion) };
};

export const getPolicy: AppHandler<"get_policy"> = async ({ actor }, { of }, { userPolicies }) => {
  return await userPolicies.get(actor, of);
};

export const resetPolicy: AdministratorsHandler<"reset_policy"> = async (request, params, services) => {
  await authenticateAdministrators(request, services);
  const { appId, userId, of } = params;
  await services.apps.get(appId);
  return { isReset: await services.userPolicies.reset(appId, userId, of) };
};

export const approveRequest: AppHandler<"approve_request"> = async ({ actor, envelope }, params, { approvals }) => {
  const { approvalId, digest } = params;
  const approval = await approvals.approve(actor, envelope.requestId, approvalId, decodeHex(digest));
  return approvals.view(approvalId, approval);
};

export const rejectRequest: AppHandler<"reject_request"> = async ({ actor }, { approvalId }, { approvals }) => {
  await approvals.reject(actor, approvalId);
  return {};
};

export const getApproval: AppHandler<"get_approval"> = async ({ actor }, { approvalId }, { approvals }) => {
  return approvals.view(approvalId, await approvals.get(actor, approvalId));
};

export const listApprovals: AppHandler<"list_approvals"> = async ({ actor }, { after }, { approvals }) => {
  const { approvals: listed, next } = await approvals.list(actor, after);
  return { approvals: listed.map(({ approvalId, approval }) => approvals.view(approvalId, approval)), next };
};
