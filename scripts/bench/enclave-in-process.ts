/**
 * An enclave's own request handler over records in memory: no HTTP, no other process, no KMS and no NSM worth the name,
 * and everything between a stamped body and a signed answer as the enclave does it.
 */
import { generateKeyPairSync, randomBytes, randomUUID } from "node:crypto";
import { encode } from "cborg";
import type { StampKey } from "../../client/index.ts";
import type { ReceivedRequest, SignedAnswer } from "../../enclave/answer.ts";
import { StampVerifier } from "../../enclave/auth/verify-stamp.ts";
import { Egress } from "../../enclave/egress/egress.ts";
import { createLog } from "../../enclave/log.ts";
import type { Manifest } from "../../enclave/manifest.ts";
import { Nsm } from "../../enclave/nsm/nsm.ts";
import { Randomness } from "../../enclave/nsm/randomness.ts";
import type { Services } from "../../enclave/operations/handler.ts";
import { RequestHandler } from "../../enclave/request-handler.ts";
import { SealedRequests } from "../../enclave/sealed/sealed-requests.ts";
import { makeServices } from "../../enclave/services.ts";
import { TrustedClock } from "../../enclave/trusted-clock.ts";
import { openVault, type Vault } from "../../enclave/vault/open-vault.ts";
import { RecordStore } from "../../enclave/vault/record-store.ts";
import { WORKER_ENTRY } from "../../enclave/workers/entry.ts";
import { mainParts, SigningWorkers } from "../../enclave/workers/signing-workers.ts";
import {
  type AppConfig,
  type AppOperation,
  audienceOf,
  decodeAnswer,
  encodeRequest,
  encodeStamp,
  type JsonValue,
  WHOLE_SCOPE,
  withDefaults,
} from "../../protocol/index.ts";
import { FakeKms, KEY_ARN } from "../../test/support/fake-kms.ts";
import { MemoryParent } from "../../test/support/memory-parent.ts";
import type { Vsock } from "../../vsock/index.ts";

const MANIFEST: Manifest = {
  version: 1,
  deployment: "bench",
  region: "us-east-1",
  kmsKeyArn: KEY_ARN,
  administrators: { threshold: 1, publicKeys: [] },
  egress: [],
  digest: new Uint8Array(32),
};
const APP: AppConfig = withDefaults({
  name: "bench",
  issuers: [
    {
      issuer: "https://issuer.invalid",
      audiences: ["bench"],
      jwksUri: "https://issuer.invalid/jwks",
      algorithms: ["ES256"],
    },
  ],
  sessionLifetimeS: 86_400,
  signingPolicy: { evmChainIds: ["1"], messages: "allow" },
});
const HOUR_MS = 3_600_000;

export interface InProcessOptions {
  /** Signing workers beside this thread; none unless given. */
  readonly workers?: number;
  /** The module that they begin with, in place of their own. */
  readonly entry?: URL;
  readonly heartbeatMs?: number;
  readonly app?: Partial<AppConfig>;
  /** The parent's records, in place of some in memory. */
  readonly vsock?: Vsock;
  /** The trusted clock. */
  readonly nowMs?: () => number;
  /** An identity provider's key set. */
  readonly fetchJson?: (url: URL) => Promise<unknown>;
}

interface Parts {
  readonly appId: string;
  readonly handler: RequestHandler;
  readonly services: Services;
  readonly parent: MemoryParent;
  readonly vault: Vault;
  readonly workers: SigningWorkers;
}

export class EnclaveInProcess {
  readonly parts: Parts;
  readonly #register: (key: StampKey) => Promise<unknown>;
  readonly #audience: string;
  readonly #stop: () => Promise<void>;

  private constructor(
    parts: Parts,
    audience: string,
    register: (key: StampKey) => Promise<unknown>,
    stop: () => Promise<void>,
  ) {
    this.parts = parts;
    this.#audience = audience;
    this.#register = register;
    this.#stop = stop;
  }

  static async start(options: InProcessOptions = {}): Promise<EnclaveInProcess> {
    const device = { process: async () => encode({ GetRandom: { random: randomBytes(256) } }) };
    const randomness = await Randomness.seed(new Nsm(device, new TrustedClock(() => 0)));
    const parent = new MemoryParent();
    const { vsock = parent.vsock } = options;
    // It is not to be measured that a test's parent remembers every call.
    parent.calls.push = () => 0;
    const store = new RecordStore(vsock);
    const kms = new FakeKms();
    const nowMs = options.nowMs ?? (() => Date.now());
    const vault = await openVault({ store, kms, manifest: MANIFEST, randomness, nowMs });
    const stopping = new AbortController();
    const notHere = () => Promise.reject(new Error("not part of what is measured"));
    const log = createLog({ write: () => {}, nowMs });
    const { workers: count = 0, entry = WORKER_ENTRY } = options;
    const bootedAtMs = nowMs() - HOUR_MS;
    const services = makeServices({
      ...mainParts(count),
      ...{ manifest: MANIFEST, vault, kms, randomness, nowMs, log, signal: stopping.signal },
      egress: new Egress({ vsock, allowed: new Set(), nowMs }),
      ...{ fetchJson: options.fetchJson ?? notHere, attestImport: notHere },
      bootedAtMs,
    });
    const [answerKeys, sealingKeys] = [generateKeyPairSync("ed25519"), generateKeyPairSync("x25519")];
    const raw = { answerKey: new Uint8Array(32), sealingKey: new Uint8Array(32) };
    const handler = new RequestHandler({
      ...{ answerKey: answerKeys.privateKey, boot: "00".repeat(8), stamps: new StampVerifier(), services, log },
      sealedRequests: await SealedRequests.create(raw, sealingKeys, randomness),
    });
    const workers = new SigningWorkers({
      ...{ count, entry, handler, manifest: MANIFEST, answerKey: answerKeys.privateKey, boot: "00".repeat(8) },
      ...{ vault, watch: services.rotation, randomness, bootedAtMs, nowMs, log },
      ...{ writeLine: () => {}, heartbeatMs: options.heartbeatMs ?? 1_000 },
    });
    const appId = await services.apps.create(randomUUID(), { ...APP, ...options.app });
    const login = { issuer: "https://issuer.invalid", subject: "somebody", issuedAtMs: nowMs() };
    const register = ({ scheme, publicKey }: StampKey) =>
      services.sessions.register(
        appId,
        { scheme, publicKey, signature: new Uint8Array() },
        { ...login, issuedAtMs: nowMs(), expiresAtMs: nowMs() + HOUR_MS },
        { lifetimeMs: HOUR_MS, scope: WHOLE_SCOPE },
      );
    const audience = audienceOf(MANIFEST.deployment, appId);
    return new EnclaveInProcess({ appId, handler, services, parent, vault, workers }, audience, register, async () => {
      stopping.abort();
      await workers.close();
      services.wallets.close();
      store.close();
      kms.close();
    });
  }

  /** Wipes and forgets what the enclave itself does every ten seconds. */
  forget(): void {
    const { imports, wallets } = this.parts.services;
    imports.forgetExpired();
    wallets.forgetIdle();
  }

  /** One more app. @returns Its audience. */
  async makeApp(changes: Partial<AppConfig>): Promise<string> {
    const appId = await this.parts.services.apps.create(randomUUID(), { ...APP, ...changes });
    return audienceOf(MANIFEST.deployment, appId);
  }

  /** A session of the one user's for this key. */
  async logIn(key: StampKey): Promise<void> {
    await this.#register(key);
  }

  /** A new request, stamped: what callers do is done beforehand. */
  async stamp(
    key: StampKey,
    operation: AppOperation,
    params: JsonValue,
    requestId: string = randomUUID(),
  ): Promise<ReceivedRequest> {
    const envelope = { operation, audience: this.#audience, requestId, issuedAtMs: Date.now(), params };
    const body = encodeRequest(envelope);
    const { scheme, publicKey } = key;
    const stamp = encodeStamp({ scheme, publicKey, signature: await key.sign(body) });
    // As it comes off a wire: in one piece, where a string that was put together is only put in one by its first reader.
    return { body, stamps: [Buffer.from(stamp, "latin1").toString("latin1")] };
  }

  /** Throws unless it was done. */
  async handle(request: ReceivedRequest): Promise<Uint8Array> {
    const { status, body } = await this.answer(request);
    if (status !== 200) throw new Error(`status ${status}: ${Buffer.from(body).toString("utf8")}`);
    return body;
  }

  /** Whatever it is, signed. */
  answer(request: ReceivedRequest): Promise<SignedAnswer> {
    return this.parts.workers.handle(request);
  }

  async result(request: ReceivedRequest): Promise<JsonValue> {
    const answer = decodeAnswer(await this.handle(request));
    if ("error" in answer) throw new Error(answer.error.code);
    return answer.result;
  }

  close(): Promise<void> {
    return this.#stop();
  }
}
