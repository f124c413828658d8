/** Requests without the client library, so that each part of one can be wrong. */
import { randomUUID } from "node:crypto";
import type { StampKey } from "../../client/index.ts";
import {
  encodeRequest,
  encodeStamp,
  isWebauthnStamp,
  type JsonValue,
  type RequestEnvelope,
  STAMP_HEADER,
  WEBAUTHN_STAMP_HEADER,
} from "../../protocol/index.ts";
import type { AnySimulator } from "./app.ts";

export interface RawAnswer {
  readonly status: number;
  readonly requestId: string | null;
  /** The error's, or null for a result. */
  readonly code: string | null;
  readonly result: unknown;
}

export function requestBody(
  simulator: AnySimulator,
  fields: Pick<RequestEnvelope, "operation"> & Partial<RequestEnvelope> & { readonly appId?: string },
): Uint8Array<ArrayBuffer> {
  const { appId, ...given } = fields;
  return encodeRequest({
    audience: appId === undefined ? simulator.deployment : `${simulator.deployment}/${appId}`,
    requestId: randomUUID(),
    // A little behind, as the client library is: a request dated ahead is made to wait.
    issuedAtMs: simulator.nowMs() - 50,
    params: {} as JsonValue,
    ...given,
  });
}

export async function stampOf(key: StampKey, body: Uint8Array<ArrayBuffer>): Promise<string> {
  return encodeStamp({ scheme: key.scheme, publicKey: key.publicKey, signature: await key.sign(body) });
}

export async function post(
  simulator: AnySimulator,
  body: Uint8Array<ArrayBuffer>,
  stamps: readonly string[],
): Promise<RawAnswer> {
  const headers = new Headers({ "content-type": "application/json" });
  for (const stamp of stamps) headers.append(isWebauthnStamp(stamp) ? WEBAUTHN_STAMP_HEADER : STAMP_HEADER, stamp);
  const response = await fetch(`${simulator.url}/v1/request`, { method: "POST", body, headers });
  const json = (await response.json()) as { requestId: string | null; result?: unknown; error?: { code: string } };
  return { status: response.status, requestId: json.requestId, code: json.error?.code ?? null, result: json.result };
}

/** Stamps with one key and posts. */
export async function send(simulator: AnySimulator, body: Uint8Array<ArrayBuffer>, key: StampKey): Promise<RawAnswer> {
  return post(simulator, body, [await stampOf(key, body)]);
}
