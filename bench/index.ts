export { type ComparedLoad, type Comparison, compare } from "./compare.ts";
export { cautionsOf, htmlReport } from "./html-report.ts";
export { Latencies, type LatencySummary } from "./latencies.ts";
export { residentMib, thisMachine } from "./machine.ts";
export { arrivals, describePace, type Pace } from "./pace.ts";
export { type Plot, plotsOf } from "./plots.ts";
export { type Machine, parseReport, type Report } from "./report.ts";
export { type Load, type LoadOptions, type Progress, runLoad, type Second } from "./run-load.ts";
export { type Ask, askWithKey, SCENARIOS, type Scenario, type ScenarioContext, scenarioNamed } from "./scenarios.ts";
