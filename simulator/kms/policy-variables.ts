/** `${aws:PrincipalArn}` and its like (IAM User Guide, "Policy variables and tags"), in policies of 2012-10-17. */
import type { RequestContext } from "./conditions.ts";
import type { PatternPiece } from "./wildcard.ts";

/** `${key}`, `${key, 'default'}`, and `${*}`, `${?}`, `${$}` for the characters themselves. */
const VARIABLE = /\$\{(?:([*?$])|([A-Za-z0-9-]+:[A-Za-z0-9:/._-]+)(?:, ?'([^']*)')?)\}/;

/** Whether every `${` in a text starts a variable that IAM knows the form of. */
export function variablesAreWellFormed(text: string): boolean {
  return !text.replaceAll(new RegExp(VARIABLE, "g"), "").includes("${");
}

/**
 * Puts the request's values in place of the variables. What comes from the request is literal: a star in a user's name
 * is no wildcard.
 *
 * @returns Null if a variable's key is absent and has no default, or has several values.
 */
export function expandVariables(text: string, context: RequestContext): PatternPiece[] | null {
  const pieces: PatternPiece[] = [];
  let from = 0;
  for (const { index, 0: whole, 1: character, 2: key = "", 3: fallback } of text.matchAll(new RegExp(VARIABLE, "g"))) {
    const values = character !== undefined ? [character] : (context.get(key.toLowerCase()) ?? []);
    const value = values.length > 1 ? undefined : (values[0] ?? fallback);
    if (value === undefined) return null;
    pieces.push({ text: text.slice(from, index), literal: false }, { text: value, literal: true });
    from = index + whole.length;
  }
  return [...pieces, { text: text.slice(from), literal: false }];
}
