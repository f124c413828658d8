/** Requests by keys of any scheme, with and without a seal, one part of them wrong. */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { decodeUnverified } from "../../attestation/index.ts";
import type { StampKey } from "../../client/index.ts";
import { stampKeyFromKeyObject } from "../../client-node/index.ts";
import type { Params } from "../../protocol/index.ts";
import {
  type AttestedKeys,
  decodeAnswer,
  decodeAttestedKeys,
  encodeHex,
  type Permissions,
  type StampScheme,
  sealRequest,
} from "../../protocol/index.ts";
import type { Simulator } from "../../simulator/index.ts";

export function generateKeyOf(scheme: StampScheme): StampKey {
  return stampKeyFromKeyObject(privateKeyOf(scheme));
}

function privateKeyOf(scheme: StampScheme): KeyObject {
  switch (scheme) {
    case "SIGNATURE_SCHEME_TK_API_P256":
      return generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    case "SIGNATURE_SCHEME_TK_API_SECP256K1":
      return generateKeyPairSync("ec", { namedCurve: "secp256k1" }).privateKey;
    case "SIGNATURE_SCHEME_TK_API_ED25519":
      return createPrivateKey(generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }));
  }
}

export type ApiKeyParams = NonNullable<Params<"create_app">["apiKeys"]>[number];

export function apiKeyOf(
  { scheme, publicKey }: StampKey,
  operations: Permissions["operations"],
  changes: Partial<ApiKeyParams> = {},
): ApiKeyParams {
  const permissions = { operations, wallets: null, chains: null };
  return { name: "backend", scheme, publicKey: encodeHex(publicKey), permissions, expiresAtMs: null, ...changes };
}

/** The keys of the enclave that runs now, without looking at who vouches for them: the client library's tests do. */
export async function attestedKeys(simulator: Simulator): Promise<AttestedKeys> {
  const response = await fetch(`${simulator.url}/v1/attestation?nonce=${"00".repeat(16)}`);
  const { publicKey } = decodeUnverified(new Uint8Array(await response.arrayBuffer()));
  return decodeAttestedKeys(publicKey ?? new Uint8Array(0));
}

export interface SealedOutcome {
  readonly status: number;
  readonly code: string | null;
  /** What came back over the wire. */
  readonly bytes: Uint8Array;
}

export async function postSealedBytes(simulator: Simulator, bytes: Uint8Array): Promise<Response> {
  return fetch(`${simulator.url}/v1/sealed`, { method: "POST", body: Uint8Array.from(bytes) });
}

/** Seals, posts, opens. */
export async function sendSealed(
  simulator: Simulator,
  keys: AttestedKeys,
  audience: string,
  request: { readonly stamps: string[]; readonly body: Uint8Array },
): Promise<SealedOutcome> {
  const sealed = await sealRequest(keys, audience, request);
  const response = await postSealedBytes(simulator, sealed.bytes);
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (response.status !== 200) return { status: response.status, code: codeOf(bytes), bytes };
  const answer = await sealed.openAnswer(bytes);
  return { status: answer.status, code: codeOf(answer.body), bytes };
}

function codeOf(body: Uint8Array): string | null {
  const answer = decodeAnswer(body);
  return "error" in answer ? answer.error.code : null;
}
