import { readFileSync } from "node:fs";
import { availableParallelism, cpus, release, totalmem, type } from "node:os";
import type { Machine } from "./report.ts";

export function thisMachine(): Machine {
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    memoryGib: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    system: `${type()} ${release()}`,
  };
}

/** Linux: VmRSS of proc_pid_status(5). @returns MiB, of the processes that are there. */
export function residentMib(pids: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  const entries = Object.entries(pids).flatMap(([name, pid]): [string, number][] => {
    try {
      const kib = /^VmRSS:\s+([0-9]+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
      return kib === undefined ? [] : [[name, Number(kib) / 1024]];
    } catch {
      return [];
    }
  });
  return Object.fromEntries(entries);
}
