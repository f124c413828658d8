/** An enclave behind a `fetch` that never leaves the process: real attestation, real signatures, answers of the test's. */
import { generateKeyPairSync } from "node:crypto";
import { decode, encode } from "cborg";
import { createPcrSet } from "../../attestation/index.ts";
import type { ConnectOptions, ExpectedEnclave } from "../../client/index.ts";
import { signAnswer } from "../../enclave/answer.ts";
import {
  ANSWER_SIGNATURE_HEADER,
  type AttestedUserData,
  decodeHex,
  decodeRequest,
  encodeAttestedKeys,
  encodeAttestedUserData,
  encodeBase64url,
  type RequestEnvelope,
  STAMP_HEADER,
} from "../../protocol/index.ts";
import { createNsmPki, createSimulatedNsm } from "../../simulator/nsm/index.ts";

export const NOW = 1_790_000_000_000;
export const MANIFEST_DIGEST = new Uint8Array(32).fill(5);
const VAULT_ID = new Uint8Array(16).fill(6);
const PCR0 = new Uint8Array(48).fill(7);

export interface SeenRequest {
  readonly path: string;
  readonly envelope: RequestEnvelope;
  readonly stamps: readonly string[];
  readonly redirect: RequestRedirect | undefined;
}

export class FakeEnclave {
  readonly requests: SeenRequest[] = [];
  attestations = 0;
  /** The enclave's clock, which stands still. */
  nowMs = NOW;
  userData: Partial<Exclude<AttestedUserData, { readonly purpose: "cloister/import/v1" }>> = {};
  /** The JSON of an answer, its status, and whether the enclave signs it. */
  answer: (request: SeenRequest) => { status?: number; json: object; signed?: boolean } = ({ envelope }) => ({
    json: { requestId: envelope.requestId, result: { wallets: [], more: false } },
  });
  /** Changes a response on its way. */
  relay: (response: Response, url: URL) => Response | Promise<Response> = (response) => response;
  #keys = generateKeyPairSync("ed25519");
  readonly #pki = createNsmPki({ nowMs: () => this.nowMs });
  readonly #nsm = createSimulatedNsm({
    pki: this.#pki,
    pcrs: new Map([[0, PCR0]]),
    moduleId: "i-0123456789abcdef0-enc0123456789abcdef",
    nowMs: () => this.nowMs,
  });

  get expected(): ExpectedEnclave {
    return {
      roots: [this.#pki.root],
      pcrs: [createPcrSet([[0, PCR0]])],
      manifestDigest: MANIFEST_DIGEST,
      vaultId: VAULT_ID,
    };
  }

  get options(): ConnectOptions {
    return {
      url: "http://parent.invalid",
      deployment: "test",
      expected: this.expected,
      fetch: this.fetch,
      nowMs: () => this.nowMs,
      monotonicMs: () => 0,
    };
  }

  /** Another boot: another answer key. */
  restart(): void {
    this.#keys = generateKeyPairSync("ed25519");
  }

  readonly fetch: typeof fetch = async (input, init) => {
    const url = new URL(String(input));
    const response = init?.method === "POST" ? this.#operate(url, init) : await this.#attest(url);
    return this.relay(response, url);
  };

  async #attest(url: URL): Promise<Response> {
    this.attestations += 1;
    const answerKey = this.#keys.publicKey.export({ type: "spki", format: "der" }).subarray(-32);
    const userData = encodeAttestedUserData({
      v: 1,
      purpose: "cloister/callers/v1",
      manifest: MANIFEST_DIGEST,
      vault: VAULT_ID,
      ...this.userData,
    });
    const request = encode({
      Attestation: {
        user_data: userData,
        nonce: decodeHex(url.searchParams.get("nonce") ?? ""),
        public_key: encodeAttestedKeys({ answerKey, sealingKey: new Uint8Array(32) }),
      },
    });
    const answer = decode(await this.#nsm.handle(request)) as { Attestation: { document: Uint8Array<ArrayBuffer> } };
    return new Response(Uint8Array.from(answer.Attestation.document));
  }

  #operate(url: URL, init: RequestInit): Response {
    const body = init.body as Uint8Array;
    const stamps = (new Headers(init.headers).get(STAMP_HEADER) ?? "").split(", ").filter((stamp) => stamp !== "");
    const request = { path: url.pathname, envelope: decodeRequest(body), stamps, redirect: init.redirect };
    this.requests.push(request);
    const { status = 200, json, signed = true } = this.answer(request);
    const answer = signAnswer(this.#keys.privateKey, { body, stamps }, status, json);
    const headers = new Headers({ "content-type": "application/json" });
    if (signed) headers.set(ANSWER_SIGNATURE_HEADER, encodeBase64url(answer.signature));
    return new Response(Uint8Array.from(answer.body), { status, headers });
  }
}
