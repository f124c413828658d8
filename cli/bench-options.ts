/** Options of `cloister bench`. */
import { type Pace, SCENARIOS, type Scenario, scenarioNamed } from "../bench/index.ts";
import type { TargetOptions } from "./bench-target.ts";
import { UsageError } from "./command-io.ts";
import { parseOptions } from "./command-options.ts";
import { ENCLAVE_HELP, ENCLAVE_OPTIONS } from "./enclave-options.ts";
import { PASSPHRASE_HELP, PASSPHRASE_OPTIONS } from "./passphrase.ts";

export const HELP = `Usage: cloister bench [SCENARIO] [options]
       cloister bench compare BEFORE.json AFTER.json [--at-least RATIO]

Puts load on a deployment, or on a simulator of its own, and measures what a caller sees: every request is stamped,
every answer is verified.

Scenarios (the first unless given):
${SCENARIOS.map(({ name, what }) => `  ${name.padEnd(18)}${what}`).join("\n")}

Where; without --url a simulator is started for the run:
${ENCLAVE_HELP}
  --app ID             whose API key asks
  --key FILE           that API key, which must be allowed what the scenario asks for
${PASSPHRASE_HELP}

How much:
  --concurrency N[,N]  so many callers, each waiting for its answer (32 unless given); several make several loads
  --rate R[,R]         R requests a second, whatever the answers: latency counts from when a request was due
  --duration S         seconds that are measured, of each load (10)
  --warm-up S          seconds before that (2)
  --wallets N          wallets that requests are spread over (10); they are made first, and stay
  --users N            users of the simulator's who ask in turn (1), of scenarios that need no wallets
  --chain ID           EIP-155 chain of what is signed (1)

What comes of it, beside the table:
  --json FILE          the whole run, for "compare" and programs
  --html FILE          one page with plots, which needs no network
  --compare FILE       an earlier run's --json: shows ratios to it, here and on the page
  --at-least RATIO     of --compare and compare: fail if a load has less than so much of the earlier one's answers a
                       second (0.8, say), or if no load is in both
  --help               show this

Exit status: 0 measured, 1 some requests failed, none was answered, the deployment could not be reached, or there was less
than --at-least, 2 wrong usage.
`;

const MAX_CALLERS = 4096;
const MAX_PER_SECOND = 1_000_000;
const MAX_SECONDS = 7 * 86_400;
const MAX_WALLETS = 10_000_000;
const MAX_USERS = 10_000;
const MAX_RATIO = 1_000;

export interface BenchOptions {
  readonly scenario: Scenario;
  readonly target: TargetOptions;
  readonly paces: readonly Pace[];
  readonly durationS: number;
  readonly warmUpS: number;
  readonly wallets: number;
  readonly chainId: string;
  readonly json: string | undefined;
  readonly html: string | undefined;
  readonly compareWith: string | undefined;
  /** Undefined: whatever comes of the comparison is no failure. */
  readonly atLeast: number | undefined;
}

/** @returns Null where help was asked for. @throws {@link UsageError} */
export function readOptions(args: readonly string[]): BenchOptions | null {
  const { values, positionals } = parseOptions(args, {
    ...ENCLAVE_OPTIONS,
    ...PASSPHRASE_OPTIONS,
    app: { type: "string" },
    key: { type: "string" },
    concurrency: { type: "string" },
    rate: { type: "string" },
    duration: { type: "string", default: "10" },
    "warm-up": { type: "string", default: "2" },
    wallets: { type: "string", default: "10" },
    users: { type: "string", default: "1" },
    chain: { type: "string", default: "1" },
    json: { type: "string" },
    html: { type: "string" },
    compare: { type: "string" },
    "at-least": { type: "string" },
    help: { type: "boolean", default: false },
  });
  if (values.help) return null;
  const [name = SCENARIOS[0]?.name ?? "", ...others] = positionals;
  const scenario = scenarioNamed(name);
  if (scenario === undefined || others.length > 0) {
    throw new UsageError(`expected one of ${SCENARIOS.map((each) => each.name).join(", ")}`);
  }
  if (values.url === undefined && (values.app ?? values.key) !== undefined) {
    throw new UsageError("--app and --key are of a deployment: give --url too");
  }
  if (!/^[1-9][0-9]{0,77}$/.test(values.chain)) throw new UsageError("--chain: expected a decimal number");
  const users = wholeOf(values.users, "--users", MAX_USERS);
  if (users > 1 && (values.url !== undefined || scenario.needsWallets)) {
    throw new UsageError("--users: of a simulator, and of scenarios that need no wallets");
  }
  const durationS = numberOf(values.duration, "--duration", MAX_SECONDS);
  if (durationS === 0) throw new UsageError("--duration: expected more than 0 seconds");
  return {
    scenario,
    target: { ...values, users },
    paces: pacesOf(values.concurrency, values.rate),
    durationS,
    warmUpS: numberOf(values["warm-up"], "--warm-up", MAX_SECONDS),
    wallets: wholeOf(values.wallets, "--wallets", MAX_WALLETS),
    chainId: values.chain,
    ...{ json: values.json, html: values.html, compareWith: values.compare },
    atLeast: atLeastOf(values["at-least"], values.compare),
  };
}

export interface CompareOptions {
  readonly before: string;
  readonly after: string;
  readonly atLeast: number | undefined;
}

/** @returns Null where help was asked for. @throws {@link UsageError} */
export function readCompareOptions(args: readonly string[]): CompareOptions | null {
  const { values, positionals } = parseOptions(args, {
    "at-least": { type: "string" },
    help: { type: "boolean", default: false },
  });
  if (values.help) return null;
  const [before, after, ...others] = positionals;
  if (before === undefined || after === undefined || others.length > 0) {
    throw new UsageError("expected compare BEFORE.json AFTER.json");
  }
  return { before, after, atLeast: atLeastOf(values["at-least"], before) };
}

function atLeastOf(text: string | undefined, before: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (before === undefined) throw new UsageError("--at-least: of what? give --compare FILE too");
  return numberOf(text, "--at-least", MAX_RATIO);
}

function pacesOf(concurrency: string | undefined, rate: string | undefined): readonly Pace[] {
  const closed = listOf(concurrency).map(
    (text): Pace => ({ kind: "closed", callers: wholeOf(text, "--concurrency", MAX_CALLERS) }),
  );
  const open = listOf(rate).map((text): Pace => {
    const perSecond = numberOf(text, "--rate", MAX_PER_SECOND);
    if (perSecond === 0) throw new UsageError("--rate: expected more than 0 a second");
    return { kind: "open", perSecond };
  });
  return closed.length + open.length === 0 ? [{ kind: "closed", callers: 32 }] : [...closed, ...open];
}

function listOf(text: string | undefined): readonly string[] {
  return text === undefined ? [] : text.split(",");
}

function wholeOf(text: string, option: string, max: number): number {
  const value = numberOf(text, option, max);
  if (!Number.isInteger(value) || value === 0) throw new UsageError(`${option}: expected whole numbers above 0`);
  return value;
}

function numberOf(text: string, option: string, max: number): number {
  if (!/^[0-9]{1,9}(?:\.[0-9]{1,3})?$/.test(text) || Number(text) > max) {
    throw new UsageError(`${option}: expected a number up to ${max}`);
  }
  return Number(text);
}
