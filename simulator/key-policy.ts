/** The key policy of the simulated account: the attested image may use the key, and nobody else may. */
import { generateKeyPolicy, type KeyPolicyDocument } from "../kms-policy/index.ts";
import { encodeHex } from "../protocol/index.ts";

/**
 * @param pcr0 - Zeros: the image is not known yet, and nobody may use the key.
 * @param roleArn - Of the account that the key is in.
 */
export function keyPolicyFor(pcr0: Uint8Array, roleArn: string): KeyPolicyDocument {
  const account = roleArn.split(":").slice(0, 5).join(":");
  return generateKeyPolicy({
    accountId: roleArn.split(":")[4] ?? "",
    pcrSets: pcr0.every((byte) => byte === 0) ? [] : [new Map([[0, encodeHex(pcr0)]])],
    roleArn,
    administratorArns: [],
    breakGlassRoleArn: `${account}:role/break-glass`,
  });
}
