/**
 * Time-based one-time passwords (RFC 6238 over RFC 4226): six digits, 30 seconds. HMAC-SHA-1, because authenticator apps
 * read no other algorithm reliably (several ignore the URI's parameter and compute SHA-1); what breaks SHA-1 is finding
 * collisions, which HMAC does not rest on (RFC 6151 says so of MD5, and it is the weaker of the two).
 */
import { createHmac, type KeyObject, timingSafeEqual } from "node:crypto";
import { encodeBase32 } from "../../../protocol/index.ts";

/** RFC 4226, 4, R6: at least 128 bits, 160 recommended; apps expect these. */
export const TOTP_SECRET_BYTES = 20;
const TOTP_DIGITS = 6;
const TOTP_STEP_S = 30;
/** RFC 6238, 5.2: one step for the time that a person needs and for clocks that differ, before and after. */
const WINDOW_STEPS = 1;

/** RFC 4226, 5.3. */
export function hotp(secret: KeyObject | Uint8Array, counter: number, digits: number = TOTP_DIGITS): string {
  const message = Buffer.alloc(8);
  message.writeBigUInt64BE(BigInt(counter));
  const mac = createHmac("sha1", secret).update(message).digest();
  const offset = mac.readUInt8(mac.length - 1) & 0x0f;
  const number = mac.readUInt32BE(offset) & 0x7fff_ffff;
  return (number % 10 ** digits).toString().padStart(digits, "0");
}

/** RFC 6238, 4.2: the step that a moment belongs to. */
export function stepAt(nowMs: number): number {
  return Math.floor(nowMs / 1000 / TOTP_STEP_S);
}

/**
 * Finds the step of a code. All steps of the window are computed and compared in constant time: how long it takes says
 * nothing of how near a guess was.
 *
 * @param lastStep - The last one used, or null: neither it nor any before it counts again.
 * @returns The latest step with this code, or null.
 */
export function matchStep(
  secret: KeyObject | Uint8Array,
  code: string,
  { nowMs, lastStep }: { readonly nowMs: number; readonly lastStep: number | null },
): number | null {
  const given = Buffer.alloc(TOTP_DIGITS);
  // A code of another form compares like any other, and never matches.
  const isFormed = /^[0-9]{6}$/.test(code);
  if (isFormed) given.write(code, "latin1");
  const now = stepAt(nowMs);
  let matched: number | null = null;
  for (let step = now - WINDOW_STEPS; step <= now + WINDOW_STEPS; step += 1) {
    if (step < 0) continue;
    const isEqual = timingSafeEqual(given, Buffer.from(hotp(secret, step), "latin1"));
    if (isEqual && isFormed && (lastStep === null || step > lastStep)) matched = step;
  }
  return matched;
}

/** What authenticator apps scan ("Key Uri Format"): the account is named twice because apps read one or the other. */
export function otpauthUri(secret: Uint8Array, { issuer, account }: { issuer: string; account: string }): string {
  const label = `${encodeURIComponent(issuer)}:${encodeURIComponent(account)}`;
  const parameters = [
    `secret=${encodeBase32(secret)}`,
    `issuer=${encodeURIComponent(issuer)}`,
    "algorithm=SHA1",
    `digits=${TOTP_DIGITS}`,
    `period=${TOTP_STEP_S}`,
  ];
  return `otpauth://totp/${label}?${parameters.join("&")}`;
}
