/** What docs/performance.md and docs/cost.md say is what was measured and computed: nobody edits figures by hand. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { costSections, costText, parseInputs } from "../../scripts/bench/cost.ts";
import {
  type Figures,
  figureOf,
  NOTHING,
  parseFigures,
  type Run,
  readFigures,
  writeFigures,
} from "../../scripts/bench/figures.ts";
import { between, pageWith } from "../../scripts/bench/page.ts";
import { CpuByThread, inTurns, perSecond, rateOf, repeating } from "../../scripts/bench/rounds.ts";

const RUN: Run = {
  ...{ measuredAt: "2026-01-02T03:04:05.000Z", commit: "abcdef012345", tookS: 90 },
  machine: {
    ...{
      cpu: "a CPU",
      cores: 2,
      memoryGib: 16,
      node: "v24",
      system: "Linux 6",
      openssl: "OpenSSL 3",
      secp256k1: "our binding",
    },
  },
  load: { before: 0.1, after: 1.9 },
  sections: [
    {
      ...{ name: "http", title: "Over HTTP", method: "How it was done." },
      columns: [
        { label: "a second", digits: 0 },
        { label: "p99 ms", digits: 2 },
      ],
      rows: [
        { name: "sign_transaction, 32 in flight", cells: [1234.5, 3.456] },
        { name: "something else", cells: ["a word", null] },
      ],
    },
  ],
};
const FIGURES: Figures = { ...NOTHING, standard: RUN };
const PAGE = ["make bench", "make bench-growth"]
  .map((name) => `Prose of people.\n<!-- ${name}: begin -->\nold\n<!-- ${name}: end -->\nMore.\n`)
  .join("\n");

test("the tables of docs/performance.md are those of docs/performance.json", () => {
  const page = readFileSync("docs/performance.md", "utf8");
  expect(pageWith(page, readFigures())).toBe(page);
});

test("the tables of docs/cost.md are computed from its inputs and docs/performance.json", () => {
  const page = readFileSync("docs/cost.md", "utf8");
  const inputs = parseInputs(readFileSync("docs/cost-inputs.json", "utf8"));
  expect(between(page, "make cost", costText(inputs, readFigures()))).toBe(page);
});

test("a page names machine, method, load and commit, and keeps what people wrote", () => {
  const page = pageWith(PAGE, FIGURES);
  expect(page.match(/Prose of people\./g)).toHaveLength(2);
  expect(page).not.toContain("old");
  expect(page).toContain(
    "2026-01-02 03:04 UTC at abcdef012345, in 1.5 minutes, load 0.1 before and 1.9 after (2 cores).",
  );
  expect(page).toContain("a CPU, 16 GiB, Linux 6, Node v24, OpenSSL 3, our binding.");
  expect(page).toContain("How it was done.\n\n|  | a second | p99 ms |\n|---|-:|-:|");
  expect(page).toContain("| sign_transaction, 32 in flight | 1,235 | 3.46 |\n| something else | a word | – |");
  expect(page).toContain("Not measured yet.");
  expect(pageWith(page, FIGURES)).toBe(page);
});

test.each([
  ["no marks", "Prose."],
  ["an end before its beginning", "<!-- x: end --> <!-- x: begin -->"],
  ["two beginnings", "<!-- x: begin --> <!-- x: begin --> <!-- x: end -->"],
])("a page with %s is left alone", (_what, page) => {
  expect(() => between(page, "x", "text")).toThrow("the page needs");
});

test("figures are read back as they were written, and what is none is refused", () => {
  const folder = mkdtempSync(join(tmpdir(), "cloister-test-"));
  try {
    writeFigures(FIGURES, join(folder, "figures.json"));
    expect(readFigures(join(folder, "figures.json"))).toEqual(FIGURES);
    expect(readFileSync(join(folder, "figures.json"), "utf8")).toContain(
      '{ "name": "something else", "cells": [ "a word", null ] }',
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
  for (const other of [{}, { ...FIGURES, v: 2 }, { ...FIGURES, standard: { ...RUN, load: null } }]) {
    expect(() => parseFigures(JSON.stringify(other))).toThrow("not figures");
  }
});

test("nothing is computed from what was not measured", () => {
  expect(figureOf(RUN.sections, "http", "sign_transaction, 32 in flight", "a second")).toBe(1234.5);
  for (const [name, row, column] of [
    ["other", "sign_transaction, 32 in flight", "a second"],
    ["http", "other", "a second"],
    ["http", "sign_transaction, 32 in flight", "other"],
    ["http", "something else", "a second"],
  ] as const) {
    expect(() => figureOf(RUN.sections, name, row, column)).toThrow("no figure");
  }
  const inputs = parseInputs(readFileSync("docs/cost-inputs.json", "utf8"));
  const measured = ["signaturesASecondOfOneEnclave", "recordsSealedAnewASecond", "recordsLookedOverASecond"] as const;
  for (const left of measured) {
    const given = Object.fromEntries(measured.map((name) => [name, name === left ? null : 1]));
    expect(() => costSections({ ...inputs, ...given }, NOTHING)).toThrow("no figure");
  }
});

test("a rotation's passes are as long as they were measured over PostgreSQL, unless they are given", () => {
  const labels = ["sealed anew, a second", "looked over, a second"];
  const section = {
    ...{ name: "rotation", title: "Rotation", method: "How it was done." },
    columns: labels.map((label) => ({ label, digits: 0 })),
    rows: [
      { name: "SQLite", cells: [1, 1] },
      { name: "PostgreSQL", cells: [5_000, 20_000] },
    ],
  };
  const figures: Figures = { ...FIGURES, growth: { ...RUN, sections: [section] } };
  const given = parseInputs(readFileSync("docs/cost-inputs.json", "utf8"));
  const inputs = { ...given, wallets: 1e9, walletsPerUser: 1, sessionsPerUser: 1, signaturesASecondOfOneEnclave: 500 };
  const days = (sealedAnew: number | null, lookedOver: number | null) => {
    const rates = { recordsSealedAnewASecond: sealedAnew, recordsLookedOverASecond: lookedOver };
    const [, size] = costSections({ ...inputs, ...rates }, figures);
    return size?.rows.find(({ name }) => name.startsWith("rotation: "))?.cells.at(-1);
  };
  // 4·10⁹ records: 800,000 s, and 200,000 s.
  expect(days(null, null)).toBe("12");
  expect(days(10_000, null)).toBe("6.9");
  expect(days(10_000, 10_000)).toBe("9.3");
});

test("cost follows from its inputs: KMS is asked for enclaves and never for wallets", () => {
  const given = parseInputs(readFileSync("docs/cost-inputs.json", "utf8"));
  const inputs = {
    ...{ ...given, wallets: 1e9, walletsPerUser: 1, sessionsPerUser: 1, signaturesASecond: [1_000] },
    ...{ signaturesASecondOfOneEnclave: 500, shareOfCapacityUsed: 0.5, enclaveHostUsdAnHour: 1, databaseUsdAnHour: 2 },
    ...{ databaseRowReadsASecond: 10_000, databaseReadsPerColdSignature: 2, tableBytesPerRecord: 500 },
    ...{ recordsSealedAnewASecond: 5_000, recordsLookedOverASecond: 20_000 },
  };
  const [, size, rate] = costSections(inputs, NOTHING);
  const rowOf = (name: string) => size?.rows.find((each) => each.name === name)?.cells.at(-1);
  expect(rowOf("records")).toBe("4,000,000,000");
  expect(rowOf("table, GB")).toBe("2,000");
  expect(rowOf("KMS calls to make them")).toBe("0");
  expect(rate?.rows[0]?.cells.slice(0, 2)).toEqual(["4", "1"]);
  // 4 hosts and a database of 2 dollars, 730 hours.
  expect(rate?.rows[0]?.cells.slice(3, 5)).toEqual(["2,920", "1,460"]);
  const fewer = costSections({ ...inputs, wallets: 1e6 }, NOTHING)[2];
  expect(fewer?.rows).toEqual(rate?.rows);
  expect(() => parseInputs(JSON.stringify({ ...inputs, wallets: -1 }))).toThrow("wallets");
  expect(() => parseInputs(JSON.stringify({ ...inputs, more: 1 }))).toThrow("inputs");
});

test("rounds are run in turns, and the first counts for nothing", async () => {
  const order: string[] = [];
  const contestant = (name: string, rates: number[]) => ({
    round: async () => {
      order.push(name);
      return rates.shift() ?? 0;
    },
  });
  const rates = await inTurns({ a: contestant("a", [99, 1, 4, 2]), b: contestant("b", [1, 3, 3, 3]) }, 3);
  expect(order.join("")).toBe("abababab");
  expect(rates).toEqual({ a: { best: 4, median: 2, slowest: 0.25 }, b: { best: 3, median: 3, slowest: 1 } });
  expect(() => rateOf([])).toThrow("no round");
});

test("work is counted as often as it is done", async () => {
  const done: number[] = [];
  expect(await perSecond(10, 3, async (at) => done.push(at))).toBeGreaterThan(0);
  expect(done.sort((one, another) => one - another)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  let count = 0;
  expect(await repeating(() => (count += 1), 1).round()).toBeGreaterThan(0);
  expect(count % 8).toBe(0);
});

test("what the machine gives to others is not counted", async () => {
  // Of 20 ms with nothing to do: a clock on the wall would make fifty a second of it at the most.
  const rate = await repeating(() => new Promise((resolve) => setTimeout(resolve, 20)), 1).round();
  expect(rate).toBeGreaterThan(50);
});

test("CPU time is told by thread, and the first round counts for nothing", async () => {
  const used = new CpuByThread();
  const work = (forUs: number) => () => {
    const before = process.threadCpuUsage();
    for (;;) {
      const { user, system } = process.threadCpuUsage(before);
      if (user + system >= forUs) return Promise.resolve("done");
    }
  };
  expect(await used.of(1, work(0))).toBe("done");
  expect(() => used.medians()).toThrow("no round");
  for (let round = 0; round < 3; round += 1) await used.of(10, work(20_000));
  const [mainUs, othersUs] = used.medians();
  expect(mainUs).toBeGreaterThanOrEqual(2_000);
  expect(othersUs).toBeGreaterThanOrEqual(0);
});
