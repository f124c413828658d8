/** A report as one page that needs nothing else: it can be mailed, kept, and read without a network. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { type Comparison, compare } from "./compare.ts";
import { describePace } from "./pace.ts";
import { plotsOf } from "./plots.ts";
import type { Report } from "./report.ts";

/** Draws what `#plots` holds. */
const SCRIPT = `
const isDark = matchMedia("(prefers-color-scheme: dark)");
const colours = () => (isDark.matches ? ["#6cb0ff", "#f0a35e", "#ff8a80", "#7fd08a", "#b99cf0"] : ["#1f6feb", "#b8590c", "#b3261e", "#2e7d32", "#6a3fb5"]);
const plots = JSON.parse(document.getElementById("plots").textContent).map((plot) => {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = plot.title;
  figure.append(caption);
  document.querySelector("main").append(figure);
  return { plot, figure, drawn: null };
});
const short = (value) => (value === null ? "" : value >= 1e6 ? value / 1e6 + "M" : value >= 1e4 ? value / 1e3 + "k" : String(value));
function draw(each) {
  const { plot, figure } = each;
  each.drawn?.destroy();
  const scale = (axis) => (axis.isLogarithmic ? { time: false, distr: 3 } : { time: false });
  const style = getComputedStyle(document.body);
  const axis = (label, more) => ({
    label, stroke: style.color, grid: { stroke: style.getPropertyValue("--line"), width: 1 }, ticks: { stroke: style.getPropertyValue("--line") },
    // Logarithmic axes leave marks without a value: they stay without a number.
    values: (_, marks) => marks.map((mark) => (mark === null ? "" : short(Number(mark.toPrecision(6))))), ...more,
  });
  // From zero, where it is not logarithmic: half of a figure must look like half.
  const y = plot.y.isLogarithmic ? scale(plot.y) : { time: false, range: (_, low, high) => [Math.min(0, low ?? 0), (high ?? 0) > 0 ? high * 1.05 : 1] };
  const palette = colours();
  each.drawn = new uPlot(
    {
      width: figure.clientWidth,
      height: 280,
      scales: { x: scale(plot.x), y },
      axes: [axis(plot.x.label), axis(plot.y.label, { size: 60 })],
      series: [
        { label: plot.x.label, value: (_, value) => (value === null ? "–" : String(Number(value.toPrecision(4)))) },
        ...plot.series.map((label, at) => ({
          label,
          value: (_, value) => (value === null ? "–" : String(Number(value.toPrecision(4)))),
          stroke: palette[at % palette.length],
          fill: plot.kind === "bars" ? palette[at % palette.length] + "66" : undefined,
          paths: plot.kind === "bars" ? uPlot.paths.bars({ size: [0.9, 60] }) : undefined,
          points: { show: plot.kind !== "bars" && plot.columns[0].length <= 60 },
          width: 2,
        })),
      ],
    },
    plot.columns,
    figure,
  );
}
for (const each of plots) draw(each);
isDark.addEventListener("change", () => plots.forEach(draw));
let resized;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => {
    for (const { figure, drawn } of plots) drawn.setSize({ width: figure.clientWidth, height: 280 });
  }, 100);
});
document.body.dataset.drawn = "true";
`;

const STYLE = `
:root { color-scheme: light dark; }
body { --line: #ddd; --back: #fff; font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1c1c1e; background: var(--back); }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; } th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } figure { margin: 2rem 0; } figcaption { font-weight: 600; }
.u-legend { font-size: 13px; } .uplot { max-width: 100%; }
.caution { background: #fff4e5; border-left: 4px solid #d4731a; padding: .5rem 1rem; overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) {
  body { --line: #3a3a3e; --back: #18181b; color: #e6e6ea; } .caution { background: #3a2a14; }
}
@media (max-width: 40rem) { body { margin: 1rem auto; } th, td { padding: .25rem .5rem; } }
`;

/** @param before - A run to compare with. */
export function htmlReport(report: Report, before: Report | null): string {
  const { scenario, startedAt, machine, target, wallets } = report;
  const comparison = before === null ? null : compare(before, report);
  const plots = JSON.stringify(plotsOf(report, comparison)).replaceAll("<", "\\u003c");
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escaped(`${scenario} ${startedAt}`)}</title>
<style>${uplot("uPlot.min.css")}${STYLE}</style>
<h1>${escaped(scenario)}</h1>
<p>${escaped(`${startedAt}, ${target}${wallets === 0 ? "" : `, ${wallets} wallets`}`)}<br>
${escaped(`${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB, Node ${machine.node}, ${machine.system}`)}</p>
${cautionsOf(report, comparison)
  .map((caution) => `<p class="caution">${escaped(caution)}</p>`)
  .join("\n")}
${loadsTable(report)}
${comparison === null || comparison.rows.length === 0 ? "" : comparisonTable(comparison)}
<main></main>
<script type="application/json" id="plots">${plots}</script>
<script>${uplot("uPlot.iife.min.js")}</script>
<script>${SCRIPT}</script>
</html>
`;
}

/** What a reader must know before believing the figures. */
export function cautionsOf({ loads }: Report, comparison: Comparison | null): readonly string[] {
  const cautions = loads.flatMap((load) => {
    const about = describePace(load.pace);
    const failed = Object.entries(load.failed).map(([code, count]) => `${count} ${code}`);
    return [
      ...(failed.length === 0 ? [] : [`${about}: not all went well: ${failed.join(", ")}`]),
      ...(load.done === 0 && failed.length === 0
        ? [`${about}: no request was due and answered in the measured time: measure longer`]
        : []),
      ...(load.generatorBusy > 0.9
        ? [
            `${about}: the load generator was ${Math.round(load.generatorBusy * 100)}% busy and may have measured itself`,
          ]
        : []),
    ];
  });
  return [...cautions, ...(comparison?.cautions ?? [])];
}

function loadsTable({ loads }: Report): string {
  const heads = ["load", "answers/s", "failed", "mean ms", "50%", "90%", "99%", "99.9%", "slowest"];
  const rows = loads.map(({ pace, perSecond, failed, latency }) => [
    describePace(pace),
    perSecond.toFixed(0),
    String(Object.values(failed).reduce((sum, each) => sum + each, 0)),
    ...[latency.meanMs, latency.p50Ms, latency.p90Ms, latency.p99Ms, latency.p999Ms, latency.maxMs].map((ms) =>
      ms.toFixed(2),
    ),
  ]);
  return table(heads, rows);
}

function comparisonTable({ rows }: Comparison): string {
  const heads = ["against the run before", "answers/s", "50%", "99%"];
  return table(
    heads,
    rows.map(({ pace, perSecond, p50, p99 }) => [
      pace,
      ...[perSecond, p50, p99].map((ratio) => `× ${ratio.toFixed(2)}`),
    ]),
  );
}

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const row = (tag: string, cells: readonly string[]) =>
    `<tr>${cells.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join("")}</tr>`;
  return `<div class="scroll"><table>${row("th", heads)}${rows.map((cells) => row("td", cells)).join("")}</table></div>`;
}

function uplot(file: string): string {
  return readFileSync(join(dirname(createRequire(import.meta.url).resolve("uplot")), file), "utf8");
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
