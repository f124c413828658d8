/** A policy with the callers and the documents that the linter tries on it. */
import { KEY_ACTIONS } from "./actions.ts";
import { meaningOfKey } from "./condition-keys.ts";
import type { PolicyTree, StatementTree } from "./policy-tree.ts";
import {
  type Caller,
  callersOf,
  conditionsHold,
  coversAction,
  coversKey,
  namesCaller,
  type Probe,
  type ProbeDocument,
} from "./probe.ts";

/** 4 values of 5 PCRs, and more. */
const MAX_DOCUMENTS = 2048;
const ZERO = "0".repeat(96);

/** PCR0 to 2 of every debug enclave. */
export const DEBUG_DOCUMENT: ProbeDocument = new Map([0, 1, 2].map((index) => [index, ZERO]));
export const OTHER_DOCUMENT: ProbeDocument = new Map();

export class LintWorld {
  readonly policy: PolicyTree;
  readonly allows: readonly StatementTree[];
  readonly denies: readonly StatementTree[];
  readonly callers: readonly Caller[];
  /** One in each account whom the policy does not name. */
  readonly others: readonly Caller[];
  /** None, an unknown image's, a debug enclave's, and every combination of the values that the policy names. */
  readonly documents: readonly ProbeDocument[];
  readonly isTooComplex: boolean;
  readonly #keyArn: string | null;

  constructor(policy: PolicyTree, keyArn: string | null) {
    this.policy = policy;
    this.allows = policy.statements.filter(({ effect }) => effect === "Allow");
    this.denies = policy.statements.filter(({ effect }) => effect === "Deny");
    const { all, others } = callersOf(policy);
    this.callers = all;
    this.others = others;
    const combinations = combinationsOf(valuesOf(policy));
    this.isTooComplex = combinations === null;
    this.documents = [null, OTHER_DOCUMENT, DEBUG_DOCUMENT, ...(combinations ?? setsOf(policy))];
    this.#keyArn = keyArn;
  }

  /** Whether the statement may apply: what is not known counts as if it held. */
  mayApply(statement: StatementTree, probe: Probe): boolean {
    return this.#names(statement, probe) && conditionsHold(statement, probe) !== "no";
  }

  /** Whether some Deny applies for certain. */
  isDenied(probe: Probe): boolean {
    return this.denies.some(
      (statement) =>
        namesCaller(statement, probe.caller) &&
        coversAction(statement, probe.action) &&
        coversKey(statement, this.#keyArn) === "yes" &&
        conditionsHold(statement, probe) === "yes",
    );
  }

  /** Whether this Allow may let the request through. */
  admits(statement: StatementTree, probe: Probe): boolean {
    return this.mayApply(statement, probe) && !this.isDenied(probe);
  }

  actionsOf(statement: StatementTree): readonly string[] {
    return KEY_ACTIONS.filter((action) => coversAction(statement, action));
  }

  callersOf(statement: StatementTree): readonly Caller[] {
    return this.callers.filter((caller) => namesCaller(statement, caller));
  }

  #names(statement: StatementTree, { caller, action }: Probe): boolean {
    return (
      namesCaller(statement, caller) && coversAction(statement, action) && coversKey(statement, this.#keyArn) !== "no"
    );
  }
}

function valuesOf({ statements }: PolicyTree): Map<number, Set<string>> {
  const values = new Map<number, Set<string>>();
  for (const statement of statements) {
    for (const [index, found] of pcrsOf(statement)) {
      values.set(index, new Set([...(values.get(index) ?? []), ...found]));
    }
  }
  return values;
}

/** The well-formed values that a statement names. */
function pcrsOf({ conditions }: StatementTree): Map<number, string[]> {
  const pcrs = new Map<number, string[]>();
  for (const { key, values } of conditions) {
    const meaning = meaningOfKey(key.value);
    if (meaning.kind !== "pcr") continue;
    const found = values.map(({ value }) => value.toLowerCase()).filter((value) => /^[0-9a-f]{96}$/.test(value));
    pcrs.set(meaning.index, [...(pcrs.get(meaning.index) ?? []), ...found]);
  }
  return pcrs;
}

function combinationsOf(values: ReadonlyMap<number, ReadonlySet<string>>): ProbeDocument[] | null {
  let documents: ReadonlyMap<number, string>[] = [new Map()];
  for (const [index, found] of values) {
    documents = documents.flatMap((document) => [
      document,
      ...[...found].map((value) => new Map([...document, [index, value]])),
    ]);
    if (documents.length > MAX_DOCUMENTS) return null;
  }
  return documents;
}

/** Too many to combine: what each statement names first. */
function setsOf({ statements }: PolicyTree): ProbeDocument[] {
  return statements.map(
    (statement) =>
      new Map([...pcrsOf(statement)].flatMap(([index, [first]]) => (first === undefined ? [] : [[index, first]]))),
  );
}
