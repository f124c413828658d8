/** One Nitro Secure Module: the bytes of /dev/nsm in, the bytes of /dev/nsm out (nitro.md 2.3 and 2.4). */
import { randomBytes } from "node:crypto";
import { encodeDocumentPayload, signCoseSign1 } from "./document.ts";
import { NsmSimulatorError } from "./errors.ts";
import { decodeNsmRequest, encodeNsmResponse, type NsmRequest, type NsmResponse } from "./messages.ts";
import { PcrBank } from "./pcr-bank.ts";
import type { NsmPki } from "./pki.ts";

/** nitro.md 2.1: the driver's limits. */
export const MAX_REQUEST_BYTES = 0x1000;
export const MAX_RESPONSE_BYTES = 0x3000;
/** The CDDL's limit for all three fields; AWS's text also says 512 for two of them, and its own test sends 1024. */
const MAX_FIELD_BYTES = 1024;
/** What GetRandom was seen to give. */
const RANDOM_BYTES = 256;

export interface SimulatedNsm {
  /** Answers one request. Never rejects: what is wrong with a request, the response says. */
  handle(request: Uint8Array): Promise<Uint8Array>;
  /** The registers now, as DescribePCR would give them one by one. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
}

/**
 * @param options.pcrs - What the image measured to, 48 bytes each; those not named are zeros.
 * @param options.moduleId - `i-<8 to 17 hex>-enc<1 to 17 hex>`.
 * @param options.random - Fresh bytes; the system's unless given.
 * @param options.maxResponseBytes - What the caller's buffer holds.
 * @throws {@link NsmSimulatorError} `INVALID_PCR`, `INVALID_MODULE_ID`
 */
export function createSimulatedNsm(options: {
  readonly pki: NsmPki;
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
  readonly moduleId: string;
  readonly nowMs: () => number;
  readonly random?: (length: number) => Uint8Array;
  readonly maxResponseBytes?: number;
}): SimulatedNsm {
  const { pki, moduleId, nowMs, random = randomBytes, maxResponseBytes = MAX_RESPONSE_BYTES } = options;
  if (!/^i-[0-9a-f]{8,17}-enc[0-9a-f]{1,17}$/.test(moduleId)) {
    throw new NsmSimulatorError("INVALID_MODULE_ID", "expected i-<8 to 17 hex>-enc<1 to 17 hex>");
  }
  const bank = new PcrBank(options.pcrs);

  function answer(request: NsmRequest): NsmResponse {
    switch (request.kind) {
      case "DescribePCR": {
        const register = bank.describe(request.index);
        if (typeof register === "string") return { kind: "Error", code: register };
        return { kind: "DescribePCR", lock: register.locked, data: register.value };
      }
      case "ExtendPCR": {
        const data = bank.extend(request.index, request.data);
        return typeof data === "string" ? { kind: "Error", code: data } : { kind: "ExtendPCR", data };
      }
      case "LockPCR": {
        const code = bank.lock(request.index);
        return code === null ? { kind: "LockPCR" } : { kind: "Error", code };
      }
      case "LockPCRs": {
        const code = bank.lockBelow(request.range);
        return code === null ? { kind: "LockPCRs" } : { kind: "Error", code };
      }
      case "DescribeNSM":
        return { kind: "DescribeNSM", moduleId, lockedPcrs: [...bank.locked().keys()] };
      case "GetRandom":
        return { kind: "GetRandom", random: random(RANDOM_BYTES) };
      case "Attestation":
        return attest(request);
    }
  }

  function attest({ userData, nonce, publicKey }: NsmRequest & { readonly kind: "Attestation" }): NsmResponse {
    if ([userData, nonce, publicKey].some((field) => field !== null && field.length > MAX_FIELD_BYTES)) {
      return { kind: "Error", code: "InputTooLarge" };
    }
    const { leafKey, ...certificates } = pki.leafFor(moduleId);
    const timestampMs = nowMs();
    const fields = { moduleId, timestampMs, pcrs: bank.locked(), ...certificates, publicKey, userData, nonce };
    return { kind: "Attestation", document: signCoseSign1(encodeDocumentPayload(fields), leafKey) };
  }

  return {
    async handle(bytes) {
      if (bytes.length > MAX_REQUEST_BYTES) return encodeNsmResponse({ kind: "Error", code: "InputTooLarge" });
      const request = decodeNsmRequest(bytes);
      if (request === null) return encodeNsmResponse({ kind: "Error", code: "InvalidOperation" });
      const response = encodeNsmResponse(answer(request));
      if (response.length <= maxResponseBytes) return response;
      return encodeNsmResponse({ kind: "Error", code: "BufferTooSmall" });
    },
    get pcrs() {
      return bank.all();
    },
  };
}
