/**
 * Measures a set of parts, or some of them, prints their tables, and with --write puts those of a whole set into
 * docs/performance.json and from there into docs/performance.md. `--page` writes the pages anew from the figures that are there.
 */
import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { thisMachine } from "../bench/index.ts";
import { secp256k1Binding } from "../enclave/signing/secp256k1.ts";
import { writeCost } from "./bench/cost.ts";
import { type Figures, type Run, readFigures, type Section, type SetName, writeFigures } from "./bench/figures.ts";
import { tableOf, writePage } from "./bench/page.ts";
import type { Part } from "./bench/part.ts";
import { partNamed, SETS } from "./bench/parts.ts";
import type { Order, Word } from "./bench/run-part.ts";

const { values } = parseArgs({
  options: {
    set: { type: "string", default: "standard" },
    parts: { type: "string" },
    /** `part=1,2`: how many wallets, users, connections or enclaves that part takes in place of its own. */
    "sizes-of": { type: "string", default: "" },
    quick: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
    page: { type: "boolean", default: false },
  },
});

if (values.page) writePages(readFigures());
else await measureAll();

async function measureAll(): Promise<void> {
  const set = setNamed(values.set);
  const parts = values.parts === undefined ? SETS[set] : values.parts.split(",").map(partNamed);
  // One head tells of the machine and its load for all tables of a set: they must come of one run.
  if (values.write && (values.quick || values.parts !== undefined)) {
    throw new Error("only a whole set is written down, and no quick one");
  }
  const [sized, sizes] = values["sizes-of"].split("=");
  const startedAt = performance.now();
  const before = loadOfNow();
  const measuredAt = new Date().toISOString();
  const sections: Section[] = [];
  for (const part of parts) {
    const isSized = part.name === sized && sizes !== undefined && sizes !== "";
    const more = await measure(part, {
      ...{ part: part.name, isQuick: values.quick, earlier: sections },
      sizes: isSized ? sizes.split(",").map(Number) : null,
    });
    for (const section of more) console.log(`\n${tableOf(section)}`);
    sections.push(...more);
  }
  const run: Run = {
    ...{ measuredAt, commit: commit(), tookS: Math.round((performance.now() - startedAt) / 1000) },
    machine: { ...thisMachine(), openssl: opensslVersion(), secp256k1: secp256k1Binding },
    load: { before, after: loadOfNow() },
    sections,
  };
  const { machine, load, tookS } = run;
  console.log(
    `\n${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, load ${load.before} before and ${load.after} after; ${tookS} s`,
  );
  if (!values.write) return;
  const known = readFigures();
  const figures: Figures = { ...known, [set]: run };
  writeFigures(figures);
  writePages(figures);
  console.log("written: docs/performance.json, docs/performance.md, docs/cost.md");
}

function writePages(figures: Figures): void {
  writePage(figures);
  if (figures.standard !== null) writeCost(figures);
}

/** In a process of its own, which is ended where it takes too long. */
async function measure(part: Part, order: Order): Promise<readonly Section[]> {
  process.stderr.write(`${part.name} …\n`);
  const child = fork(join(import.meta.dirname, "bench/run-part.ts"), [], { stdio: "inherit" });
  const limit = setTimeout(() => child.kill("SIGKILL"), part.limitMs);
  let sections: readonly Section[] | null = null;
  child.on("message", (word: Word) => {
    if ("say" in word) process.stderr.write(`  ${word.say}\n`);
    else sections = word.sections;
  });
  child.send(order);
  await once(child, "exit");
  clearTimeout(limit);
  if (sections === null) throw new Error(`${part.name} ended without figures`);
  return sections;
}

function setNamed(name: string): SetName {
  if (name !== "standard" && name !== "growth") throw new Error("--set: expected standard or growth");
  return name;
}

function loadOfNow(): number {
  return Number((loadavg()[0] ?? 0).toFixed(1));
}

function commit(): string {
  try {
    const git = (...args: string[]) => execFileSync("git", args, { encoding: "utf8" }).trim();
    const changed = git("status", "--porcelain", "--untracked-files=no", "--", ":!docs");
    return git("rev-parse", "--short=12", "HEAD") + (changed === "" ? "" : "+");
  } catch {
    return "an unknown commit";
  }
}

/** Of the machine, which `openssl speed` measures. */
function opensslVersion(): string {
  try {
    return execFileSync("openssl", ["version"], { encoding: "utf8" }).split(" ").slice(0, 2).join(" ");
  } catch {
    return "no openssl";
  }
}
