/** EIP-7702: an account hands itself to the code of a contract, until it says otherwise. */
import { ethereumAddress } from "../ethereum-address.ts";
import { keccak256 } from "../keccak.ts";
import { type DigestSigner, type RecoverableSignature, recoverPublicKey } from "../secp256k1.ts";
import {
  encodeRlp,
  fixedBytes,
  integer,
  list,
  MAX_NONCE,
  MAX_UINT64,
  MAX_UINT256,
  malformed,
  minimal,
  type RlpItem,
  stripZeros,
} from "./rlp.ts";

/** Before the RLP: no transaction's type, so an authorization can never be taken for one. */
const MAGIC = 0x05;
/** Half of secp256k1's order: of the two signatures that everybody can make of one, chains take the one below it. */
const MAX_S = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;

export interface Authorization {
  /** 0 is good on every chain. */
  readonly chainId: bigint;
  /** 20 bytes; zeros take a delegation back. */
  readonly delegate: Uint8Array;
  readonly nonce: bigint;
}

export interface SignedAuthorization extends Authorization {
  readonly signature: RecoverableSignature;
}

/** As a transaction of type 4 holds it: signed already. */
export function readAuthorization(item: RlpItem): SignedAuthorization {
  const fields = list(item, "authorization");
  if (fields.length === 3) malformed("authorization: not signed; sign it first and put it in with its signature");
  if (fields.length !== 6) malformed(`authorization: ${fields.length} fields, expected 6`);
  const [chainId, delegate, nonce, yParity, r, s] = fields;
  return {
    chainId: integer(chainId, MAX_UINT64, "authorization's chain id"),
    delegate: fixedBytes(delegate, 20, "authorization's address"),
    nonce: integer(nonce, MAX_NONCE, "authorization's nonce"),
    signature: {
      recoveryId: Number(integer(yParity, 1n, "authorization's y parity")),
      rs: Buffer.concat([
        word(integer(r, MAX_UINT256, "authorization's r")),
        word(integer(s, MAX_S, "authorization's s")),
      ]),
    },
  };
}

export function writeAuthorization({
  signature: { rs, recoveryId },
  ...authorization
}: SignedAuthorization): RlpItem[] {
  const signature = [minimal(BigInt(recoveryId)), stripZeros(rs.subarray(0, 32)), stripZeros(rs.subarray(32))];
  return [...fieldsOf(authorization), ...signature];
}

export function encodeAuthorization(authorization: SignedAuthorization): Uint8Array {
  return encodeRlp(writeAuthorization(authorization));
}

export function signAuthorization(authorization: Authorization, signer: DigestSigner): SignedAuthorization {
  return { ...authorization, signature: signer.signDigest(digestOf(authorization)) };
}

/** Whose it is, EIP-55; null if it bears nobody's signature: chains pass over such a one. */
export function authorityOf({ signature, ...authorization }: SignedAuthorization): string | null {
  const publicKey = recoverPublicKey(digestOf(authorization), signature.rs, signature.recoveryId);
  return publicKey === undefined ? null : ethereumAddress(publicKey);
}

function digestOf(authorization: Authorization): Uint8Array {
  return keccak256(Buffer.concat([Uint8Array.of(MAGIC), encodeRlp(fieldsOf(authorization))]));
}

function fieldsOf({ chainId, delegate, nonce }: Authorization): RlpItem[] {
  return [minimal(chainId), delegate, minimal(nonce)];
}

function word(value: bigint): Uint8Array {
  return Buffer.from(value.toString(16).padStart(64, "0"), "hex");
}
