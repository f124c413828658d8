/** What was found, for people and for programs. */
import type { Finding, Outcome } from "./check.ts";

const MARKS: Readonly<Record<Outcome, string>> = { ok: "ok", warning: "WARN", failure: "FAIL", skipped: "skip" };

/** 1: something has to be done; 0: warnings and what was skipped are no failure, unless asked to be. */
export function statusOf(findings: readonly Finding[], { strict }: { readonly strict: boolean }): 0 | 1 {
  return findings.some(({ outcome }) => outcome === "failure" || (strict && outcome === "warning")) ? 1 : 0;
}

export function drawFindings(findings: readonly Finding[], printable: (text: string) => string): string {
  const lines = findings.flatMap(({ check, outcome, found, todo }) => [
    `${MARKS[outcome].padEnd(4)}  ${check.padEnd(14)}  ${printable(found)}`,
    ...(todo === null ? [] : [`${" ".repeat(22)}→ ${printable(todo)}`]),
  ]);
  const count = (outcome: Outcome) => findings.filter((one) => one.outcome === outcome).length;
  const sums = `${count("ok")} ok, ${count("warning")} warnings, ${count("failure")} failures, ${count("skipped")} skipped`;
  return `${[...lines, sums].join("\n")}\n`;
}
