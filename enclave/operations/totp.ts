import { userRequestOf } from "../auth/actor.ts";
import { confirmedOf, requiredFor } from "../auth/second-factors.ts";
import type { AppHandler } from "./handler.ts";

export const enrolTotp: AppHandler<"enrol_totp"> = async ({ actor }, { account }, { apps, secondFactors }) => {
  const { name } = await apps.get(actor.appId);
  return await secondFactors.enrol(userRequestOf(actor), { issuer: name, account });
};

export const confirmTotp: AppHandler<"confirm_totp"> = async ({ actor, envelope }, _params, { secondFactors }) => {
  const codes = await secondFactors.confirm(userRequestOf(actor), envelope.secondFactor);
  return { recoveryCodes: [...codes] };
};

export const disableTotp: AppHandler<"disable_totp"> = async ({ actor }, _params, { secondFactors }) => {
  await secondFactors.disable(userRequestOf(actor));
  return {};
};

export const requireTotp: AppHandler<"require_totp"> = async ({ actor }, params, { secondFactors }) => {
  await secondFactors.require(userRequestOf(actor), params);
  return {};
};

export const totpStatus: AppHandler<"totp_status"> = async ({ actor }, _params, { apps }) => {
  const { totp } = await apps.get(actor.appId);
  const factor = confirmedOf(actor.user);
  return {
    confirmedAtMs: factor?.confirmedAtMs ?? null,
    recoveryCodesLeft: factor?.recoveryCodes.length ?? 0,
    requiredFor: factor === null ? [...totp.requiredFor] : requiredFor(factor, totp),
  };
};

export const regenerateRecoveryCodes: AppHandler<"regenerate_recovery_codes"> = async (
  { actor },
  _params,
  { secondFactors },
) => ({ recoveryCodes: [...(await secondFactors.regenerate(userRequestOf(actor)))] });
