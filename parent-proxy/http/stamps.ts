import type { IncomingHttpHeaders } from "node:http";
import {
  MAX_STAMP_BYTES,
  MAX_STAMPS,
  MAX_WEBAUTHN_STAMP_BYTES,
  STAMP_HEADER,
  WEBAUTHN_STAMP_HEADER,
} from "../../protocol/index.ts";
import { ParentError } from "../errors.ts";

/**
 * Every `X-Stamp` of a request, and after them the one `X-Stamp-Webauthn`, which is JSON and goes on as it is. Repeated headers arrive joined by ", " (RFC 9110, 5.2), and base64url has no comma.
 * The counts are checked here because the enclave ends a connection whose frames break the wire's limits, and with it
 * the requests of everybody else.
 *
 * @throws {@link ParentError} `PARENT_INVALID_REQUEST`
 */
export function stampsOf(headers: IncomingHttpHeaders): string[] {
  const joined = headers[STAMP_HEADER] ?? [];
  const ofPasskey = [headers[WEBAUTHN_STAMP_HEADER] ?? []].flat();
  const stamps = [joined].flat().flatMap((value) => value.split(",").map((stamp) => stamp.trim()));
  if (ofPasskey.some((stamp) => stamp.length > MAX_WEBAUTHN_STAMP_BYTES)) {
    throw new ParentError("PARENT_INVALID_REQUEST", `a stamp of more than ${MAX_WEBAUTHN_STAMP_BYTES} characters`);
  }
  const count = stamps.length + ofPasskey.length;
  if (count > MAX_STAMPS) {
    throw new ParentError("PARENT_INVALID_REQUEST", `${count} stamps, limit ${MAX_STAMPS}`);
  }
  if (stamps.some((stamp) => stamp.length > MAX_STAMP_BYTES)) {
    throw new ParentError("PARENT_INVALID_REQUEST", `a stamp of more than ${MAX_STAMP_BYTES} characters`);
  }
  return [...stamps, ...ofPasskey];
}
