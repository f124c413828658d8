/** Writes the tables of docs/cost.md from docs/cost-inputs.json, or prints them for `--inputs` of one's own. */
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { costSections, parseInputs } from "./bench/cost.ts";
import { readFigures } from "./bench/figures.ts";
import { between, tableOf } from "./bench/page.ts";

const { values } = parseArgs({ options: { inputs: { type: "string" } } });
const text = costSections(parseInputs(readFileSync(values.inputs ?? "docs/cost-inputs.json", "utf8")), readFigures())
  .map(tableOf)
  .join("\n\n");
if (values.inputs === undefined) {
  writeFileSync("docs/cost.md", between(readFileSync("docs/cost.md", "utf8"), "make cost", text));
  console.log("written: docs/cost.md");
} else console.log(text);
