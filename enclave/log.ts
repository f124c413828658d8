/**
 * The enclave's log. Lines leave for the parent, who must learn nothing from them: a field travels only if it is
 * named here, and none of these ever holds what a caller or a record contained.
 */

export interface LogFields {
  readonly operation?: string | undefined;
  readonly code?: string | undefined;
  readonly status?: number | undefined;
  readonly phase?: string | undefined;
  readonly durationMs?: number | undefined;
  readonly attempt?: number | undefined;
  readonly count?: number | undefined;
  readonly generation?: number | undefined;
  readonly waiting?: number | undefined;
  readonly running?: number | undefined;
  readonly waited?: number | undefined;
  readonly longestWaitMs?: number | undefined;
  readonly full?: number | undefined;
  readonly late?: number | undefined;
}

const ALLOWED: readonly (keyof LogFields)[] = [
  "operation",
  "code",
  "status",
  "phase",
  "durationMs",
  "attempt",
  "count",
  "generation",
  "waiting",
  "running",
  "waited",
  "longestWaitMs",
  "full",
  "late",
];
const MAX_VALUE_LENGTH = 64;

export interface Log {
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

/**
 * @param options.write - Takes one line of JSON without its newline.
 * @param options.nowMs - Milliseconds since 1970, or null before the time is known.
 */
export function createLog(options: {
  readonly write: (line: string) => void;
  readonly nowMs: () => number | null;
}): Log {
  const { write, nowMs } = options;
  const line = (level: "info" | "warn" | "error") => (event: string, fields?: LogFields) => {
    // `event` last: no field takes its place.
    write(JSON.stringify({ level, atMs: nowMs(), ...allowed(fields), event }));
  };
  return { info: line("info"), warn: line("warn"), error: line("error") };
}

/** Types are not enough: an object with more fields than its type says must not carry them out. */
function allowed(fields: LogFields = {}): Record<string, string | number> {
  const kept: Record<string, string | number> = {};
  for (const name of ALLOWED) {
    const value = fields[name];
    if (typeof value === "number") kept[name] = value;
    if (typeof value === "string") kept[name] = value.slice(0, MAX_VALUE_LENGTH);
  }
  return kept;
}
