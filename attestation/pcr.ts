/** Platform configuration registers of an enclave, as SHA-384 (nitro.md 1.6; AWS, "Where to get an enclave's measurements"). */
import { concatBytes } from "./bytes.ts";
import { PCR_BYTES } from "./document.ts";
import { AttestationError } from "./errors.ts";

/** SHA-384(old ‖ data): what ExtendPCR does. Data is not hashed before. */
export async function extendPcr(old: Uint8Array, data: Uint8Array): Promise<Uint8Array> {
  if (old.length !== PCR_BYTES) {
    throw new AttestationError("INVALID_ARGUMENT", `a PCR of ${PCR_BYTES} bytes`, `${old.length}`);
  }
  return sha384(concatBytes([old, data]));
}

/**
 * PCR0, 1 and 2: one extension of a zero register by the SHA-384 of the parts, joined. PCR0 takes kernel, command line
 * and all ramdisks; PCR1 kernel, command line and the first ramdisk; PCR2 the other ramdisks.
 */
export async function pcrOfParts(parts: readonly Uint8Array[]): Promise<Uint8Array> {
  return extendPcr(new Uint8Array(PCR_BYTES), await sha384(concatBytes(parts)));
}

/**
 * PCR3: the role of the parent instance.
 *
 * @param roleArn - The role's own ARN, `arn:aws:iam::<account>:role/<path and name>`: neither the instance profile's
 * nor the assumed role's, which never match.
 * @throws {@link AttestationError} `INVALID_ARGUMENT`
 */
export async function pcr3OfRoleArn(roleArn: string): Promise<Uint8Array> {
  if (!/^arn:aws[a-z-]*:iam::[0-9]{12}:role\/[\x21-\x7e]+$/.test(roleArn)) {
    throw new AttestationError("INVALID_ARGUMENT", "a role ARN, arn:aws:iam::<account>:role/<name>", "another text");
  }
  return extendPcr(new Uint8Array(PCR_BYTES), new TextEncoder().encode(roleArn));
}

/**
 * PCR4: the parent instance.
 *
 * @param instanceId - `i-` and 8 or 17 hex digits.
 * @throws {@link AttestationError} `INVALID_ARGUMENT`
 */
export async function pcr4OfInstanceId(instanceId: string): Promise<Uint8Array> {
  if (!/^i-(?:[0-9a-f]{8}|[0-9a-f]{17})$/.test(instanceId)) {
    throw new AttestationError("INVALID_ARGUMENT", "an instance id, i-<8 or 17 hex digits>", "another text");
  }
  return extendPcr(new Uint8Array(PCR_BYTES), new TextEncoder().encode(instanceId));
}

/** PCR8: the certificate that the image was signed with. Unsigned images have zeros there. */
export async function pcr8OfCertificate(der: Uint8Array): Promise<Uint8Array> {
  return pcrOfParts([der]);
}

async function sha384(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest("SHA-384", bytes));
}
