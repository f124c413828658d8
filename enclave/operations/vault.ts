import { authenticateAdministrators } from "./authenticate-administrators.ts";
import type { AdministratorsHandler } from "./handler.ts";

export const rotateVault: AdministratorsHandler<"rotate_vault"> = async (request, _params, services) => {
  await authenticateAdministrators(request, services);
  return await services.rotation.begin();
};

export const vaultStatus: AdministratorsHandler<"vault_status"> = async (request, _params, services) => {
  await authenticateAdministrators(request, services);
  return await services.rotation.currentStatus();
};
