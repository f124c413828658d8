/** Which stamps a request has, and whether they are the ones that its operation asks for. */
import {
  ACCESS,
  type AppAccess,
  type AppOperation,
  decodeStamp,
  decodeWebauthnStamp,
  isWebauthnStamp,
  ProtocolError,
  type RequestEnvelope,
  RequestError,
  type Stamp,
  type WebauthnStamp,
} from "../../protocol/index.ts";
import type { ReceivedRequest } from "../answer.ts";
import type { StampedRequest } from "../operations/handler.ts";
import type { AppRequest } from "./authorise.ts";
import type { StampVerifier } from "./verify-stamp.ts";

export type ReceivedInApp = Pick<AppRequest, "envelope" | "appId" | "body" | "isSealed">;

export interface Stamps {
  /** Verified. */
  readonly keys: readonly Stamp[];
  /** Can only be verified once it is known whose it may be. */
  readonly passkey: WebauthnStamp | null;
}

/**
 * @param maxKeys - How many keys' stamps the request could need. Checked first: strangers choose how many they send.
 * @throws {@link RequestError} `STAMP_MISSING`, `STAMP_MALFORMED`, `STAMP_INVALID`, `STAMP_UNEXPECTED`
 */
export function readStamps({ body, stamps }: ReceivedRequest, maxKeys: number, verifier: StampVerifier): Stamps {
  if (stamps.length === 0) throw new RequestError("STAMP_MISSING", "no X-Stamp header");
  const keyHeaders = stamps.filter((header) => !isWebauthnStamp(header));
  if (keyHeaders.length > maxKeys) {
    throw new RequestError("STAMP_UNEXPECTED", `${keyHeaders.length} keys' stamps, where ${maxKeys} is the most`);
  }
  const keys = keyHeaders.map((header) => {
    const stamp = decodeHeader(header, decodeStamp);
    if (!verifier.verify(stamp, body)) {
      throw new RequestError("STAMP_INVALID", "the stamp's signature is not its key's over this body");
    }
    return stamp;
  });
  const [passkey = null, ...others] = stamps
    .filter(isWebauthnStamp)
    .map((header) => decodeHeader(header, decodeWebauthnStamp));
  if (others.length > 0) throw new RequestError("STAMP_UNEXPECTED", "more than one passkey's stamp");
  return { keys, passkey };
}

/** @throws {@link RequestError} `STAMP_UNEXPECTED` */
export function stampedByKeys(envelope: RequestEnvelope, { keys, passkey }: Stamps): StampedRequest {
  const [first, ...others] = keys;
  if (first === undefined || passkey !== null) {
    throw new RequestError("STAMP_UNEXPECTED", "administrators have keys, no passkeys");
  }
  return { envelope, stamps: [first, ...others] };
}

/** @throws {@link RequestError} `STAMP_UNEXPECTED` */
export function soleStamp({ keys, passkey }: Stamps): Stamp {
  const [stamp, ...others] = keys;
  if (stamp === undefined || passkey !== null || others.length > 0) {
    throw new RequestError("STAMP_UNEXPECTED", "one stamp: that of the key that asks");
  }
  return stamp;
}

/** @throws {@link RequestError} `STAMP_MISSING`, `STAMP_UNEXPECTED` */
export function bothStamps({ keys, passkey }: Stamps): { readonly stamp: Stamp; readonly passkey: WebauthnStamp } {
  const [stamp, ...others] = keys;
  if (stamp === undefined || passkey === null) {
    throw new RequestError("STAMP_MISSING", "two stamps: that of the session's key, and that of the passkey");
  }
  if (others.length > 0) throw new RequestError("STAMP_UNEXPECTED", "one key's stamp beside the passkey's");
  return { stamp, passkey };
}

/**
 * The request with the stamps that its operation asks for.
 *
 * @throws {@link RequestError} `STAMP_MISSING`, `STAMP_UNEXPECTED`
 */
export function appRequestOf(name: AppOperation, request: ReceivedInApp, stamps: Stamps): AppRequest {
  const { withNewPasskey }: AppAccess = ACCESS[name];
  if (withNewPasskey === true) {
    const { stamp, passkey } = bothStamps(stamps);
    return { ...request, asker: { kind: "key", stamp }, newPasskey: passkey };
  }
  const { keys, passkey } = stamps;
  if (passkey !== null && keys.length === 0) {
    return { ...request, asker: { kind: "passkey", stamp: passkey }, newPasskey: null };
  }
  return { ...request, asker: { kind: "key", stamp: soleStamp(stamps) }, newPasskey: null };
}

function decodeHeader<Decoded>(header: string, decode: (header: string) => Decoded): Decoded {
  try {
    return decode(header);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new RequestError("STAMP_MALFORMED", error.message, { cause: error });
  }
}
