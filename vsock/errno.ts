/** System calls' failures, by the names that operators search for. */
import { getSystemErrorName } from "node:util";

/** What `cause` holds below a {@link VsockError} from the kernel: the same fields as Node's own errors. */
export interface ErrnoError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
}

/** @param negated - As the addons return it: `-ECONNRESET`. */
export function errnoName(negated: number): string {
  return getSystemErrorName(negated);
}

export function errnoError(syscall: string, negated: number): ErrnoError {
  const code = errnoName(negated);
  return Object.assign(new Error(`${syscall}: ${code}`), { code, errno: negated, syscall });
}
