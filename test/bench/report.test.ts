import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cautionsOf, compare, htmlReport, parseReport, plotsOf, type Report } from "../../bench/index.ts";
import { CHROMIUM_ABSENT, launchChromium } from "../support/chromium.ts";

const LATENCY = {
  count: 20,
  meanMs: 2,
  p50Ms: 2,
  p90Ms: 3,
  p99Ms: 4,
  p999Ms: 5,
  maxMs: 6,
  bars: [[2, 12] as const, [4, 8] as const],
};
const SECOND = { atS: 1, done: 20, failed: 0, p50Ms: 2, p99Ms: 4, maxMs: 6, memoryMib: { enclave: 100 } };
const EMPTY_SECOND = { atS: 2, done: 0, failed: 3, p50Ms: 0, p99Ms: 0, maxMs: 0, memoryMib: {} };

function load(callers: number, perSecond: number): Report["loads"][number] {
  return {
    pace: { kind: "closed", callers },
    ...{ measuredS: 2, done: 20, perSecond, failed: {}, latency: LATENCY, generatorBusy: 0.5 },
    timeline: [SECOND, EMPTY_SECOND],
  };
}

const REPORT: Report = {
  ...{
    kind: "cloister-bench",
    v: 1,
    startedAt: "2026-01-02T03:04:05.000Z",
    scenario: "sign-message",
    target: "here",
    wallets: 3,
  },
  machine: { cpu: "</script><script>alert(1)</script>", cores: 2, memoryGib: 24, node: "v24", system: "Linux 6" },
  loads: [load(1, 100), load(8, 400)],
};

test("a report is read back as it was written", () => {
  expect(parseReport(JSON.stringify(REPORT))).toEqual(REPORT);
});

test.each([
  ["no JSON", "{"],
  ["another kind", JSON.stringify({ ...REPORT, kind: "other" })],
  ["another version", JSON.stringify({ ...REPORT, v: 2 })],
  ["a field more", JSON.stringify({ ...REPORT, more: 1 })],
  ["no loads", JSON.stringify({ ...REPORT, loads: [] })],
])("%s is no report", (_what, text) => {
  expect(() => parseReport(text)).toThrow();
});

test("runs are compared load by load, and what makes them differ is said", () => {
  const faster: Report = { ...REPORT, loads: [load(1, 150), load(64, 900)] };
  const { rows, cautions } = compare(REPORT, faster);
  expect(rows).toMatchObject([{ pace: "1 in flight", perSecond: 1.5, p50: 1, p99: 1 }]);
  expect(cautions).toEqual(["not all loads are in both runs"]);
  const elsewhere = { ...REPORT, wallets: 4, machine: { ...REPORT.machine, cores: 4 } };
  const [wallets, machine] = [expect.stringContaining("wallets"), expect.stringContaining("cores")];
  expect(compare(REPORT, elsewhere).cautions).toEqual([wallets, machine]);
  // Which may need no wallets at all.
  const another = expect.stringContaining("another scenario");
  expect(compare(REPORT, { ...elsewhere, scenario: "other" }).cautions).toEqual([another, machine]);
});

test("failures and a busy generator are cautioned of", () => {
  expect(cautionsOf(REPORT, null)).toEqual([]);
  const loads = [
    { ...load(1, 1), failed: { BUSY: 3 } },
    { ...load(2, 1), generatorBusy: 0.97 },
    { ...load(4, 0), done: 0 },
  ];
  expect(cautionsOf({ ...REPORT, loads }, null)).toEqual([
    expect.stringContaining("3 BUSY"),
    expect.stringContaining("97%"),
    expect.stringContaining("measure longer"),
  ]);
});

test("what is drawn: every column as long as x's, and a second without answers is a gap", () => {
  const plots = plotsOf(REPORT, compare(REPORT, REPORT));
  expect(plots.map(({ title }) => title)).toEqual([
    "Throughput against requests in flight",
    "Latency against requests in flight",
    "Latency over time, 1 in flight",
    "Latencies, 1 in flight",
    "Memory, 1 in flight",
    "Latency over time, 8 in flight",
    "Latencies, 8 in flight",
    "Memory, 8 in flight",
  ]);
  for (const { columns, series } of plots) {
    expect(columns).toHaveLength(series.length + 1);
    for (const column of columns) expect(column).toHaveLength(columns[0]?.length ?? -1);
  }
  expect(plots[0]?.columns).toEqual([
    [1, 8],
    [100, 400],
    [100, 400],
  ]);
  expect(plots[2]?.columns[1]).toEqual([2, null]);
});

test("the page brings all it needs, and nothing that it was given runs in it", () => {
  const page = htmlReport(REPORT, REPORT);
  expect(page).not.toMatch(/(?:src|href)=/);
  expect(page).not.toContain("<script>alert");
});

describe.skipIf(CHROMIUM_ABSENT)("in a browser", () => {
  let browser: Awaited<ReturnType<typeof launchChromium>>;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser.close());

  test("the page draws its plots, and neither complains nor asks the network for anything", async () => {
    const page = await browser.newPage();
    const trouble: string[] = [];
    page.on("pageerror", (error) => trouble.push(error.message));
    page.on("request", ({ url }) => trouble.push(url()));
    page.on("console", (message) => trouble.push(message.text()));
    await page.setContent(htmlReport(REPORT, REPORT));
    await page.waitForSelector("body[data-drawn=true]");
    expect(trouble).toEqual([]);
    expect(await page.locator("figure canvas").count()).toBe(8);
    expect(await page.locator("h1").textContent()).toBe("sign-message");
  });
});
