import {
  type AppConfig,
  MAX_RECORDS_PER_PAGE,
  RequestError,
  STAMP_SCHEMES,
  withDefaults,
} from "../../protocol/index.ts";
import { hostsOf, keySourceOf } from "../auth/key-source.ts";
import type { Egress } from "../egress/egress.ts";
import { authenticateAdministrators } from "./authenticate-administrators.ts";
import type { AdministratorsHandler } from "./handler.ts";

export const createApp: AdministratorsHandler<"create_app"> = async (request, params, services) => {
  await authenticateAdministrators(request, services);
  const app = withDefaults(params);
  checkIssuers(app, services.egress);
  return { appId: await services.apps.create(request.envelope.requestId, app) };
};

export const updateApp: AdministratorsHandler<"update_app"> = async (request, params, services) => {
  await authenticateAdministrators(request, services);
  const { appId, expectedVersion } = params;
  const { policy, ...settings } = withDefaults(params.app);
  checkIssuers(settings, services.egress);
  return { appId, version: await services.apps.update(appId, expectedVersion, () => ({ settings, policy })) };
};

export const listApps: AdministratorsHandler<"list_apps"> = async (request, { after }, services) => {
  await authenticateAdministrators(request, services);
  const apps = await services.apps.list(after);
  return { apps: [...apps], more: apps.length === MAX_RECORDS_PER_PAGE };
};

export const getApp: AdministratorsHandler<"get_app"> = async (request, { appId }, services) => {
  await authenticateAdministrators(request, services);
  const { version, ...app } = await services.apps.configOf(appId);
  return { appId, version, app };
};

/** The key of before keeps its name until it ends, so that a backend can be moved to the new one without a gap. */
export const rotateAppKey: AdministratorsHandler<"rotate_app_key"> = async (request, params, services) => {
  await authenticateAdministrators(request, services);
  const { appId, expectedVersion, name, scheme, publicKey, overlapS } = params;
  const now = services.nowMs();
  if (publicKey.length !== 2 * STAMP_SCHEMES[scheme].publicKeyBytes) {
    throw new RequestError("INVALID_PARAMS", "publicKey: of another scheme's length");
  }
  const version = await services.apps.update(appId, expectedVersion, (app) => {
    const present = app.apiKeys.find((key) => key.name === name && key.expiresAtMs === null);
    if (present === undefined) throw new RequestError("APP_KEY_NOT_FOUND", "the app has no API key of this name");
    if (present.publicKey === publicKey && present.scheme === scheme) return { settings: app };
    if (app.apiKeys.some((key) => key.publicKey === publicKey)) {
      throw new RequestError("INVALID_PARAMS", "publicKey: the app has this key already");
    }
    const others = app.apiKeys.filter((key) => key !== present && (key.expiresAtMs === null || key.expiresAtMs > now));
    const leaving = overlapS === 0 ? [] : [{ ...present, expiresAtMs: now + overlapS * 1000 }];
    return { settings: { ...app, apiKeys: [...others, ...leaving, { ...present, scheme, publicKey }] } };
  });
  return { appId, version };
};

function checkIssuers({ issuers }: Pick<AppConfig, "issuers">, egress: Egress): void {
  for (const host of issuers.flatMap((issuer) => hostsOf(keySourceOf(issuer)))) {
    const [hostname = "", port] = host.split(":");
    if (!egress.isAllowed(hostname, Number(port))) {
      throw new RequestError("INVALID_PARAMS", `issuers: the manifest's egress does not name ${host}`);
    }
  }
}
