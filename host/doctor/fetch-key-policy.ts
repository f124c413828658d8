/** kms:GetKeyPolicy by AWS's SDK, with the credentials that it finds by itself. */

/** The package is loaded at the call: most doctors may not read the policy at all. */
export async function fetchKeyPolicy(keyArn: string): Promise<string> {
  const { KMSClient, GetKeyPolicyCommand } = await import("@aws-sdk/client-kms");
  const kms = new KMSClient({ region: keyArn.split(":")[3] ?? "", maxAttempts: 1 });
  try {
    const { Policy } = await kms.send(new GetKeyPolicyCommand({ KeyId: keyArn, PolicyName: "default" }));
    if (Policy === undefined) throw new Error("KMS sent no policy");
    return Policy;
  } finally {
    kms.destroy();
  }
}
