/** Writes figures as tables between two marks of a page: what stands outside is people's, what stands inside is not. */
import { readFileSync, writeFileSync } from "node:fs";
import type { Cell, Figures, Run, Section, SetName } from "./figures.ts";

const PAGE_FILE = "docs/performance.md";

const COMMANDS: Readonly<Record<SetName, string>> = { standard: "make bench", growth: "make bench-growth" };

/** @throws Error where a page has no place for them. */
export function pageWith(page: string, figures: Figures): string {
  let written = page;
  for (const name of ["standard", "growth"] as const) {
    const run = figures[name];
    written = between(written, COMMANDS[name], run === null ? "Not measured yet." : textOf(run));
  }
  return written;
}

export function writePage(figures: Figures, file: string = PAGE_FILE): void {
  writeFileSync(file, pageWith(readFileSync(file, "utf8"), figures));
}

/** Replaces what stands between `<!-- name: begin -->` and `<!-- name: end -->`. */
export function between(page: string, name: string, text: string): string {
  const [begin, end] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`];
  const [before, rest, ...more] = page.split(begin);
  const [, after, ...others] = (rest ?? "").split(end);
  if (before === undefined || after === undefined || more.length + others.length > 0) {
    throw new Error(`the page needs one "${begin}", and one "${end}" after it`);
  }
  return `${before}${begin}\n${text}\n${end}${after}`;
}

function textOf({ measuredAt, commit, tookS, machine, load, sections }: Run): string {
  const minutes = (tookS / 60).toFixed(1);
  return [
    `Measured ${measuredAt.slice(0, 16).replace("T", " ")} UTC at ${commit}, in ${minutes} minutes, load ${load.before} before and ` +
      `${load.after} after (${machine.cores} cores). ` +
      `${machine.cpu}, ${machine.memoryGib} GiB, ${machine.system}, Node ${machine.node}, ${machine.openssl}, ${machine.secp256k1}.`,
    ...sections.map(tableOf),
  ].join("\n\n");
}

/** As Markdown. */
export function tableOf({ title, method, columns, rows }: Section): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    `### ${title}\n`,
    `${method}\n`,
    line(["", ...columns.map(({ label }) => label)]),
    `|---|${columns.map(() => "-:|").join("")}`,
    ...rows.map(({ name, cells }) =>
      line([name, ...columns.map(({ digits }, at) => shown(cells[at] ?? null, digits))]),
    ),
  ].join("\n");
}

function shown(value: Cell, digits: number): string {
  if (value === null) return "–";
  return typeof value === "string"
    ? value
    : value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
