import type { Duplex } from "node:stream";
import { type CredentialsAnswer, type CredentialsCall, credentialsCall } from "../../protocol/index.ts";
import { serveCalls } from "../../vsock/index.ts";
import type { Metrics } from "../metrics.ts";
import type { AwsCredentials } from "./aws-credentials.ts";

/** Answers the enclave's calls on one stream of CREDENTIALS_PORT. Why a fetch failed is logged by who fetches. */
export function serveCredentials(
  stream: Duplex,
  { credentials, metrics }: { readonly credentials: () => Promise<AwsCredentials>; readonly metrics: Metrics },
): void {
  serveCalls<CredentialsCall, CredentialsAnswer>(stream, {
    call: credentialsCall,
    async handle() {
      try {
        const { accessKeyId, secretAccessKey, sessionToken, expiresAtMs } = await credentials();
        metrics.credentialsCalls.inc({ answer: "credentials" });
        return { kind: "credentials", accessKeyId, secretAccessKey, sessionToken, expiresAtMs };
      } catch {
        metrics.credentialsCalls.inc({ answer: "failed" });
        return { kind: "failed" };
      }
    },
  });
}
