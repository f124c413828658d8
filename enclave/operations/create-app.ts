import { RequestError } from "../../protocol/index.ts";
import { checkAdministrators } from "../auth/administrators.ts";
import type { AdministratorsHandler } from "./handler.ts";

/** Together one asker: the same request counts once, whichever of its stamps are shown with it. */
const ADMINISTRATORS = "administrators";

export const createApp: AdministratorsHandler<"create_app"> = async ({ envelope, stamps }, params, services) => {
  const { manifest, egress, replays, apps } = services;
  checkAdministrators(stamps, manifest);
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
  await replays.claim(ADMINISTRATORS, envelope.requestId, envelope.issuedAtMs);
  return { appId: await apps.create(envelope.requestId, params) };
};
