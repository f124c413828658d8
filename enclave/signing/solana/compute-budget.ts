/** What a transaction may cost (solana-compute-budget-interface, solana-fee-structure). */
import type { ComputeSetting, Meaning, ProgramCall } from "./meaning.ts";

const LAMPORTS_PER_SIGNATURE = 5000n;
const MICROLAMPORTS_PER_LAMPORT = 1_000_000n;
/** Of a transaction that names no limit, for each instruction; the runtime counts less for its own programs. */
const DEFAULT_UNITS_PER_INSTRUCTION = 200_000n;
const MAX_UNITS = 1_400_000n;

/** By their tag; a price is a `u64`, all else a `u32`. */
const SETTINGS: readonly (ComputeSetting | null)[] = [null, "heap", "unit-limit", "unit-price", "loaded-data-limit"];

/**
 * The runtime reads a setting from the beginning of the data, and looks neither at what stands after it nor at accounts: so
 * it holds, and costs, even where the instruction is not understood to its last byte.
 */
export function computeBudgetMeaning({ accounts, data }: ProgramCall): Meaning | null {
  const setting = SETTINGS[data[0] ?? 0] ?? null;
  const bytes = setting === "unit-price" ? 9 : 5;
  if (setting === null || data.length < bytes) return null;
  const value = setting === "unit-price" ? data.readBigUInt64LE(1) : BigInt(data.readUInt32LE(1));
  return { kind: "compute-budget", setting, value, isWhole: accounts.length === 0 && data.length === bytes };
}

/** @param settings - Those that the transaction names. */
export function maxFeeLamports(
  settings: ReadonlyMap<ComputeSetting, bigint>,
  counts: { readonly signatures: number; readonly instructions: number },
): bigint {
  const asked = settings.get("unit-limit") ?? DEFAULT_UNITS_PER_INSTRUCTION * BigInt(counts.instructions);
  const units = asked > MAX_UNITS ? MAX_UNITS : asked;
  const microlamports = units * (settings.get("unit-price") ?? 0n);
  const priority = (microlamports + MICROLAMPORTS_PER_LAMPORT - 1n) / MICROLAMPORTS_PER_LAMPORT;
  return LAMPORTS_PER_SIGNATURE * BigInt(counts.signatures) + priority;
}
