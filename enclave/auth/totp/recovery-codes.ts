/**
 * Ten codes for the day when the authenticator app is lost: shown once, kept as digests, each good for one use. At 80
 * random bits none can be found by trying, neither here nor against its digest, so a plain hash is enough.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { encodeBase32 } from "../../../protocol/index.ts";
import type { Randomness } from "../../nsm/randomness.ts";

export const RECOVERY_CODES = 10;
const CODE_BYTES = 10;
const CONTEXT = "cloister/recovery-code/v1\n";

export interface RecoveryCodes {
  /** For the user's eyes: four groups of four. */
  readonly codes: readonly string[];
  readonly digests: readonly Uint8Array[];
}

export function makeRecoveryCodes(randomness: Pick<Randomness, "bytes">): RecoveryCodes {
  const texts = Array.from({ length: RECOVERY_CODES }, () => encodeBase32(randomness.bytes(CODE_BYTES)));
  return {
    codes: texts.map((text) => text.match(/.{4}/g)?.join("-") ?? text),
    digests: texts.map(digestOf),
  };
}

/** True for what may be a recovery code: people leave out dashes and write small letters. */
export function isRecoveryCode(text: string): boolean {
  return normalised(text) !== null;
}

/** @returns The place of the code's digest, or -1. All are compared, whichever it is. */
export function findRecoveryCode(text: string, digests: readonly Uint8Array[]): number {
  const code = normalised(text);
  if (code === null) return -1;
  const given = digestOf(code);
  return digests.reduce((found, digest, at) => (timingSafeEqual(given, digest) ? at : found), -1);
}

function normalised(text: string): string | null {
  const code = text.replaceAll(/[\s-]/g, "").toUpperCase();
  return /^[A-Z2-7]{16}$/.test(code) ? code : null;
}

function digestOf(code: string): Buffer {
  return createHash("sha256").update(CONTEXT).update(code).digest();
}
