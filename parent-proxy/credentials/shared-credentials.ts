import type { Logger } from "pino";
import type { AwsCredentials } from "./aws-credentials.ts";

/** Less than the enclave waits for an answer, so that it still gets the old ones. */
const FETCH_TIMEOUT_MS = 4_000;

/**
 * Fetches at every call, and callers at the same time share one fetch. While fresh ones cannot be had, the old ones serve
 * until they expire.
 *
 * They are not held for as long as they say they are good: the enclave asks for every call to KMS, of which there are
 * few, and an expiry is only as good as this machine's clock.
 */
export function sharedCredentials(options: {
  readonly fetch: () => Promise<AwsCredentials>;
  readonly nowMs: () => number;
  readonly log: Logger;
}): () => Promise<AwsCredentials> {
  const { fetch, nowMs, log } = options;
  let held: AwsCredentials | undefined;
  let fetching: Promise<AwsCredentials> | undefined;

  async function refresh(): Promise<AwsCredentials> {
    try {
      held = await within(FETCH_TIMEOUT_MS, fetch());
      return held;
    } catch (error) {
      log.error({ err: error }, "AWS credentials cannot be had");
      if (held !== undefined && (held.expiresAtMs ?? Number.POSITIVE_INFINITY) > nowMs()) return held;
      throw error;
    }
  }

  return () => {
    fetching ??= refresh().finally(() => {
      fetching = undefined;
    });
    return fetching;
  };
}

async function within<Result>(timeoutMs: number, work: Promise<Result>): Promise<Result> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
