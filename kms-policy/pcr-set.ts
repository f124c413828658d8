/** Sets of PCRs, and the two ways in which a policy must speak of them. */
import { KeyPolicyError } from "./errors.ts";

/** PCR index to 96 lower-case hex digits. A document matches if it has every value. */
export type PcrValues = ReadonlyMap<number, string>;

/** One demand, `"<index, two digits>=<hex>"`: as text, so that Terraform's template orders them the same way. */
export type Term = string;

/** aws-nitro-enclaves-nsm-api, docs/attestation_process.md 2.2: `index = 0..31`, here of SHA-384. */
const MAX_PCR_INDEX = 31;
const PCR_HEX = /^[0-9a-f]{96}$/;
/** The Deny grows with the product of the sets' sizes. An upgrade needs two sets of at most a few PCRs. */
export const MAX_SETS = 4;
export const MAX_PCRS_IN_SET = 5;

/**
 * Checks a set. It must hold PCR0 (the image), or PCR8 and PCR3 (who signed it and which role runs it); any other may
 * stand beside. Zeros pin nothing: debug mode and unsigned images show them.
 *
 * @param entries - Hex in either case.
 * @throws {@link KeyPolicyError} `INVALID_PCR`, `WEAK_PCR_SET`
 */
export function createPcrValues(entries: Iterable<readonly [index: number, hex: string]>): PcrValues {
  const set = new Map<number, string>();
  for (const [index, hex] of entries) {
    if (!Number.isInteger(index) || index < 0 || index > MAX_PCR_INDEX) {
      throw new KeyPolicyError("INVALID_PCR", `expected a PCR from 0 to ${MAX_PCR_INDEX}, got ${index}`);
    }
    if (set.has(index)) throw new KeyPolicyError("INVALID_PCR", `PCR${index} is given twice`);
    const value = hex.toLowerCase();
    if (!PCR_HEX.test(value)) {
      throw new KeyPolicyError("INVALID_PCR", `PCR${index}: expected 96 hex digits, got ${hex.length} characters`);
    }
    if (/^0+$/.test(value)) {
      throw new KeyPolicyError("INVALID_PCR", `PCR${index} is all zeros: a debug enclave or an unsigned image`);
    }
    set.set(index, value);
  }
  if (set.size > MAX_PCRS_IN_SET) {
    throw new KeyPolicyError("TOO_MANY_SETS", `expected at most ${MAX_PCRS_IN_SET} PCRs in a set, got ${set.size}`);
  }
  if (!set.has(0) && !(set.has(8) && set.has(3))) {
    const given = set.size === 0 ? "nothing" : [...set.keys()].map((index) => `PCR${index}`).join(" and ");
    throw new KeyPolicyError("WEAK_PCR_SET", `expected PCR0, or PCR8 and PCR3, in every set; got ${given}`);
  }
  return set;
}

/**
 * The sets as sorted terms, in an order that does not depend on the one given, without repetitions.
 *
 * @throws {@link KeyPolicyError} as {@link createPcrValues}; `TOO_MANY_SETS`
 */
export function termsOfSets(sets: readonly PcrValues[]): Term[][] {
  const texts = sets.map((set) =>
    [...createPcrValues(set)].map(([index, hex]) => `${String(index).padStart(2, "0")}=${hex}`).sort(),
  );
  const distinct = inOrder(texts);
  if (distinct.length > MAX_SETS) {
    throw new KeyPolicyError("TOO_MANY_SETS", `expected at most ${MAX_SETS} sets, got ${distinct.length}`);
  }
  return distinct;
}

/**
 * When a document matches none of the sets: if for some clause it differs from every term in it.
 *
 * "Not (A and B) and not (C and D)" is "not A or not B, and not C or not D". IAM joins the conditions of one statement
 * by AND and has OR only between statements, so this is multiplied out: (not A, not C), (not A, not D), (not B, not C),
 * (not B, not D). A clause that holds all terms of a shorter one says nothing more and is left out. No set: one empty
 * clause, which is always so.
 */
export function clausesOfNoMatch(sets: readonly (readonly Term[])[]): Term[][] {
  let clauses: Term[][] = [[]];
  for (const terms of sets) {
    clauses = clauses.flatMap((clause) => terms.map((term) => [...new Set([...clause, term])].sort()));
  }
  const distinct = inOrder(clauses);
  return distinct.filter((clause) =>
    distinct.every((other) => other === clause || !other.every((term) => clause.includes(term))),
  );
}

/** One key of a condition for each PCR, with all its values: `StringNotEquals` of several means none of them. */
export function conditionOf(terms: readonly Term[]): Map<string, string[]> {
  const condition = new Map<string, string[]>();
  for (const term of terms) {
    const key = `kms:RecipientAttestation:PCR${Number(term.slice(0, 2))}`;
    condition.set(key, [...(condition.get(key) ?? []), term.slice(3)]);
  }
  return condition;
}

function inOrder(lists: readonly Term[][]): Term[][] {
  const byText = new Map(lists.map((terms) => [terms.join(","), terms]));
  return [...byText].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, terms]) => terms);
}
