/** The role of the simulated instance: what its metadata service hands out opens the simulated KMS. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { KmsPrincipal } from "../kms/index.ts";
import { type ImdsTrouble, type SimulatedImds, startSimulatedImds } from "./imds.ts";
import type { IssuedKeys } from "./rotating-credentials.ts";

/**
 * @param options.principals - Each set that is issued is added, and stays: KMS tells expired from unknown.
 */
export function startInstanceRole(options: {
  readonly roleName: string;
  readonly sessionArn: string;
  readonly principals: KmsPrincipal[];
  readonly nowMs: () => number;
  readonly trouble: ImdsTrouble;
}): Promise<SimulatedImds> {
  const { roleName, sessionArn, principals, nowMs, trouble } = options;
  return startSimulatedImds({
    roleName,
    nowMs,
    trouble,
    issue: ({ expiresAtMs }) => {
      const keys = temporaryKeys();
      principals.push({ ...keys, arn: sessionArn, expiresAtMs });
      return keys;
    },
  });
}

/**
 * The environment of a process on the simulated instance, for AWS's SDKs: this metadata service, and no other source of
 * credentials that the machine may have, which would be somebody's real ones.
 *
 * @param folder - Without AWS's configuration files.
 */
export function instanceEnvironment(
  { endpoint }: SimulatedImds,
  environment: NodeJS.ProcessEnv,
  folder: string,
): NodeJS.ProcessEnv {
  const others = Object.entries(environment).filter(([name]) => !/^(AWS_|NODE_USE_ENV_PROXY$)/i.test(name));
  return {
    ...Object.fromEntries(others),
    // AWS SDKs and Tools Reference Guide, "Location of the shared files": else they are looked for in the home folder.
    AWS_CONFIG_FILE: join(folder, "no-aws-config"),
    AWS_SHARED_CREDENTIALS_FILE: join(folder, "no-aws-credentials"),
    AWS_EC2_METADATA_SERVICE_ENDPOINT: endpoint,
  };
}

function temporaryKeys(): IssuedKeys {
  return {
    // IAM User Guide, "Unique identifiers": ASIA marks temporary keys.
    accessKeyId: `ASIA${randomBytes(8).toString("hex").toUpperCase()}`,
    secretAccessKey: randomBytes(30).toString("base64"),
    sessionToken: randomBytes(96).toString("base64"),
  };
}
