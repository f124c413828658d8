/** Drops, now and then, the records that may go by themselves. */
import type { Logger } from "pino";
import type { RecordStore } from "./record-store.ts";

const INTERVAL_MS = 60_000;
/** The enclave counts by its own clock, and this by the parent's. */
const MARGIN_MS = 10 * 60_000;
const BATCH = 1_000;

/** @returns Stops it, and waits for what is under way. */
export function removeExpiredFrom(
  store: RecordStore,
  log: Logger,
  { nowMs = Date.now, intervalMs = INTERVAL_MS }: { readonly nowMs?: () => number; readonly intervalMs?: number } = {},
): () => Promise<void> {
  let running: Promise<void> = Promise.resolve();
  let isStopped = false;
  const remove = async () => {
    try {
      while (!isStopped && (await store.removeExpired(nowMs() - MARGIN_MS, BATCH)) === BATCH);
    } catch (error) {
      log.warn({ err: error }, "expired records stay for now");
    }
  };
  const timer = setInterval(() => {
    running = running.then(remove);
  }, intervalMs);
  timer.unref();
  return async () => {
    isStopped = true;
    clearInterval(timer);
    await running;
  };
}
