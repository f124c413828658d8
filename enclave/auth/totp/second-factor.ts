/**
 * What an attempt with a code comes to, as data: nothing is read, written or waited for here. The state belongs to the
 * user's record; whoever asks writes the new state before acting on the outcome, so that of two attempts that raced only
 * one was judged on what then still stood there.
 */
import { bytesOf, z } from "../../../protocol/index.ts";
import { findRecoveryCode, isRecoveryCode, RECOVERY_CODES } from "./recovery-codes.ts";
import { matchStep, TOTP_SECRET_BYTES } from "./totp.ts";

/** Attempts that may fail in a row before the first wait. */
const MAX_FAILURES = 5;
/** The first wait; each further failure doubles it. A code is good for three steps, so one guess in 333,333 hits. */
const FIRST_LOCKOUT_MS = 30_000;
const MAX_LOCKOUT_MS = 24 * 3600 * 1000;

export const secondFactorSchema = z.strictObject({
  secret: bytesOf(TOTP_SECRET_BYTES),
  /** Null until a first code has shown that the app has the secret; until then nothing is guarded by it. */
  confirmedAtMs: z.nullable(z.int()),
  /** The last step used: it and those before it never work again. */
  lastStep: z.nullable(z.int()),
  failures: z.int(),
  lockedUntilMs: z.int(),
  /** SHA-256 of those that are left. */
  recoveryCodes: z.array(bytesOf(32)).check(z.maxLength(RECOVERY_CODES)),
  /** What this user wants guarded beyond what the app guards. */
  requiredFor: z.array(z.string()).check(z.maxLength(64)),
});
export type SecondFactor = z.output<typeof secondFactorSchema>;

export type Attempt =
  | { readonly kind: "accepted"; readonly by: "totp" | "recovery-code"; readonly next: SecondFactor }
  /** `next` is the state itself where the attempt does not count. */
  | { readonly kind: "refused"; readonly next: SecondFactor }
  | { readonly kind: "locked"; readonly untilMs: number };

/**
 * Judges one code. Recovery codes are not held up by a lockout, and wrong ones do not add to it: 80 bits cannot be
 * guessed, and whoever stole a session must not be able to lock its owner's authenticator app out by sending them, without
 * ever having to wait.
 */
export function attempt(state: SecondFactor, code: string, nowMs: number): Attempt {
  if (isRecoveryCode(code)) {
    const at = findRecoveryCode(code, state.recoveryCodes);
    if (at === -1) return { kind: "refused", next: state };
    const recoveryCodes = state.recoveryCodes.filter((_, place) => place !== at);
    return { kind: "accepted", by: "recovery-code", next: { ...state, recoveryCodes, failures: 0, lockedUntilMs: 0 } };
  }
  if (state.lockedUntilMs > nowMs) return { kind: "locked", untilMs: state.lockedUntilMs };
  const step = matchStep(state.secret, code, { nowMs, lastStep: state.lastStep });
  if (step === null) return { kind: "refused", next: afterFailure(state, nowMs) };
  return { kind: "accepted", by: "totp", next: { ...state, lastStep: step, failures: 0, lockedUntilMs: 0 } };
}

/** How long to wait after so many failures in a row. */
export function lockoutMs(failures: number): number {
  if (failures < MAX_FAILURES) return 0;
  // The exponent is bounded before it is used: 2 ** 1100 is Infinity.
  return Math.min(MAX_LOCKOUT_MS, FIRST_LOCKOUT_MS * 2 ** Math.min(failures - MAX_FAILURES, 32));
}

function afterFailure(state: SecondFactor, nowMs: number): SecondFactor {
  const failures = Math.min(state.failures + 1, 1_000_000);
  const lockedUntilMs = Math.max(state.lockedUntilMs, lockoutMs(failures) === 0 ? 0 : nowMs + lockoutMs(failures));
  return { ...state, failures, lockedUntilMs };
}
