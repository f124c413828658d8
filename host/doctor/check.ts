/** A check looks at one thing and says what it found and what to do. It changes nothing. */
import type { Context } from "./context.ts";

export const CHECK_IDS = [
  "instance",
  "enclave-device",
  "nitro-cli",
  "users",
  "allocator",
  "cpus",
  "hugepages",
  "enclave-config",
  "image",
  "image-memory",
  "enclave",
  "cid",
  "heartbeat-port",
  "vhost-vsock",
  "parent-config",
  "parent",
  "egress",
  "records",
  "disk",
  "permissions",
  "imds",
  "credentials",
  "key-policy",
  "clock",
] as const;

export type CheckId = (typeof CHECK_IDS)[number];
export type Outcome = "ok" | "warning" | "failure" | "skipped";

export interface Result {
  readonly outcome: Outcome;
  readonly found: string;
  /** What to do about it; null where there is nothing to do. */
  readonly todo: string | null;
}

export interface Finding extends Result {
  readonly check: CheckId;
}

/** Several results where several things are wrong; at least one. */
export type Check = (context: Context) => Promise<Result | readonly Result[]>;

export const ok = (found: string): Result => ({ outcome: "ok", found, todo: null });
export const warning = (found: string, todo: string): Result => ({ outcome: "warning", found, todo });
export const failure = (found: string, todo: string): Result => ({ outcome: "failure", found, todo });
export const skipped = (found: string, todo: string | null = null): Result => ({ outcome: "skipped", found, todo });

/** What a check needs is not to be had, and another check says why. */
export class NotChecked extends Error {
  override readonly name = "NotChecked";
}

/** The problems, or what is said where there are none. */
export function unless(problems: readonly Result[], fine: string): readonly Result[] {
  return problems.length > 0 ? problems : [ok(fine)];
}
