/**
 * The role's credentials, which the enclave signs its KMS calls with. They are no secret from the parent, whose role they
 * are: what protects the vault is the key policy's demand for attestation (nitro.md 5.4).
 */
export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string | null;
  /** Milliseconds since 1970; null for credentials that do not expire. */
  readonly expiresAtMs: number | null;
}

/**
 * The SDK's own order: environment, SSO, web identity, shared files, then container and instance metadata (IMDSv2).
 * It is not cached here. The package is loaded at the first call, because that takes longer than all the rest.
 */
export function defaultAwsCredentials(): () => Promise<AwsCredentials> {
  let provider: Promise<() => Promise<Omit<AwsCredentials, "expiresAtMs" | "sessionToken"> & SdkExtras>> | undefined;
  return async () => {
    provider ??= import("@aws-sdk/credential-provider-node").then(({ defaultProvider }) => {
      const fromSdk = defaultProvider();
      // Ours is the cache that knows the expiry; two would keep each other from refreshing.
      return () => fromSdk({ forceRefresh: true });
    });
    const { accessKeyId, secretAccessKey, sessionToken, expiration } = await (await provider)();
    return {
      accessKeyId,
      secretAccessKey,
      sessionToken: sessionToken ?? null,
      expiresAtMs: expiration?.getTime() ?? null,
    };
  };
}

interface SdkExtras {
  readonly sessionToken?: string;
  readonly expiration?: Date;
}
