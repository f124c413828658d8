/**
 * Which credentials this boot has lately seen answered in which app. It says nothing about rights: it only tells a lane
 * that strangers cannot fill from one that they can, before a stamp has been verified. So it may forget whom it likes,
 * and 52 bits of a key are enough to know it by.
 */
import { isWebauthnStamp } from "../../protocol/index.ts";
import { RecencyMap } from "../recency-map.ts";

/** Some 130 bytes each. */
const MAX_CREDENTIALS = 262_144;
const MAX_PER_APP = MAX_CREDENTIALS / 4;
const LONGEST_IDLE_MS = 10 * 60_000;
/** Bits that a number holds exactly. */
const DIGITS_OF_52_BITS = 13;
/** The first byte of a compressed point says which half of the curve: nothing that tells keys apart. */
const SKIPPED_DIGITS = 2;

export class ProvenCredentials {
  readonly #maxCredentials: number;
  readonly #maxPerApp: number;
  /** By app, the one that was used longest ago first; inside, by credential, in the same order, when it was used. */
  readonly #apps = new RecencyMap<string, RecencyMap<number, number>>();
  #count = 0;

  constructor(maxCredentials: number = MAX_CREDENTIALS, maxPerApp: number = MAX_PER_APP) {
    this.#maxCredentials = maxCredentials;
    this.#maxPerApp = maxPerApp;
  }

  /** Whether anybody at all was answered in this app. */
  knowsApp(app: string): boolean {
    return this.#apps.has(app);
  }

  has(app: string, credential: number, nowMs: number): boolean {
    const usedAtMs = this.#apps.get(app)?.get(credential);
    return usedAtMs !== undefined && nowMs - usedAtMs <= LONGEST_IDLE_MS;
  }

  /** Only after the enclave has answered a request with its stamp, and not refused it. */
  add(app: string, credential: number, nowMs: number): void {
    const credentials = this.#apps.get(app) ?? new RecencyMap<number, number>();
    this.#apps.set(app, credentials);
    if (!credentials.has(credential)) this.#count += 1;
    credentials.set(credential, nowMs);
    if (credentials.size > this.#maxPerApp) this.#dropOldestOf(credentials);
    // An app that nobody has used for the longest time goes whole: a noisy one cannot push out a quiet one that is in use.
    while (this.#count > this.#maxCredentials) {
      const oldest = this.#apps.oldest();
      if (oldest === undefined) return;
      if (oldest[1] === credentials) this.#dropOldestOf(credentials);
      else {
        this.#apps.delete(oldest[0]);
        this.#count -= oldest[1].size;
      }
    }
  }

  #dropOldestOf(credentials: RecencyMap<number, number>): void {
    const [oldest] = credentials.oldest() ?? [];
    if (oldest !== undefined && credentials.delete(oldest)) this.#count -= 1;
  }
}

/** Whom a stamp's header claims to be, unverified. Undefined where it does not say so in the usual way. */
export function credentialOf(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  if (isWebauthnStamp(header)) {
    const id = /"credentialId":"([A-Za-z0-9_-]{8,})"/.exec(header)?.[1];
    return id === undefined ? undefined : Buffer.from(id, "base64url").readUIntBE(0, 6);
  }
  const key = /"publicKey":"([0-9a-fA-F]{64,66})"/.exec(Buffer.from(header, "base64url").toString("latin1"))?.[1];
  return key === undefined ? undefined : credentialOfKey(key);
}

/** @param publicKey - Hex. */
export function credentialOfKey(publicKey: string): number | undefined {
  const credential = Number.parseInt(publicKey.slice(SKIPPED_DIGITS, SKIPPED_DIGITS + DIGITS_OF_52_BITS), 16);
  return Number.isNaN(credential) ? undefined : credential;
}
