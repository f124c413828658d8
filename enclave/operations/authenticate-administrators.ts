import { ADMINISTRATORS_WINDOW_MS, type AdministratorsOperation } from "../../protocol/index.ts";
import { checkAdministrators } from "../auth/administrators.ts";
import type { Services, StampedRequest } from "./handler.ts";

/** Together one asker: the same request counts once, whichever of its stamps are shown with it. */
const ADMINISTRATORS = "administrators";

/**
 * Says that enough administrators ask, and that the request was not acted on before.
 *
 * @throws {@link RequestError} `NOT_ENOUGH_ADMINISTRATORS`, `REQUEST_REPLAYED`, `REQUEST_STALE`, `BUSY`
 */
export async function authenticateAdministrators(request: StampedRequest, services: Services): Promise<void> {
  const { envelope, stamps } = request;
  checkAdministrators(stamps, services.manifest);
  await services.administratorsReplays.claim(ADMINISTRATORS, envelope.requestId, envelope.issuedAtMs);
  const operation = envelope.operation as AdministratorsOperation;
  await services.onceForAll.claim(operation, { envelope, isSealed: false }, ADMINISTRATORS, ADMINISTRATORS_WINDOW_MS);
}
