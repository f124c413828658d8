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

/** Parsed whole: to do so with all that may be sent costs as much as twenty stamps, and nothing is known yet of who sends it. */
const MAX_PARSED_BYTES = 8 * 1024;
const USUAL_HEAD = /^\{"operation":"([a-z0-9_]{1,64})","audience":"[^"\\]{1,256}","requestId":"([^"\\]{1,64})",/;
const USUAL_HEAD_BYTES = 480;
/** In strict JSON a key is written so, or with an escape. */
const MAINS_KEYS = ['"secondFactor"', '"share"', "\\"];

/** @returns Null for the main thread. */
export function workerOf(body: Uint8Array, workers: number): number | null {
  if (workers === 0) return null;
  if (body.length > MAX_PARSED_BYTES) return workerOfLarge(body, workers);
  const envelope = parse(body);
  if (envelope === null || !BY_WORKERS.has(envelope["operation"])) return null;
  if (Object.hasOwn(envelope, "secondFactor") || Object.hasOwn(envelope, "share")) return null;
  const { requestId } = envelope;
  return typeof requestId === "string" ? hashOf(requestId) % workers : null;
}

/** By its first bytes, as our own client and Turnkey's write them; what is written otherwise the main thread can serve as well. */
function workerOfLarge(body: Uint8Array, workers: number): number | null {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const [, operation, requestId] = USUAL_HEAD.exec(bytes.subarray(0, USUAL_HEAD_BYTES).toString("utf8")) ?? [];
  if (operation === undefined || requestId === undefined || !BY_WORKERS.has(operation)) return null;
  return MAINS_KEYS.some((key) => bytes.includes(key)) ? null : hashOf(requestId) % workers;
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
