/**
 * Which thread serves a request. It follows from the request's bytes alone, so that whoever sends them again, sealed or in
 * the open, meets the thread that remembers them. It decides nothing about rights: all is checked where it is served.
 */
import { SIGNING_HANDLERS } from "../operations/signing-handlers.ts";
import { hashOf } from "./marks.ts";

/**
 * What changes a user takes turns with whatever else changes that user, and those are the main thread's; so is what it alone
 * may remember, such as wrong one-time passwords.
 */
const BY_WORKERS: ReadonlySet<unknown> = new Set([...Object.keys(SIGNING_HANDLERS), "sign_batch", "list_wallets"]);

/** @returns Null for the main thread. */
export function workerOf(body: Uint8Array, workers: number): number | null {
  if (workers === 0) return null;
  const envelope = parse(body);
  if (envelope === null || !BY_WORKERS.has(envelope["operation"])) return null;
  if (Object.hasOwn(envelope, "secondFactor") || Object.hasOwn(envelope, "share")) return null;
  const { requestId } = envelope;
  return typeof requestId === "string" ? hashOf(requestId) % workers : null;
}

/** Less strict than what judges it: what only this takes is refused there. */
function parse(body: Uint8Array): Readonly<Record<string, unknown>> | null {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8"));
    return typeof parsed === "object" && parsed !== null ? (parsed as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
