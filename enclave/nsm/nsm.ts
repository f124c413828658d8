/** The Nitro Secure Module as the enclave uses it: CBOR here, bytes to the device (nitro.md 2.3). */
import { decode, encode } from "cborg";
import { decodeUnverified } from "../../attestation/index.ts";
import { StartError } from "../errors.ts";
import type { TrustedClock } from "../trusted-clock.ts";

/** `/dev/nsm`, or the simulator's: request bytes in, response bytes out. */
export interface NsmDevice {
  process(request: Uint8Array): Promise<Uint8Array>;
}

/** nitro.md 2.1: larger requests are refused by the driver. */
const MAX_REQUEST_BYTES = 0x1000;
/** nitro.md 2.1: what a response is read into. */
const MAX_RESPONSE_BYTES = 0x3000;

export class Nsm {
  readonly #device: NsmDevice;
  readonly #clock: TrustedClock;

  constructor(device: NsmDevice, clock: TrustedClock) {
    this.#device = device;
    this.#clock = clock;
  }

  /**
   * Asks for a fresh document, and sets the trusted clock by its timestamp. Each field is at most 1024 bytes.
   *
   * @returns A COSE_Sign1.
   * @throws {@link StartError} `NSM_FAILED`
   */
  async attest(fields: {
    readonly userData: Uint8Array | null;
    readonly nonce: Uint8Array | null;
    readonly publicKey: Uint8Array | null;
  }): Promise<Uint8Array> {
    const { document } = await this.#clock.setBy(async () => {
      const answer = await this.#call("Attestation", {
        user_data: fields.userData,
        nonce: fields.nonce,
        public_key: fields.publicKey,
      });
      const document = answer.get("document");
      if (!(document instanceof Uint8Array)) throw new StartError("NSM_FAILED", "Attestation: no document");
      return { document, timestampMs: timestampOf(document) };
    });
    return document;
  }

  /**
   * Random bytes from the hypervisor, 1 to 256 of them.
   *
   * @throws {@link StartError} `NSM_FAILED`
   */
  async random(): Promise<Uint8Array> {
    const random = (await this.#call("GetRandom", null)).get("random");
    if (!(random instanceof Uint8Array)) throw new StartError("NSM_FAILED", "GetRandom: no bytes");
    return random;
  }

  /** A variant without fields travels as bare text, one with fields as a map of one entry; answers alike. */
  async #call(variant: string, fields: Record<string, unknown> | null): Promise<Map<unknown, unknown>> {
    const request = encode(fields === null ? variant : { [variant]: fields }, { mapSorter: () => 0 });
    if (request.length > MAX_REQUEST_BYTES) {
      throw new StartError("NSM_FAILED", `${variant}: request of ${request.length} bytes, limit ${MAX_REQUEST_BYTES}`);
    }
    let response: unknown;
    try {
      const bytes = await this.#device.process(request);
      if (bytes.length > MAX_RESPONSE_BYTES) throw new Error(`a response of ${bytes.length} bytes`);
      response = decode(bytes, { useMaps: true, rejectDuplicateMapKeys: true });
    } catch (cause) {
      throw new StartError("NSM_FAILED", `${variant}: no usable answer from the NSM`, { cause });
    }
    if (response instanceof Map) {
      const answer: unknown = response.get(variant);
      if (answer instanceof Map) return answer;
      const error: unknown = response.get("Error");
      if (typeof error === "string") throw new StartError("NSM_FAILED", `${variant}: the NSM answers ${error}`);
    }
    throw new StartError("NSM_FAILED", `${variant}: an answer of another shape`);
  }
}

/** The device is the hypervisor's own: its answer needs no verification here, only a shape. */
function timestampOf(document: Uint8Array): number {
  try {
    return decodeUnverified(document).timestampMs;
  } catch (cause) {
    throw new StartError("NSM_FAILED", "Attestation: not an attestation document", { cause });
  }
}
