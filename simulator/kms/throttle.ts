/** Request quotas: a token bucket for each group of operations that share one. */
import { KmsError } from "./errors.ts";

/**
 * KMS Developer Guide, "Request quotas", requests per second; for shared quotas the default of most regions. Operations
 * not listed have none here.
 */
export const AWS_REQUEST_QUOTAS: Readonly<Record<string, number>> = {
  ...{ symmetric: 5500, agreement: 300 },
  ...{ RSA_2048: 1, RSA_3072: 0.5, RSA_4096: 0.1 },
  ...{ ECC_NIST_P256: 25, ECC_NIST_P384: 10, ECC_NIST_P521: 5, ECC_SECG_P256K1: 25 },
  ...{ CancelKeyDeletion: 5, CreateAlias: 5, CreateGrant: 50, CreateKey: 5, DeleteAlias: 15, DescribeKey: 2000 },
  ...{ DisableKey: 5, DisableKeyRotation: 5, EnableKey: 5, EnableKeyRotation: 15, GetKeyPolicy: 1000 },
  ...{ GetKeyRotationStatus: 1000, GetPublicKey: 2000, ListAliases: 500, ListGrants: 100, ListKeyPolicies: 100 },
  ...{ ListKeyRotations: 100, ListKeys: 500, ListResourceTags: 2000, ListRetirableGrants: 100, PutKeyPolicy: 15 },
  ...{ RetireGrant: 30, RevokeGrant: 30, RotateKeyOnDemand: 5, ScheduleKeyDeletion: 15, TagResource: 10 },
  ...{ UntagResource: 5, UpdateAlias: 5, UpdateKeyDescription: 5 },
};

const SYMMETRIC_OPERATION =
  /^(Decrypt|Encrypt|GenerateDataKey|GenerateDataKeyWithoutPlaintext|GenerateRandom|ReEncrypt)$/;

/** @param pairSpec - What a GenerateDataKeyPair asks for: each kind of pair has a quota of its own. */
export function quotaGroupOf(operation: string, pairSpec: string | null): string {
  if (SYMMETRIC_OPERATION.test(operation)) return "symmetric";
  // Operations with keys on curves share one quota.
  if (operation === "DeriveSharedSecret" || operation === "Sign") return "agreement";
  return operation.startsWith("GenerateDataKeyPair") && pairSpec !== null ? pairSpec : operation;
}

export interface Throttle {
  /** @throws {@link KmsError} `ThrottlingException` when the group's bucket is empty. */
  take(group: string, nowMs: number): void;
}

/**
 * @param ratesPerSecond - By group; one of `*` stands for every group that is not named, each with a bucket of its own.
 * A bucket holds one second's worth, and at least one request.
 */
export function createThrottle(ratesPerSecond: Readonly<Record<string, number>>): Throttle {
  const buckets = new Map<string, { tokens: number; atMs: number }>();
  return {
    take(group, nowMs) {
      const rate = ratesPerSecond[group] ?? ratesPerSecond["*"];
      if (rate === undefined) return;
      const size = Math.max(rate, 1);
      const bucket = buckets.get(group) ?? { tokens: size, atMs: nowMs };
      // A clock that was set back must not take tokens away.
      const passedMs = Math.max(0, nowMs - bucket.atMs);
      const tokens = Math.min(size, bucket.tokens + (passedMs / 1000) * rate);
      const enough = tokens >= 1;
      buckets.set(group, { tokens: enough ? tokens - 1 : tokens, atMs: nowMs });
      if (enough) return;
      const words = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.";
      throw new KmsError("ThrottlingException", words, { detail: `quota of ${group}: ${rate} requests per second` });
    },
  };
}
