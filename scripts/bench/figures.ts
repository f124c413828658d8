/**
 * What `make bench` and `make bench-growth` measured, as docs/performance.json keeps it: tables of numbers, with all that a
 * reader needs to judge them. docs/performance.md is written from it, docs/cost.md computed.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { z } from "../../protocol/index.ts";

const FIGURES_FILE = "docs/performance.json";

const cell = z.union([z.number(), z.string(), z.null()]);
const section = z.strictObject({
  name: z.string(),
  title: z.string(),
  /** Rounds, warm-up, what was in flight, what the columns mean. */
  method: z.string(),
  /** Of the cells: the first column is the rows' names. */
  columns: z.array(z.strictObject({ label: z.string(), digits: z.int().check(z.nonnegative()) })),
  rows: z.array(z.strictObject({ name: z.string(), cells: z.array(cell) })),
});
const run = z.strictObject({
  measuredAt: z.string(),
  /** With `+` where files differ from it. */
  commit: z.string(),
  tookS: z.number(),
  machine: z.strictObject({
    ...{ cpu: z.string(), cores: z.int(), memoryGib: z.number(), node: z.string(), system: z.string() },
    ...{ openssl: z.string(), secp256k1: z.string() },
  }),
  /** Processes that wanted to run, averaged over a minute. */
  load: z.strictObject({ before: z.number(), after: z.number() }),
  sections: z.array(section),
});
const figures = z.strictObject({
  kind: z.literal("cloister-performance"),
  v: z.literal(1),
  standard: z.nullable(run),
  growth: z.nullable(run),
});

export type Cell = z.infer<typeof cell>;
export type Section = z.infer<typeof section>;
export type Run = z.infer<typeof run>;
export type Figures = z.infer<typeof figures>;
export type SetName = "standard" | "growth";

export const NOTHING: Figures = { kind: "cloister-performance", v: 1, standard: null, growth: null };

/** @throws Error for what is none. */
export function parseFigures(text: string): Figures {
  const parsed = figures.safeParse(JSON.parse(text));
  if (!parsed.success) throw new Error(`not figures of this version: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

export function readFigures(file: string = FIGURES_FILE): Figures {
  return parseFigures(readFileSync(file, "utf8"));
}

/** A row a line, so that a diff shows which rows moved. */
export function writeFigures(figures: Figures, file: string = FIGURES_FILE): void {
  const text = JSON.stringify(figures, null, 1);
  const joined = text.replace(
    /\{\n\s+("(?:name|label)": [^\n]+)\n\s+("(?:cells|digits)": (?:\[[^\]]*\]|\d+))\n\s+\}/g,
    (_, name, rest) => `{ ${name} ${rest.replaceAll(/\n\s*/g, " ")} }`,
  );
  writeFileSync(file, `${joined}\n`);
}

/** @throws Error where it was not measured: nothing is computed from what is not there. */
export function figureOf(sections: readonly Section[], name: string, row: string, column: string): number {
  const of = sections.find((each) => each.name === name);
  const at = of?.columns.findIndex(({ label }) => label === column) ?? -1;
  const value = of?.rows.find((each) => each.name === row)?.cells[at];
  if (typeof value !== "number") throw new Error(`no figure for ${name} / ${row} / ${column}`);
  return value;
}
