import type { Logger } from "pino";
import type { AwsCredentials } from "./aws-credentials.ts";

/** EC2's user guide, "Retrieve security credentials": new ones are there five minutes before the old ones expire. */
const REFRESH_BEFORE_EXPIRY_MS = 4 * 60_000;
/** Spread, so that many parents of one role do not all ask at once. */
const REFRESH_JITTER_MS = 60_000;
/** Credentials that do not expire come from files that may change. */
const REFRESH_UNEXPIRING_MS = 15 * 60_000;

/**
 * Keeps credentials until a random moment between five and four minutes before they expire. While fresh ones cannot be
 * had, the old ones serve until they expire. Callers at the same time share one fetch.
 *
 * @param options.random - From 0 to 1; for spreading only.
 */
export function cachedCredentials(options: {
  readonly fetch: () => Promise<AwsCredentials>;
  readonly nowMs: () => number;
  readonly random: () => number;
  readonly log: Logger;
}): () => Promise<AwsCredentials> {
  const { fetch, nowMs, random, log } = options;
  let held: { readonly credentials: AwsCredentials; readonly refreshAtMs: number } | undefined;
  let fetching: Promise<AwsCredentials> | undefined;

  async function refresh(): Promise<AwsCredentials> {
    try {
      const credentials = await fetch();
      const { expiresAtMs } = credentials;
      const refreshAtMs =
        expiresAtMs === null
          ? nowMs() + REFRESH_UNEXPIRING_MS
          : expiresAtMs - REFRESH_BEFORE_EXPIRY_MS - random() * REFRESH_JITTER_MS;
      held = { credentials, refreshAtMs };
      return credentials;
    } catch (error) {
      log.error({ err: error }, "AWS credentials cannot be had");
      const old = held?.credentials;
      if (old !== undefined && (old.expiresAtMs ?? Number.POSITIVE_INFINITY) > nowMs()) return old;
      throw error;
    }
  }

  return async () => {
    if (held !== undefined && nowMs() < held.refreshAtMs) return held.credentials;
    fetching ??= refresh().finally(() => {
      fetching = undefined;
    });
    return fetching;
  };
}
