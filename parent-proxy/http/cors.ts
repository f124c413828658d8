/**
 * Any page may call (the Fetch standard, 3.2). That is safe because nothing here rests on what a browser adds by itself:
 * no cookie, no HTTP login, no address. A request has the power of the stamps it carries, and a page can make those
 * only with keys that it holds. `*` also keeps browsers from ever sending credentials along.
 */
import type { FastifyInstance } from "fastify";
import { ANSWER_SIGNATURE_HEADER, BOOT_HEADER, STAMP_HEADER, WEBAUTHN_STAMP_HEADER } from "../../protocol/index.ts";

/** Chromium keeps a preflight's answer for two hours at most. */
const PREFLIGHT_MAX_AGE_S = 7200;

export function allowAnyOrigin(server: FastifyInstance): void {
  server.addHook("onRequest", async (_request, reply) => {
    reply.header("access-control-allow-origin", "*");
    reply.header("access-control-expose-headers", `${ANSWER_SIGNATURE_HEADER}, ${BOOT_HEADER}, retry-after`);
  });
  server.options("/v1/:operation", async (_request, reply) =>
    reply
      .status(204)
      .header("access-control-allow-methods", "GET, POST")
      .header("access-control-allow-headers", `content-type, ${STAMP_HEADER}, ${WEBAUTHN_STAMP_HEADER}, ${BOOT_HEADER}`)
      .header("access-control-max-age", PREFLIGHT_MAX_AGE_S)
      .send(),
  );
}
