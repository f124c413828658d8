import { RequestError, withDefaults } from "../../protocol/index.ts";
import { authenticateAdministrators } from "./authenticate-administrators.ts";
import type { AdministratorsHandler } from "./handler.ts";

export const createApp: AdministratorsHandler<"create_app"> = async (request, params, services) => {
  const { egress, apps } = services;
  await authenticateAdministrators(request, services);
  for (const { jwksUri } of params.issuers) {
    const { hostname, port } = new URL(jwksUri);
    const portNumber = Number(port || 443);
    if (!egress.isAllowed(hostname, portNumber)) {
      throw new RequestError(
        "INVALID_PARAMS",
        `jwksUri: the manifest's egress does not name ${hostname}:${portNumber}`,
      );
    }
  }
  return { appId: await apps.create(request.envelope.requestId, withDefaults(params)) };
};
