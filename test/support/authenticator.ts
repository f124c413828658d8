/** An authenticator and its browser, that also do what none should: every part of what they say can be changed. */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { encode } from "cborg";
import {
  encodeBase64url,
  encodeWebauthnStamp,
  passkeyRegistrationInput,
  type WebauthnStamp,
} from "../../protocol/index.ts";

export type Algorithm = "ES256" | "EdDSA" | "RS256";

export const RP_ID = "wallet.example";
export const ORIGIN = "https://app.wallet.example";
export const PASSKEYS = { rpId: RP_ID, origins: [ORIGIN], topOrigins: [] as string[], operations: null };

export const FLAG = { UP: 0x01, UV: 0x04, BE: 0x08, BS: 0x10, AT: 0x40, ED: 0x80 } as const;

const COSE_ALGORITHM = { ES256: -7, EdDSA: -8, RS256: -257 } as const;

/** What a ceremony says; each member has what an honest one says unless told otherwise. */
export interface Said {
  readonly rpId?: string;
  readonly flags?: number;
  readonly signCount?: number;
  readonly clientData?: Readonly<Record<string, unknown>>;
  /** In the client data's place, as it stands. */
  readonly clientDataText?: string;
  /** After the authenticator data's own fields. */
  readonly tail?: Uint8Array;
}

export interface SaidAtRegistration extends Said {
  readonly cose?: ReadonlyMap<number, unknown>;
  readonly credentialId?: Uint8Array;
  readonly format?: string;
  readonly statement?: Readonly<Record<string, unknown>> | "self";
}

export class Authenticator {
  readonly credentialId: Uint8Array<ArrayBuffer> = Uint8Array.from(randomBytes(32));
  readonly algorithm: Algorithm;
  readonly publicKey: KeyObject;
  readonly #privateKey: KeyObject;
  /** Null for one that does not count. */
  signCount: number | null;

  constructor(algorithm: Algorithm = "ES256", options: { readonly counts?: boolean } = {}) {
    const { publicKey, privateKey } = keyPair(algorithm);
    this.algorithm = algorithm;
    this.publicKey = publicKey;
    this.#privateKey = privateKey;
    this.signCount = options.counts === true ? 0 : null;
  }

  /** What `navigator.credentials.create` gives. */
  create(challenge: Uint8Array, said: SaidAtRegistration = {}) {
    const clientDataJson = clientData("webauthn.create", encodeBase64url(challenge), said);
    const credentialId = said.credentialId ?? this.credentialId;
    const length = Buffer.from([credentialId.length >> 8, credentialId.length & 255]);
    const cose = encode(said.cose ?? this.coseKey());
    const credential = Buffer.concat([Buffer.alloc(16), length, credentialId, cose]);
    const authData = this.#authenticatorData({ flags: FLAG.UP | FLAG.UV | FLAG.AT, ...said }, credential);
    const self = { alg: COSE_ALGORITHM[this.algorithm], sig: this.#sign(authData, clientDataJson) };
    const attStmt = said.statement === "self" ? self : (said.statement ?? {});
    const attestationObject = encode({ fmt: said.format ?? "none", attStmt, authData: Uint8Array.from(authData) });
    return { attestationObject, clientDataJson };
  }

  /** {@link create} for `register_passkey`: the params of that request. */
  register(request: { audience: string; userId: string; requestId: string }, said: SaidAtRegistration = {}) {
    const challenge = sha256(passkeyRegistrationInput(request));
    const { attestationObject, clientDataJson } = this.create(challenge, said);
    return {
      attestationObject: encodeBase64url(attestationObject),
      clientDataJson: encodeBase64url(clientDataJson),
    };
  }

  /** What `navigator.credentials.get` gives for a body. */
  assert(body: Uint8Array, said: Said = {}): WebauthnStamp {
    const clientDataJson = clientData("webauthn.get", encodeBase64url(sha256(body)), said);
    if (this.signCount !== null) this.signCount += 1;
    const flags = FLAG.UP | FLAG.UV;
    const authenticatorData = this.#authenticatorData({ flags, signCount: this.signCount ?? 0, ...said });
    const signature = this.#sign(authenticatorData, clientDataJson);
    return {
      credentialId: this.credentialId,
      authenticatorData: Uint8Array.from(authenticatorData),
      clientDataJson,
      signature: Uint8Array.from(signature),
    };
  }

  /** {@link assert} as a header. */
  stamp(body: Uint8Array, said: Said = {}): string {
    return encodeWebauthnStamp(this.assert(body, said));
  }

  coseKey(): Map<number, unknown> {
    const jwk = this.publicKey.export({ format: "jwk" });
    const bytes = (text: string | undefined) => Uint8Array.from(Buffer.from(text ?? "", "base64url"));
    const alg = COSE_ALGORITHM[this.algorithm];
    const parameters: Readonly<Record<Algorithm, readonly (readonly [number, unknown])[]>> = {
      ES256: [
        [1, 2],
        [3, alg],
        [-1, 1],
        [-2, bytes(jwk.x)],
        [-3, bytes(jwk.y)],
      ],
      EdDSA: [
        [1, 1],
        [3, alg],
        [-1, 6],
        [-2, bytes(jwk.x)],
      ],
      RS256: [
        [1, 3],
        [3, alg],
        [-1, bytes(jwk.n)],
        [-2, bytes(jwk.e)],
      ],
    };
    return new Map(parameters[this.algorithm]);
  }

  #authenticatorData(said: Said, credential: Uint8Array = new Uint8Array(0)): Buffer {
    const head = Buffer.alloc(37);
    sha256(Buffer.from(said.rpId ?? RP_ID)).copy(head);
    head.writeUInt8(said.flags ?? 0, 32);
    head.writeUInt32BE(said.signCount ?? 0, 33);
    return Buffer.concat([head, credential, said.tail ?? new Uint8Array(0)]);
  }

  #sign(authenticatorData: Uint8Array, clientDataJson: Uint8Array): Uint8Array {
    const signed = Buffer.concat([authenticatorData, sha256(clientDataJson)]);
    return Uint8Array.from(sign(this.algorithm === "EdDSA" ? null : "sha256", signed, this.#privateKey));
  }
}

function clientData(type: string, challenge: string, said: Said): Uint8Array<ArrayBuffer> {
  const members = { type, challenge, origin: ORIGIN, crossOrigin: false, ...said.clientData };
  return new TextEncoder().encode(said.clientDataText ?? JSON.stringify(members));
}

function keyPair(algorithm: Algorithm) {
  switch (algorithm) {
    case "ES256":
      return generateKeyPairSync("ec", { namedCurve: "P-256" });
    case "EdDSA":
      return generateKeyPairSync("ed25519");
    case "RS256":
      return generateKeyPairSync("rsa", { modulusLength: 2048 });
  }
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}
