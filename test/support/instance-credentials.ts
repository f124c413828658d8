/** The role's credentials as any process on the simulated instance can have them: IMDSv2, by hand. */
import type { Simulator } from "../../simulator/index.ts";

export async function instanceCredentials({ imds }: Simulator) {
  const ask = async (path: string, init: RequestInit) => {
    const response = await fetch(`${imds.endpoint}/latest/${path}`, init);
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    return response.text();
  };
  const token = await ask("api/token", { method: "PUT", headers: { "x-aws-ec2-metadata-token-ttl-seconds": "60" } });
  const headers = { "x-aws-ec2-metadata-token": token };
  const role = await ask("meta-data/iam/security-credentials/", { headers });
  const { AccessKeyId, SecretAccessKey, Token } = JSON.parse(
    await ask(`meta-data/iam/security-credentials/${role}`, { headers }),
  ) as Record<"AccessKeyId" | "SecretAccessKey" | "Token", string>;
  return { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: Token };
}
