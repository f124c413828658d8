/** What tests against several enclaves begin with: one app, one user, and ways to ask one enclave past the balancer. */
import type { Client } from "../../client/index.ts";
import { decodeAnswer } from "../../protocol/index.ts";
import type { Cluster } from "../../simulator/index.ts";
import { AUDIENCE, createApp } from "./app.ts";

/** A client of each enclave alone, without second tries: what one enclave says is for the test to see. */
export function clientsOf(cluster: Cluster): Promise<readonly Client[]> {
  return Promise.all(cluster.members.map(({ url }) => cluster.connect({ url, attempts: 1 })));
}

/** Another's view of the same app. */
export function makeApp(cluster: Cluster, client: Client, changes: Parameters<typeof createApp>[2] = {}) {
  return createApp(cluster, client, changes);
}

/** The same bytes under the same stamps, to one parent: what a relay that repeats them would do. */
export async function replay(
  url: string,
  request: { readonly path: string; readonly body: Uint8Array; readonly headers: Headers },
): Promise<{ readonly status: number; readonly code: string | null; readonly body: string }> {
  const { path, body, headers } = request;
  const response = await fetch(new URL(path, url), { method: "POST", body: Uint8Array.from(body), headers });
  const bytes = new Uint8Array(await response.arrayBuffer());
  const type = response.headers.get("content-type") ?? "";
  const answer = type.startsWith("application/json") ? decodeAnswer(bytes) : null;
  return {
    status: response.status,
    code: answer !== null && "error" in answer ? answer.error.code : null,
    body: Buffer.from(bytes).toString("utf8"),
  };
}

/** A `fetch` that keeps what it sent. */
export function recordingFetch(): {
  readonly fetch: typeof fetch;
  readonly sent: { readonly path: string; readonly body: Uint8Array; readonly headers: Headers }[];
} {
  const sent: { path: string; body: Uint8Array; headers: Headers }[] = [];
  return {
    sent,
    fetch: async (input, init) => {
      const { pathname } = new URL(String(input));
      if (init?.method === "POST") {
        sent.push({ path: pathname, body: init.body as Uint8Array, headers: new Headers(init.headers) });
      }
      return fetch(input, init);
    },
  };
}

export { AUDIENCE };
