/** What an authenticator says and signs (WebAuthn 6.1). */
import { type CborMap, takeCborMap } from "./ctap-cbor.ts";
import { refuse } from "./rules.ts";

export interface AuthenticatorData {
  /** SHA-256 of the relying party's id. */
  readonly rpIdHash: Uint8Array;
  readonly isUserPresent: boolean;
  readonly isUserVerified: boolean;
  /** The credential may be copied to other devices (BE), and has been (BS). */
  readonly isBackupEligible: boolean;
  readonly isBackedUp: boolean;
  /** 0 always, from an authenticator that does not count. */
  readonly signCount: number;
  /** Of a registration; null in an assertion. */
  readonly credential: AttestedCredential | null;
}

export interface AttestedCredential {
  readonly aaguid: Uint8Array;
  readonly credentialId: Uint8Array;
  readonly cosePublicKey: CborMap;
}

const HEAD_BYTES = 37;
const FLAG = { UP: 0x01, UV: 0x04, BE: 0x08, BS: 0x10, AT: 0x40, ED: 0x80 } as const;
const RESERVED_FLAGS = 0x02 | 0x20;
const AAGUID_BYTES = 16;
/** WebAuthn 4, "Credential ID"; at the least 16 bytes, so that none can be guessed or meets another's. */
const MAX_CREDENTIAL_ID_BYTES = 1023;
const MIN_CREDENTIAL_ID_BYTES = 16;

/** @throws {@link RequestError} `PASSKEY_MALFORMED` */
export function parseAuthenticatorData(bytes: Uint8Array): AuthenticatorData {
  if (bytes.length < HEAD_BYTES) throw malformed(`${bytes.length} bytes, at least ${HEAD_BYTES}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const flags = view.getUint8(32);
  const has = (flag: number) => (flags & flag) !== 0;
  if (has(RESERVED_FLAGS)) throw malformed("a reserved flag is set");
  // 6.1: a credential that cannot be backed up is not.
  if (has(FLAG.BS) && !has(FLAG.BE)) throw malformed("backed up, and not eligible for it");

  let rest = bytes.subarray(HEAD_BYTES);
  let credential: AttestedCredential | null = null;
  if (has(FLAG.AT)) [credential, rest] = takeCredential(rest);
  // Extensions that nobody asked for change nothing; they must end where the data ends.
  if (has(FLAG.ED)) rest = takeCborMap(rest, "authenticator data, extensions")[1];
  if (rest.length > 0) throw malformed(`${rest.length} bytes after its end`);
  return {
    rpIdHash: bytes.subarray(0, 32),
    isUserPresent: has(FLAG.UP),
    isUserVerified: has(FLAG.UV),
    isBackupEligible: has(FLAG.BE),
    isBackedUp: has(FLAG.BS),
    signCount: view.getUint32(33),
    credential,
  };
}

/** aaguid ‖ u16 length ‖ credential id ‖ COSE_Key (6.5.1). */
function takeCredential(bytes: Uint8Array): [AttestedCredential, Uint8Array] {
  const headBytes = AAGUID_BYTES + 2;
  if (bytes.length < headBytes) throw malformed("the credential is cut off");
  const length = ((bytes[AAGUID_BYTES] ?? 0) << 8) | (bytes[AAGUID_BYTES + 1] ?? 0);
  if (length < MIN_CREDENTIAL_ID_BYTES || length > MAX_CREDENTIAL_ID_BYTES) {
    throw malformed(
      `a credential id of ${length} bytes, expected ${MIN_CREDENTIAL_ID_BYTES} to ${MAX_CREDENTIAL_ID_BYTES}`,
    );
  }
  const credentialId = bytes.subarray(headBytes, headBytes + length);
  if (credentialId.length < length) throw malformed("the credential id is cut off");
  const [cosePublicKey, rest] = takeCborMap(bytes.subarray(headBytes + length), "authenticator data, key");
  return [{ aaguid: bytes.subarray(0, AAGUID_BYTES), credentialId, cosePublicKey }, rest];
}

function malformed(why: string): Error {
  return refuse("PASSKEY_MALFORMED", `authenticator data: ${why}`);
}
