/** Faults as data: rules from a JSON file, so that a client's bad day can be repeated exactly. */
import { type JsonValue, parseStrictJson } from "../../protocol/index.ts";
import { isKmsErrorCode, KmsError } from "./errors.ts";
import type { KmsFault, KmsFaultPlan } from "./server-options.ts";

interface Rule {
  /** `*`: every one. */
  readonly operation: string;
  /** How often it strikes, of a hundred times. */
  readonly percent: number;
  /** Requests of its operation that it lets pass first. */
  readonly after: number;
  /** How many it strikes at most; null: no limit. */
  readonly times: number | null;
  readonly delayMs: readonly [min: number, max: number];
  readonly error: KmsFault | null;
  /** Members of the answer to put in place of the true ones; null takes one away. */
  readonly answer: Readonly<Record<string, JsonValue>> | null;
}

const RULE_FIELDS = ["operation", "percent", "after", "times", "delayMs", "error", "answer"];

/**
 * Reads `{"seed": 1, "rules": [{"operation": "Decrypt", "error": "ThrottlingException", "times": 2}]}`. The first rule
 * that strikes decides; the same seed and the same requests give the same faults.
 *
 * @throws {@link KmsError} `ValidationException`, saying where.
 */
export function parseFaultScript(text: string): (operation: string) => KmsFaultPlan {
  let json: JsonValue;
  try {
    json = parseStrictJson(Buffer.from(text, "utf8"));
  } catch (cause) {
    throw new KmsError("ValidationException", "the faults are not one JSON object", { cause });
  }
  const script = objectOf("the faults", json, ["seed", "rules"]);
  const rules = script["rules"];
  if (!Array.isArray(rules)) return invalid("rules: expected a list");
  const random = randomFrom(numberIn("seed", script["seed"] ?? 1, 0, 2 ** 32 - 1));
  return planner(
    rules.map((rule, index) => parseRule(`rules[${index}]`, rule)),
    random,
  );
}

/** Delays every answer by a time between the two, both in milliseconds. */
export function latencyPlan(
  delayMs: readonly [min: number, max: number],
  seed = 1,
): (operation: string) => KmsFaultPlan {
  const rule = { operation: "*", percent: 100, after: 0, times: null, delayMs, error: null, answer: null };
  return planner([rule], randomFrom(seed));
}

function planner(rules: readonly Rule[], random: () => number): (operation: string) => KmsFaultPlan {
  const counters = rules.map(() => ({ seen: 0, struck: 0 }));
  return (operation) => {
    for (const [index, rule] of rules.entries()) {
      const counter = counters[index];
      if (counter === undefined || (rule.operation !== "*" && rule.operation !== operation)) continue;
      counter.seen += 1;
      if (counter.seen <= rule.after || (rule.times !== null && counter.struck >= rule.times)) continue;
      if (random() * 100 >= rule.percent) continue;
      counter.struck += 1;
      return planOf(rule, random);
    }
    return {};
  };
}

function planOf({ delayMs: [min, max], error, answer }: Rule, random: () => number): KmsFaultPlan {
  return {
    delayMs: min + Math.floor(random() * (max - min + 1)),
    ...(error === null ? {} : { fail: error }),
    ...(answer === null ? {} : { rewriteAnswer: (honest) => withMembers(honest, answer) }),
  };
}

function withMembers(honest: Readonly<Record<string, unknown>>, changes: Readonly<Record<string, JsonValue>>) {
  return Object.fromEntries(Object.entries({ ...honest, ...changes }).filter(([name]) => changes[name] !== null));
}

function parseRule(at: string, json: JsonValue): Rule {
  const fields = objectOf(at, json, RULE_FIELDS);
  const operation = fields["operation"] ?? "*";
  if (typeof operation !== "string") return invalid(`${at}.operation: expected a string`);
  const error = fields["error"] ?? null;
  if (error !== null && !(typeof error === "string" && (isKmsErrorCode(error) || error === "CONNECTION_RESET"))) {
    return invalid(`${at}.error: expected the name of an error of KMS, or CONNECTION_RESET`);
  }
  const answer = fields["answer"];
  return {
    operation,
    percent: numberIn(`${at}.percent`, fields["percent"] ?? 100, 0, 100),
    after: numberIn(`${at}.after`, fields["after"] ?? 0, 0, 1e9),
    times: fields["times"] === undefined ? null : numberIn(`${at}.times`, fields["times"], 0, 1e9),
    delayMs: parseDelay(`${at}.delayMs`, fields["delayMs"] ?? 0),
    error,
    answer: answer === undefined ? null : objectOf(`${at}.answer`, answer),
  };
}

function parseDelay(at: string, json: JsonValue): readonly [number, number] {
  const [min, max, ...others] = Array.isArray(json) ? json : [json, json];
  const pair = [numberIn(at, min, 0, 600_000), numberIn(at, max, 0, 600_000)] as const;
  if (others.length > 0 || pair[0] > pair[1]) invalid(`${at}: expected milliseconds, or a list of least and most`);
  return pair;
}

function numberIn(at: string, json: JsonValue | undefined, min: number, max: number): number {
  if (typeof json !== "number" || json < min || json > max) return invalid(`${at}: expected ${min} to ${max}`);
  return json;
}

function objectOf(at: string, json: JsonValue, allowed?: readonly string[]): Readonly<Record<string, JsonValue>> {
  if (typeof json !== "object" || json === null || Array.isArray(json)) return invalid(`${at}: expected an object`);
  for (const name of Object.keys(json)) {
    if (allowed?.includes(name) === false) invalid(`${at}: ${JSON.stringify(name)}: expected ${allowed.join(", ")}`);
  }
  return json;
}

/** Mulberry32: small and repeatable; nothing here needs to be unpredictable. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function invalid(why: string): never {
  throw new KmsError("ValidationException", why);
}
