/** The key policy of the simulated account: the attested image may use the key, and nobody else may. */
import { encodeHex } from "../protocol/index.ts";

/** nitro.md 4.4: in a Deny the negated operator, so that a request without any document is denied too. */
export function keyPolicyFor(pcr0: Uint8Array, roleArn: string): Record<string, unknown> {
  const image = { "kms:RecipientAttestation:ImageSha384": encodeHex(pcr0) };
  const attested = ["kms:Decrypt", "kms:GenerateDataKey"];
  return {
    Version: "2012-10-17",
    Statement: [
      {
        Sid: "TheAttestedImageMayUseTheKey",
        Effect: "Allow",
        Principal: { AWS: roleArn },
        Action: attested,
        Resource: "*",
        Condition: { StringEqualsIgnoreCase: image },
      },
      {
        Sid: "NothingElseMay",
        Effect: "Deny",
        Principal: { AWS: "*" },
        Action: attested,
        Resource: "*",
        Condition: { StringNotEqualsIgnoreCase: image },
      },
    ],
  };
}
