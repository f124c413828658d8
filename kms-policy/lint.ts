/** Reads a key policy as an attacker would, and says where it is open. */
import { FINDINGS, type Finding, type Report } from "./findings.ts";
import { MAX_POLICY_BYTES } from "./generate.ts";
import { JsonSyntaxError, parseJsonTree, positionOf } from "./json-tree.ts";
import { lintAllows } from "./lint-allows.ts";
import { lintConditions } from "./lint-conditions.ts";
import { lintDenies } from "./lint-denies.ts";
import { lintShape } from "./lint-shape.ts";
import { LintWorld } from "./lint-world.ts";
import { readPolicyTree } from "./policy-tree.ts";

export interface LintOptions {
  /** Who may change the policy. Left out: whoever alone is named for kms:PutKeyPolicy. */
  readonly breakGlassRoleArn?: string;
  /** Left out: statements whose Resource is not "*" are taken to miss the key in a Deny and to hit it in an Allow. */
  readonly keyArn?: string;
}

/**
 * Finds every hole that this module knows, in the order of the text. An empty answer is no proof: the linter does not see
 * IAM policies, grants that exist, or who may assume the roles.
 *
 * @param text - The policy as it goes to KMS, or came from it.
 */
export function lintKeyPolicy(text: string, options: LintOptions = {}): Finding[] {
  const found: { readonly at: number; readonly finding: Finding }[] = [];
  const report: Report = (code, at, message, statement = null) => {
    const { severity, attack, repair } = FINDINGS[code];
    found.push({ at, finding: { code, severity, ...positionOf(text, at), statement, message, attack, repair } });
  };
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > MAX_POLICY_BYTES) report("POLICY_TOO_LARGE", 0, `${bytes} bytes, KMS takes ${MAX_POLICY_BYTES}`);
  // KMS API Reference, PutKeyPolicy, "Policy": tab, line ends, and the printable characters up to U+00FF.
  const foreign = /[^\t\n\r\x20-\xff]/u.exec(text);
  if (foreign !== null) {
    const point = foreign[0].codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0") ?? "";
    report("INVALID_CHARACTER", foreign.index, `U+${point}, which KMS does not take`);
  }
  try {
    lintTree(text, options, report);
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    report("MALFORMED_JSON", error.at, error.message);
  }
  return found.sort((a, b) => a.at - b.at).map(({ finding }) => finding);
}

function lintTree(text: string, { breakGlassRoleArn, keyArn: givenKey }: LintOptions, report: Report): void {
  const keyArn = givenKey ?? null;
  const policy = readPolicyTree(parseJsonTree(text), report);
  if (policy.statements.length === 0) return;
  for (const statement of policy.statements) {
    lintShape(statement, keyArn, report);
    lintConditions(statement, report);
  }
  const world = new LintWorld(policy, keyArn);
  lintAllows(world, breakGlassRoleArn ?? null, report);
  lintDenies(world, report);
}
