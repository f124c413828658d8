/** The parent's calls to the enclave, and what their failures mean to an HTTP caller. */
import {
  type EnclaveAnswer,
  type EnclaveCall,
  type EnclaveStatus,
  enclaveAnswer,
  enclaveStatus,
  parseStrictJson,
  REQUEST_PORT,
} from "../protocol/index.ts";
import { CallClient, type Vsock, VsockError, type WithoutId } from "../vsock/index.ts";
import { ParentError } from "./errors.ts";
import type { ParentLimits } from "./limits.ts";

const CONNECT_TIMEOUT_MS = 5_000;

/** What `/readyz` tells. All but `unreachable` and `draining` is the enclave's own word, unsigned. */
export interface Readiness {
  readonly enclave: EnclaveStatus["phase"] | "unreachable" | "draining";
  /** Why it is not ready, where that is known. */
  readonly reason: EnclaveStatus["failure"];
  /** Which binding of libsecp256k1 the enclave runs, where it says so. */
  readonly secp256k1?: string;
  /** Requests in the enclave. */
  readonly load?: { readonly waiting: number; readonly running: number };
  /** How many of them serve now; left out where the main thread does all. */
  readonly signingWorkers?: number;
}

export class EnclaveConnection {
  readonly #calls: CallClient<EnclaveCall, EnclaveAnswer>;
  readonly #limits: ParentLimits;
  #inFlight = 0;
  #readiness: Promise<Readiness> | undefined;
  #boot: Uint8Array | null = null;

  constructor(vsock: Vsock, limits: ParentLimits) {
    this.#limits = limits;
    this.#calls = new CallClient({
      open: () => vsock.connect(REQUEST_PORT, { timeoutMs: CONNECT_TIMEOUT_MS }),
      answer: enclaveAnswer,
    });
  }

  /**
   * Relays one operation or attestation.
   *
   * @throws {@link ParentError} `PARENT_BUSY`, `PARENT_TIMEOUT`, `PARENT_ENCLAVE_UNREACHABLE`. After the last two it is
   *   unknown whether the enclave acted: a repeated request is safe because its request id is the same.
   */
  async relay(call: Exclude<WithoutId<EnclaveCall>, { readonly kind: "status" }>): Promise<EnclaveAnswer> {
    if (this.#inFlight >= this.#limits.maxInFlight) {
      throw new ParentError("PARENT_BUSY", `${this.#limits.maxInFlight} requests wait for the enclave already`);
    }
    this.#inFlight += 1;
    try {
      return await this.#calls.call(call, { timeoutMs: this.#limits.requestTimeoutMs });
    } catch (error) {
      throw asParentError(error);
    } finally {
      this.#inFlight -= 1;
    }
  }

  /** Asks the enclave for its phase. Callers at the same time share one call, so that probes cannot crowd it. */
  readiness(): Promise<Readiness> {
    this.#readiness ??= this.#askStatus().finally(() => {
      this.#readiness = undefined;
    });
    return this.#readiness;
  }

  /** Which boot answered when it was last asked for its readiness: its key id. Null while nobody answers. */
  get boot(): Uint8Array | null {
    return this.#boot;
  }

  close(): void {
    this.#calls.close();
  }

  async #askStatus(): Promise<Readiness> {
    try {
      const answer = await this.#calls.call({ kind: "status" }, { timeoutMs: this.#limits.statusTimeoutMs });
      this.#boot = answer.boot ?? null;
      const status = enclaveStatus.parse(parseStrictJson(answer.body));
      const { phase, failure, secp256k1Binding, load, signingWorkers } = status;
      return {
        ...{ enclave: phase, reason: failure, ...(secp256k1Binding && { secp256k1: secp256k1Binding }) },
        ...(signingWorkers !== undefined && signingWorkers > 0 && { signingWorkers }),
        ...(load && { load }),
      };
    } catch (error) {
      this.#boot = null;
      if (!(error instanceof VsockError)) {
        return {
          enclave: "unreachable",
          reason: { code: "MALFORMED_STATUS", message: "the enclave's status makes no sense" },
        };
      }
      return { enclave: "unreachable", reason: { code: error.code, message: error.message } };
    }
  }
}

function asParentError(error: unknown): ParentError {
  if (!(error instanceof VsockError)) {
    return new ParentError("PARENT_INTERNAL", "the parent failed; its log says why", { cause: error });
  }
  switch (error.code) {
    case "CALL_TIMEOUT":
      return new ParentError("PARENT_TIMEOUT", "the enclave did not answer in time", { cause: error });
    case "TOO_MANY_CALLS":
      return new ParentError("PARENT_BUSY", "too many requests wait for the enclave", { cause: error });
    case "CONNECT_REFUSED":
    case "CONNECT_TIMEOUT":
    case "HANDSHAKE_FAILED":
    case "CONNECTION_LOST":
      return new ParentError("PARENT_ENCLAVE_UNREACHABLE", "the enclave cannot be reached", { cause: error });
    case "PATH_TOO_LONG":
    case "PORT_IN_USE":
      return new ParentError("PARENT_INTERNAL", "the parent failed; its log says why", { cause: error });
  }
}
