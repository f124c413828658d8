/** Writes the tables of docs/cost.md from docs/cost-inputs.json, or prints them for `--inputs` of one's own. */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { costText, parseInputs, writeCost } from "./bench/cost.ts";
import { readFigures } from "./bench/figures.ts";

const { values } = parseArgs({ options: { inputs: { type: "string" } } });
if (values.inputs === undefined) writeCost(readFigures());
else console.log(costText(parseInputs(readFileSync(values.inputs, "utf8")), readFigures()));
