/** Policies of users and wallets, and what others are to agree to. An app's own policy is part of the app. */
import { policy } from "../policy.ts";
import { walletId } from "../scope.ts";
import type { JsonValue } from "../strict-json.ts";
import { z } from "../zod.ts";
import { appId, approvalId, nothing, userId } from "./ids.ts";

/** The user's own, or one of their wallets'. */
export const of = z.union([z.literal("user"), walletId]);
const digest = z.string().check(z.regex(/^[0-9a-f]{64}$/, "expected 64 hex digits"));
const level = z.enum(["app", "user", "wallet"]);

export const approval = z.strictObject({
  approvalId,
  /** A user's id, or an API key's public key. */
  requester: z.string(),
  operation: z.string(),
  /** Null where they are too long to be kept: ask whoever asks, and hold them against the digest. */
  params: z.nullable(z.custom<JsonValue>(() => true)),
  /** What approvers stamp. */
  digest,
  state: z.enum(["waiting", "approved", "rejected", "expired", "collected"]),
  createdAtMs: z.int(),
  expiresAtMs: z.int(),
  needs: z.array(
    z.strictObject({ level, rule: z.string(), of: z.array(z.string()), threshold: z.int(), given: z.int() }),
  ),
  approvers: z.array(z.strictObject({ by: z.string(), atMs: z.int() })),
});
export type PendingApproval = z.output<typeof approval>;

export const POLICY_OPERATIONS = {
  /** Puts a policy, or none, in the place of version `expectedVersion`; 0 where there is none. */
  set_policy: {
    params: z.strictObject({ of, expectedVersion: z.int().check(z.nonnegative()), policy: z.nullable(policy) }),
    result: z.strictObject({ version: z.int() }),
  },
  get_policy: {
    params: z.strictObject({ of }),
    result: z.strictObject({ version: z.int(), policy: z.nullable(policy) }),
  },
  /** Takes a user's or a wallet's policy away. */
  reset_policy: {
    params: z.strictObject({ appId, userId, of }),
    result: z.strictObject({ isReset: z.boolean() }),
  },
  approve_request: { params: z.strictObject({ approvalId, digest }), result: approval },
  /** By an approver, or by whoever asked. */
  reject_request: { params: z.strictObject({ approvalId }), result: nothing },
  get_approval: { params: z.strictObject({ approvalId }), result: approval },
  /** Those that wait and concern who asks. */
  list_approvals: {
    params: z.strictObject({
      /** `next` of the page before, or null for the first page. */
      after: z.nullable(approvalId),
    }),
    result: z.strictObject({ approvals: z.array(approval), next: z.nullable(approvalId) }),
  },
} as const;
