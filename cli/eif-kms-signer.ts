/** Signs images with a key that stays in KMS: it sees the digest of what is signed, never the image. */
import { createHash, createPublicKey, type KeyObject } from "node:crypto";
import { GetPublicKeyCommand, KMSClient, KMSServiceException, SignCommand } from "@aws-sdk/client-kms";
import {
  algorithmOfCertificate,
  EifError,
  type EifSignatureAlgorithm,
  type EifSigner,
  firstCertificate,
} from "../eif/index.ts";
import { UsageError } from "./command-io.ts";

/** In any partition, as nitro-cli accepts them: the key's own ARN, never an alias, which could be moved to another key. */
const KEY_ARN = /^arn:aws(?:[-a-z]+)?:kms:([a-z0-9-]+):[0-9]{12}:key[:/]([A-Za-z0-9-]+)$/;

const ALGORITHMS: Readonly<
  Record<
    EifSignatureAlgorithm,
    { readonly hash: string; readonly kms: "ECDSA_SHA_256" | "ECDSA_SHA_384" | "ECDSA_SHA_512"; readonly bytes: number }
  >
> = {
  ES256: { hash: "sha256", kms: "ECDSA_SHA_256", bytes: 32 },
  ES384: { hash: "sha384", kms: "ECDSA_SHA_384", bytes: 48 },
  ES512: { hash: "sha512", kms: "ECDSA_SHA_512", bytes: 66 },
};

/**
 * @param client - For the ARN's region, with credentials and endpoint as the AWS CLI finds them, unless given.
 * @throws {@link UsageError} for what is no key ARN; {@link EifError} as `createKeyFileSigner`, and `KMS_REFUSED`.
 */
export async function createKmsSigner(
  certificatePem: string,
  keyArn: string,
  nowMs: number,
  client?: KMSClient,
): Promise<EifSigner> {
  const [, region = ""] = KEY_ARN.exec(keyArn) ?? [];
  if (region === "") throw new UsageError("--kms-key: expected arn:aws:kms:<region>:<account>:key/<id>");
  const algorithm = algorithmOfCertificate(certificatePem, nowMs);
  const { hash, kms, bytes } = ALGORITHMS[algorithm];
  const own = client ?? new KMSClient({ region });
  const { PublicKey } = await asked(() => own.send(new GetPublicKeyCommand({ KeyId: keyArn })));
  if (!firstCertificate(certificatePem).publicKey.equals(readPublicKey(PublicKey ?? new Uint8Array()))) {
    throw new EifError("CERTIFICATE_KEY_MISMATCH", "the key in KMS is not the certificate's");
  }
  return {
    algorithm,
    certificatePem,
    sign: async (toBeSigned) => {
      const Message = createHash(hash).update(toBeSigned).digest();
      const request = { KeyId: keyArn, Message, MessageType: "DIGEST", SigningAlgorithm: kms } as const;
      const { Signature } = await asked(() => own.send(new SignCommand(request)));
      return rawSignature(Signature ?? new Uint8Array(), bytes);
    },
  };
}

function readPublicKey(spki: Uint8Array): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  } catch (cause) {
    throw new EifError("KMS_REFUSED", "KMS: the public key cannot be read", { cause });
  }
}

async function asked<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (cause) {
    const name = cause instanceof KMSServiceException ? cause.name : "no answer";
    throw new EifError("KMS_REFUSED", `KMS: ${name}: ${(cause as Error).message}`, { cause });
  }
}

/** RFC 3279 section 2.2.3, SEQUENCE { r INTEGER, s INTEGER }, as r ‖ s. Whether it verifies is checked by who asked. */
function rawSignature(der: Uint8Array, bytesEach: number): Uint8Array {
  const raw = new Uint8Array(2 * bytesEach);
  // A P-521 signature takes the long form of the length.
  let at = der[1] === 0x81 ? 3 : 2;
  for (const half of [0, 1]) {
    const length = der[at + 1] ?? 0;
    const integer = der.subarray(at + 2, at + 2 + length);
    const magnitude = integer[0] === 0 ? integer.subarray(1) : integer;
    if (der[at] !== 0x02 || magnitude.length > bytesEach)
      throw new EifError("KMS_REFUSED", "KMS: not an ECDSA signature");
    raw.set(magnitude, (half + 1) * bytesEach - magnitude.length);
    at += 2 + length;
  }
  return raw;
}
