/** Programs that a build calls: missing ones are named all at once, with what to install. */
import { spawnSync } from "node:child_process";

/** @param tools - Debian's package of each program. */
export function requireTools(tools: Readonly<Record<string, string>>): void {
  const missing = Object.entries(tools).filter(([program]) => !hasTool(program));
  if (missing.length === 0) return;
  const programs = missing.map(([program]) => program).join(", ");
  const packages = [...new Set(missing.map(([, name]) => name))].join(" ");
  throw new Error(`missing: ${programs}. On Debian and Ubuntu: apt-get install -y --no-install-recommends ${packages}`);
}

export function hasTool(program: string): boolean {
  return spawnSync(program, ["--version"], { stdio: "ignore" }).error === undefined;
}
