/** From boot to readiness: attest, unseal, serve. The one place that knows every part. */
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type AttestedImport,
  type AttestedKeys,
  type AttestedUserData,
  type EnclaveAnswer,
  type EnclaveCall,
  type EnclaveStatus,
  ERROR_CODES,
  enclaveCall,
  encodeAttestedKeys,
  encodeAttestedUserData,
  encodeHex,
  keyIdOf,
  LOG_PORT,
  MAX_ATTESTATION_NONCE_BYTES,
  MIN_ATTESTATION_NONCE_BYTES,
  REQUEST_PORT,
  RequestError,
} from "../protocol/index.ts";
import { serveCalls, type Vsock } from "../vsock/index.ts";
import { Admission } from "./admission/admission.ts";
import { type ReceivedRequest, type SignedAnswer, signAnswer } from "./answer.ts";
import { StampVerifier } from "./auth/verify-stamp.ts";
import { Egress } from "./egress/egress.ts";
import { EgressAgent } from "./egress/egress-agent.ts";
import { getJson } from "./egress/get-json.ts";
import { StartError } from "./errors.ts";
import { AttestedKms } from "./kms/attested-kms.ts";
import { ParentCredentials } from "./kms/credentials.ts";
import { RecipientKeys } from "./kms/recipient-keys.ts";
import { createLog, type Log } from "./log.ts";
import { LogStream } from "./log-stream.ts";
import { kmsHost, type Manifest, parseManifest } from "./manifest.ts";
import { Nsm, type NsmDevice } from "./nsm/nsm.ts";
import { Randomness } from "./nsm/randomness.ts";
import type { Services } from "./operations/handler.ts";
import type { Phase } from "./phase.ts";
import { RequestHandler } from "./request-handler.ts";
import { SealedRequests } from "./sealed/sealed-requests.ts";
import { makeServices } from "./services.ts";
import { randomizeContext, secp256k1Binding } from "./signing/secp256k1.ts";
import { TrustedClock } from "./trusted-clock.ts";
import { openVault } from "./vault/open-vault.ts";
import { RecordStore } from "./vault/record-store.ts";
import { mainParts, SigningWorkers } from "./workers/signing-workers.ts";

export interface EnclaveOptions {
  /** `cloister.yaml` as the image holds it. */
  readonly manifest: Uint8Array;
  readonly nsm: NsmDevice;
  readonly vsock: Vsock;
  /** PEM certificates that the image holds: what TLS to KMS, and to identity providers, is checked against. */
  readonly tlsRoots: { readonly kms: readonly string[]; readonly web: readonly string[] };
  /** Milliseconds from any fixed moment; never runs backwards. */
  readonly monotonicMs: () => number;
  /** How many threads sign beside the main one, and the module that they begin with; none if left out. */
  readonly signingWorkers?: { readonly count: number; readonly entry: URL };
  /** Hears of every phase but the first, and again of `attested` when the start waits for something. */
  readonly onPhase?: (phase: Phase) => void;
}

export interface Enclave {
  /** Resolves when the enclave is ready. @throws {@link StartError} when it never will be. */
  readonly ready: Promise<void>;
  /** Answers what is under way, then closes every stream. */
  close(): Promise<void>;
}

const NO_WORKERS = { count: 0, entry: new URL(import.meta.url) };
/** A new vault takes GenerateDataKey and then Decrypt. */
const KMS_CALLS_AT_START = 2;
const FIRST_RETRY_MS = 100;
const MAX_RETRY_MS = 10_000;
/** 50 ppm of drift make 3 ms in this time: far less than any window here. */
const CLOCK_CHECK_MS = 60_000;
const FORGET_EXPIRED_MS = 10_000;
const MAX_ATTESTING = 64;
/** Of the parent, which needs one, and of services there that ask over vsock themselves. A frame of each is held: 1 MiB at most. */
const MAX_CONNECTIONS = 80;
/** Of one key set: a few keys are a few kilobytes. */
const JWKS_LIMITS = { maxBytes: 256 * 1024, timeoutMs: 10_000 } as const;

/**
 * Starts the enclave. It listens at once, so that the parent can ask where it stands, and answers requests once ready.
 *
 * @throws {@link StartError} `MANIFEST_INVALID`
 */
export function startEnclave(options: EnclaveOptions): Enclave {
  return new RunningEnclave(options, parseManifest(options.manifest));
}

/** What a boot makes once, however often it tries to open the vault. */
interface Boot {
  readonly recipientKeys: RecipientKeys;
  readonly randomness: Randomness;
  /** By the trusted clock. */
  readonly bootedAtMs: number;
}

/** What serves requests once the vault is open. */
type Open = Omit<Extract<Phase, { readonly name: "ready" }>, "name">;

type Said = AttestedUserData extends infer Data
  ? Data extends unknown
    ? Omit<Data, "v" | "manifest" | "vault">
    : never
  : never;

class RunningEnclave implements Enclave {
  readonly ready: Promise<void>;
  readonly #options: EnclaveOptions;
  readonly #manifest: Manifest;
  readonly #clock: TrustedClock;
  readonly #nsm: Nsm;
  readonly #logStream: LogStream;
  readonly #log: Log;
  /** Of this boot, and never stored: what vouches for them is the attestation document. */
  readonly #answerKeys = generateKeyPairSync("ed25519");
  readonly #sealingKeys = generateKeyPairSync("x25519");
  readonly #stopping = new AbortController();
  readonly #connections = new Set<{ drain: () => Promise<void> }>();
  #phase: Phase = { name: "booting" };
  /** Null until the vault is open. */
  #vaultId: Uint8Array | null = null;
  #attesting = 0;
  #closeParts: (() => void | Promise<void>)[] = [];

  constructor(options: EnclaveOptions, manifest: Manifest) {
    this.#options = options;
    this.#manifest = manifest;
    this.#clock = new TrustedClock(options.monotonicMs);
    this.#nsm = new Nsm(options.nsm, this.#clock);
    this.#logStream = new LogStream(() => options.vsock.connect(LOG_PORT, { timeoutMs: 2_000 }));
    this.#log = createLog({
      write: (line) => this.#logStream.write(line),
      nowMs: () => (this.#clock.isSet ? this.#clock.nowMs() : null),
    });
    this.ready = this.#start();
    // Whoever waits for readiness hears of a failure there; the phase tells everybody else.
    this.ready.catch(() => {});
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([...this.#connections].map((connection) => connection.drain()));
    for (const close of this.#closeParts) await close();
    this.#logStream.close();
    await this.#options.vsock.close();
  }

  async #start(): Promise<void> {
    const recipientKeys = new RecipientKeys();
    recipientKeys.prepare(KMS_CALLS_AT_START);
    const boot = keyIdOf(this.#rawKeys());
    try {
      await this.#options.vsock.listen(REQUEST_PORT, (stream) => {
        if (this.#connections.size >= MAX_CONNECTIONS) {
          stream.destroy();
          return;
        }
        const connection = serveCalls<EnclaveCall, EnclaveAnswer>(stream, {
          call: enclaveCall,
          handle: async (call) => ({ ...(await this.#handle(call)), boot: await boot }),
          onClose: () => this.#connections.delete(connection),
        });
        this.#connections.add(connection);
      });
      // Also sets the clock: nothing is judged by time before this.
      await this.#attest({ purpose: "cloister/callers/v1" }, null, this.#attestedKeys());
      const bootedAtMs = this.#clock.nowMs();
      const randomness = await Randomness.seed(this.#nsm);
      randomizeContext(randomness.bytes(32));
      this.#enter({ name: "attested", waitingFor: null });
      const open = await this.#openWithRetries({ recipientKeys, randomness, bootedAtMs });
      this.#keepClock();
      this.#enter({ name: "ready", ...open });
    } catch (error) {
      if (this.#stopping.signal.aborted) throw error;
      const { code, message } =
        error instanceof StartError ? error : { code: "INTERNAL", message: "the start failed for an unknown reason" };
      this.#enter({ name: "failed", failure: { code, message } });
      throw error;
    }
  }

  /** The parent or KMS may be away for a while; what no waiting can better ends the start. */
  async #openWithRetries(boot: Boot): Promise<Open> {
    const { signal } = this.#stopping;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#open(boot);
      } catch (error) {
        if (!(error instanceof StartError) || !error.isWorthRetrying || signal.aborted) throw error;
        const { code, message } = error;
        this.#phase = { name: "attested", waitingFor: { code, message } };
        this.#options.onPhase?.(this.#phase);
        this.#log.warn("start-waits", { code, attempt });
        const backoffMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** (attempt - 1));
        // Jitter: enclaves that lost the same KMS do not come back to it all at once.
        await sleep(backoffMs * (0.5 + Math.random() / 2), undefined, { signal });
      }
    }
  }

  async #open({ recipientKeys, randomness, bootedAtMs }: Boot): Promise<Open> {
    const { vsock, tlsRoots, signingWorkers = NO_WORKERS } = this.#options;
    const manifest = this.#manifest;
    const nowMs = () => this.#clock.nowMs();
    const host = kmsHost(manifest);
    const egress = new Egress({ vsock, allowed: new Set([`${host}:443`, ...manifest.egress]), nowMs });
    const kmsAgent = new EgressAgent(egress, tlsRoots.kms);
    const webAgent = new EgressAgent(egress, tlsRoots.web);
    const credentials = new ParentCredentials(vsock);
    const store = new RecordStore(vsock);
    const kms = new AttestedKms({
      region: manifest.region,
      host,
      keyArn: manifest.kmsKeyArn,
      agent: kmsAgent,
      credentials: () => credentials.get(),
      recipientKeys,
      attest: (publicKey) => this.#attest({ purpose: "cloister/kms-recipient/v1" }, null, publicKey),
      nowMs,
    });
    const closeAll = () => {
      for (const part of [credentials, store, kms]) part.close();
      for (const agent of [kmsAgent, webAgent]) agent.destroy();
    };
    try {
      const vault = await openVault({ store, kms, manifest, randomness, nowMs });
      this.#log.info(vault.isNew ? "vault-made" : "vault-opened");
      const services = makeServices({
        ...{ manifest, vault, kms, randomness, egress, bootedAtMs, nowMs, log: this.#log },
        fetchJson: (url) => getJson(url, webAgent, JWKS_LIMITS),
        attestImport: (...target) => this.#attestImport(...target),
        ...{ signal: this.#stopping.signal, ...mainParts(signingWorkers.count) },
      });
      const boot = encodeHex(await keyIdOf(this.#rawKeys()));
      const answerKey = this.#answerKeys.privateKey;
      const handler = new RequestHandler({
        ...{ answerKey, boot },
        stamps: new StampVerifier(),
        sealedRequests: await SealedRequests.create(this.#rawKeys(), this.#sealingKeys, randomness),
        services,
        log: this.#log,
      });
      const workers = new SigningWorkers({
        ...{ ...signingWorkers, handler, manifest, answerKey, boot, vault, watch: services.rotation },
        ...{ randomness, bootedAtMs, nowMs, log: this.#log, writeLine: (line: string) => this.#logStream.write(line) },
      });
      this.#clock.onMoved(() => workers.setClocks());
      const admission = this.#admissionTo(workers);
      this.#closeParts.push(() => admission.close());
      this.#closeParts.push(() => workers.close());
      this.#closeParts.push(closeAll, forgetExpired(services), () => services.wallets.close());
      this.#vaultId = vault.ids.vaultId();
      return { admission, workers };
    } catch (error) {
      closeAll();
      throw error;
    }
  }

  #admissionTo(handler: SigningWorkers): Admission {
    const { deployment, administrators } = this.#manifest;
    return new Admission({
      ...{ handler, deployment, administrators: administrators.publicKeys, log: this.#log },
      answerKey: this.#answerKeys.privateKey,
      monotonicMs: this.#options.monotonicMs,
    });
  }

  #enter(phase: Phase): void {
    this.#phase = phase;
    this.#options.onPhase?.(phase);
    if (phase.name === "failed") this.#log.error("phase", { phase: phase.name, code: phase.failure.code });
    else this.#log.info("phase", { phase: phase.name });
  }

  async #handle(call: EnclaveCall): Promise<Omit<EnclaveAnswer, "id">> {
    switch (call.kind) {
      case "operation":
        return this.#phase.name === "ready" ? await this.#phase.admission.handle(call) : this.#answerNotReady(call);
      case "sealed":
        return this.#phase.name === "ready"
          ? await this.#phase.admission.handleSealed(call.body)
          : this.#answerNotReady({ body: call.body, stamps: [] });
      case "attestation":
        return await this.#answerAttestation(call.nonce);
      case "status":
        return { status: 200, body: Buffer.from(JSON.stringify(this.#status())), signature: null };
    }
  }

  /** Signed like any answer, but without the request's id: the request was not read. */
  #answerNotReady(request: ReceivedRequest): SignedAnswer {
    const error = { code: "NOT_READY", message: "the enclave has not opened its vault" } as const;
    return signAnswer(this.#answerKeys.privateKey, request, ERROR_CODES.NOT_READY.status, { requestId: null, error });
  }

  async #answerAttestation(nonce: Uint8Array): Promise<Omit<EnclaveAnswer, "id">> {
    if (nonce.length < MIN_ATTESTATION_NONCE_BYTES || nonce.length > MAX_ATTESTATION_NONCE_BYTES) {
      const limits = `${MIN_ATTESTATION_NONCE_BYTES} to ${MAX_ATTESTATION_NONCE_BYTES}`;
      return refusal("INVALID_PARAMS", `a nonce of ${nonce.length} bytes, expected ${limits}`);
    }
    // The NSM answers one by one: a crowd that asks it would keep the enclave's own questions waiting.
    if (this.#attesting >= MAX_ATTESTING) return refusal("BUSY", "too many callers ask for attestation");
    this.#attesting += 1;
    try {
      const document = await this.#attest({ purpose: "cloister/callers/v1" }, nonce, this.#attestedKeys());
      return { status: 200, body: document, signature: null };
    } catch {
      return refusal("INTERNAL", "the NSM gave no document");
    } finally {
      this.#attesting -= 1;
    }
  }

  #attest(said: Said, nonce: Uint8Array | null, publicKey: Uint8Array): Promise<Uint8Array> {
    const boot = { v: 1, manifest: this.#manifest.digest, vault: this.#vaultId } as const;
    return this.#nsm.attest({ userData: encodeAttestedUserData({ ...boot, ...said }), nonce, publicKey });
  }

  /** For the target of an import, which a caller has asked for: bounded as callers' own documents are. */
  async #attestImport(target: AttestedImport, nonce: Uint8Array, publicKey: Uint8Array): Promise<Uint8Array> {
    if (this.#attesting >= MAX_ATTESTING) throw new RequestError("BUSY", "too many callers ask for attestation");
    this.#attesting += 1;
    try {
      return await this.#attest({ purpose: "cloister/import/v1", import: target }, nonce, publicKey);
    } finally {
      this.#attesting -= 1;
    }
  }

  #attestedKeys(): Uint8Array {
    return encodeAttestedKeys(this.#rawKeys());
  }

  #rawKeys(): AttestedKeys {
    return {
      answerKey: rawPublicKey(this.#answerKeys.publicKey),
      sealingKey: rawPublicKey(this.#sealingKeys.publicKey),
    };
  }

  #status(): EnclaveStatus {
    const { name } = this.#phase;
    if (this.#phase.name === "failed") return { phase: "failed", failure: this.#phase.failure, secp256k1Binding };
    if (this.#phase.name === "attested")
      return { phase: "attested", failure: this.#phase.waitingFor, secp256k1Binding };
    if (this.#phase.name !== "ready") return { phase: name, failure: null, secp256k1Binding };
    const { admission, workers } = this.#phase;
    return { phase: name, failure: null, secp256k1Binding, load: admission.load, signingWorkers: workers.serving };
  }

  #keepClock(): void {
    const timer = setInterval(() => {
      this.#attest({ purpose: "cloister/callers/v1" }, null, this.#attestedKeys()).catch(() => {
        this.#log.error("clock-check-failed");
      });
    }, CLOCK_CHECK_MS);
    timer.unref();
    this.#closeParts.push(() => clearInterval(timer));
  }
}

/** A target that nobody comes back to goes by itself, and so does a wallet that was opened to sign. @returns What ends that. */
function forgetExpired({ imports, wallets }: Services): () => void {
  const timer = setInterval(() => {
    imports.forgetExpired();
    wallets.forgetIdle();
  }, FORGET_EXPIRED_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/** Where a document was asked for: it would have carried its own proof, and its refusal needs none. */
function refusal(code: "INVALID_PARAMS" | "BUSY" | "INTERNAL", message: string): Omit<EnclaveAnswer, "id"> {
  const body = Buffer.from(JSON.stringify({ requestId: null, error: { code, message } }));
  return { status: ERROR_CODES[code].status, body, signature: null };
}

/** The last 32 bytes of SubjectPublicKeyInfo (RFC 8410) are the key. */
function rawPublicKey(key: KeyObject): Uint8Array {
  return key.export({ type: "spki", format: "der" }).subarray(-32);
}
