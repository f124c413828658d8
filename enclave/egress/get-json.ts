import type { IncomingMessage } from "node:http";
import { get } from "node:https";
import { EgressError } from "./egress.ts";
import type { EgressAgent } from "./egress-agent.ts";

/**
 * Fetches one JSON document. Redirects are not followed: a host in the manifest does not vouch for others.
 *
 * @param limits.timeoutMs - For the whole answer, so that a server that drips bytes cannot hold the call.
 * @throws {@link EgressError}
 */
export async function getJson(
  url: URL,
  agent: EgressAgent,
  limits: { readonly maxBytes: number; readonly timeoutMs: number },
): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const request = get(url, { agent, headers: { accept: "application/json" } }, (response: IncomingMessage) => {
    if (response.statusCode !== 200) {
      reject(new EgressError("UNREACHABLE", `${url.host} answers status ${response.statusCode}`));
      response.destroy();
      return;
    }
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= limits.maxBytes) chunks.push(chunk);
      else response.destroy(new EgressError("UNREACHABLE", `${url.host} answers more than ${limits.maxBytes} bytes`));
    });
    response.on("end", () => resolve(Buffer.concat(chunks)));
    response.on("error", reject);
  });
  request.on("error", reject);
  const timer = setTimeout(() => {
    request.destroy(new EgressError("TIMEOUT", `${url.host} did not answer within ${limits.timeoutMs} ms`));
  }, limits.timeoutMs);
  try {
    return JSON.parse((await promise).toString("utf8"));
  } catch (cause) {
    if (cause instanceof EgressError) throw cause;
    throw new EgressError("UNREACHABLE", `no JSON from ${url.host}`, { cause });
  } finally {
    clearTimeout(timer);
  }
}
