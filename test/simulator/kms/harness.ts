import { Agent } from "node:https";
import { connect } from "node:tls";
import { KMSClient } from "@aws-sdk/client-kms";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { onTestFinished } from "vitest";
import {
  type KeyPolicyInput,
  type KmsLogEntry,
  type KmsPrincipal,
  type SimulatedKms,
  type SimulatedKmsOptions,
  startSimulatedKms,
} from "../../../simulator/kms/index.ts";
import { createTlsAuthority } from "../../../simulator/pki/index.ts";

export const REGION = "eu-west-1";
export const ACCOUNT = "123456789012";
export const HOST = `kms.${REGION}.amazonaws.com`;
const authority = createTlsAuthority({ nowMs: Date.now, name: "test TLS root" });
const tls = authority.issueServer({ hosts: [HOST] });

export const ENCLAVE: KmsPrincipal = {
  accessKeyId: "ASIAENCLAVE",
  secretAccessKey: "enclave secret",
  sessionToken: "enclave token",
  arn: `arn:aws:sts::${ACCOUNT}:assumed-role/enclave/i-0123456789abcdef0`,
  expiresAtMs: null,
};
export const ENCLAVE_ROLE = `arn:aws:iam::${ACCOUNT}:role/enclave`;
export const ADMIN: KmsPrincipal = {
  accessKeyId: "AKIAADMIN",
  secretAccessKey: "admin secret",
  sessionToken: null,
  arn: `arn:aws:iam::${ACCOUNT}:user/admin`,
  expiresAtMs: null,
};
export const EXPIRED: KmsPrincipal = {
  accessKeyId: "ASIAEXPIRED",
  secretAccessKey: "expired secret",
  sessionToken: "expired token",
  arn: `arn:aws:sts::${ACCOUNT}:assumed-role/enclave/i-old`,
  expiresAtMs: 1_700_000_000_000,
};
export const STRANGER: KmsPrincipal = {
  accessKeyId: "AKIASTRANGER",
  secretAccessKey: "stranger secret",
  sessionToken: null,
  arn: "arn:aws:iam::999999999999:user/stranger",
  expiresAtMs: null,
};

/** Anybody of the account may do anything. */
export const OPEN_POLICY: KeyPolicyInput = {
  Version: "2012-10-17",
  Statement: {
    Sid: "Account",
    Effect: "Allow",
    Principal: { AWS: `arn:aws:iam::${ACCOUNT}:root` },
    Action: "kms:*",
    Resource: "*",
  },
};

export type SentRequest = Parameters<NodeHttpHandler["handle"]>[0];

export interface Harness {
  readonly kms: SimulatedKms;
  readonly log: readonly KmsLogEntry[];
  /** AWS's own client. What `tamper` does to a request happens after it was signed. */
  client(principal?: KmsPrincipal, tamper?: (request: SentRequest) => void): KMSClient;
}

/** A simulated KMS that ends with the test, or with the file if started outside of one. */
export async function startHarness(options: Partial<SimulatedKmsOptions> = {}): Promise<Harness> {
  const log: KmsLogEntry[] = [];
  const kms = await startSimulatedKms({
    tls,
    region: REGION,
    accountId: ACCOUNT,
    principals: [ENCLAVE, ADMIN, EXPIRED, STRANGER],
    attestationRoots: [],
    storeFile: null,
    nowMs: Date.now,
    log: (entry) => log.push(entry),
    ...options,
  });
  return { kms, log, client: (principal = ENCLAVE, tamper) => clientOf(kms.port, principal, tamper) };
}

export async function startForTest(options: Partial<SimulatedKmsOptions> = {}): Promise<Harness> {
  const harness = await startHarness(options);
  onTestFinished(() => harness.kms.close());
  return harness;
}

/** Goes to the simulator under KMS's real name, as the enclave's does through the relay. */
export function agentTo(port: number): Agent {
  const agent = new Agent({ keepAlive: false });
  agent.createConnection = () => connect({ host: "127.0.0.1", port, servername: HOST, ca: authority.rootPem });
  return agent;
}

function clientOf(port: number, principal: KmsPrincipal, tamper?: (request: SentRequest) => void): KMSClient {
  const handler = new NodeHttpHandler({ httpsAgent: agentTo(port), requestTimeout: 10_000 });
  const { accessKeyId, secretAccessKey, sessionToken } = principal;
  return new KMSClient({
    region: REGION,
    maxAttempts: 1,
    credentials: { accessKeyId, secretAccessKey, ...(sessionToken === null ? {} : { sessionToken }) },
    requestHandler: {
      handle: (request: SentRequest, handlerOptions?: Parameters<NodeHttpHandler["handle"]>[1]) => {
        tamper?.(request);
        return handler.handle(request, handlerOptions);
      },
    },
  });
}
