/** /etc/nitro_enclaves/allocator.yaml, as the allocator's shell script reads it: line by line, not as YAML (nitro.md 6). */

export interface AllocatorSettings {
  readonly memoryMib: number | null;
  /** Null where a pool is given in its place. */
  readonly cpuCount: number | null;
  readonly cpuPool: readonly number[] | null;
  /** What the script would stumble over. */
  readonly problems: readonly string[];
}

export function parseAllocator(text: string): AllocatorSettings {
  const lines = text.split("\n").map((line) => line.replace(/#.*$/, "").trim());
  const problems: string[] = [];
  if (lines[0] !== "---") problems.push('the first line is not "---"');
  const values = new Map<string, string>();
  for (const line of lines.slice(lines[0] === "---" ? 1 : 0).filter((one) => one !== "")) {
    const [, name, value] = /^([a-z_]+):\s*(\S.*)$/.exec(line) ?? [];
    if (name === undefined || value === undefined) problems.push(`a line that is no "name: value"`);
    else if (values.has(name)) problems.push(`${name} stands there twice`);
    else values.set(name, value);
  }
  const memory = values.get("memory_mib");
  const count = values.get("cpu_count");
  const pool = values.get("cpu_pool");
  if (memory === undefined || !isCount(memory)) problems.push("memory_mib is not a number");
  if ((count === undefined) === (pool === undefined))
    problems.push("exactly one of cpu_count and cpu_pool is expected");
  if (count !== undefined && !isCount(count)) problems.push("cpu_count is not a number");
  const cpuPool = pool === undefined ? null : parseCpuList(pool);
  if (pool !== undefined && cpuPool === null) problems.push("cpu_pool is no list such as 2,3,6-9");
  return {
    memoryMib: memory !== undefined && isCount(memory) ? Number(memory) : null,
    cpuCount: count !== undefined && isCount(count) ? Number(count) : null,
    cpuPool,
    problems,
  };
}

/** The kernel's form, such as `1,17-19`. Empty text is an empty list; null: not of that form. */
export function parseCpuList(text: string): number[] | null {
  const trimmed = text.trim();
  if (trimmed === "") return [];
  const cpus = new Set<number>();
  for (const part of trimmed.split(",")) {
    const [, first, last] = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(part) ?? [];
    if (first === undefined) return null;
    const end = Number(last ?? first);
    if (end < Number(first)) return null;
    for (let cpu = Number(first); cpu <= end; cpu += 1) cpus.add(cpu);
  }
  return [...cpus].sort((a, b) => a - b);
}

function isCount(text: string): boolean {
  return /^[0-9]{1,7}$/.test(text);
}
