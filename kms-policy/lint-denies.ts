/** What the Denies leave open: an Allow can come later, or from a grant, and only a Deny overrules it. */
import { USE_ACTIONS } from "./actions.ts";
import { meaningOfKey } from "./condition-keys.ts";
import type { FindingCode, Report } from "./findings.ts";
import { shortList } from "./lint-shape.ts";
import { DEBUG_DOCUMENT, type LintWorld, OTHER_DOCUMENT } from "./lint-world.ts";
import type { StatementTree } from "./policy-tree.ts";
import { conditionsHold, type ProbeDocument } from "./probe.ts";

/** The ways round attestation that a symmetric key has, and what ends in them. */
const WAYS_ROUND = [
  ...["kms:CreateGrant", "kms:DisableKey", "kms:Encrypt", "kms:GenerateDataKeyWithoutPlaintext"],
  ...["kms:ImportKeyMaterial", "kms:PutKeyPolicy", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:ReplicateKey"],
  "kms:ScheduleKeyDeletion",
] as const;

export function lintDenies(world: LintWorld, report: Report): void {
  lintAttestation(world, report);
  const open = WAYS_ROUND.filter((action) =>
    world.others.some((caller) => !world.isDenied({ caller, action, document: null })),
  );
  if (open.length > 0) report("MISSING_DENY", world.policy.at, `not denied to everybody else: ${open.join(", ")}`);
  for (const statement of world.denies) lintReach(statement, world, report);
  if (world.isTooComplex) report("TOO_COMPLEX", world.policy.at, "not every combination of PCRs was tried");
}

function lintAttestation(world: LintWorld, report: Report): void {
  const found = new Map<FindingCode, string[]>();
  for (const action of USE_ACTIONS) {
    const code = gapOf(action, world);
    if (code !== null) found.set(code, [...(found.get(code) ?? []), action]);
  }
  for (const [code, actions] of found) {
    const deny = world.denies.find(({ conditions }) =>
      conditions.some(({ key }) => meaningOfKey(key.value).kind === "pcr"),
    );
    const message = `${shortList(actions)}: ${GAPS[code] ?? ""}`;
    report(code, deny?.at ?? world.policy.at, message, deny?.label ?? null);
  }
}

const GAPS: Partial<Record<FindingCode, string>> = {
  MISSING_ATTESTATION_DENY: "no Deny stops a request without a document",
  DENY_MISSES_OTHER_IMAGES: "no Deny stops another image's document",
  DENY_MISSES_MIXED_SETS: "no Deny stops some document that no Allow admits, such as one with values of two sets",
};

function gapOf(action: string, world: LintWorld): FindingCode | null {
  const isOpen = (document: ProbeDocument) =>
    world.callers.some((caller) => !world.isDenied({ caller, action, document }));
  if (isOpen(null)) return "MISSING_ATTESTATION_DENY";
  const isWanted = (document: ProbeDocument) =>
    world.allows.some((statement) =>
      world.callers.some((caller) => world.mayApply(statement, { caller, action, document })),
    );
  const open = world.documents.filter((document) => isOpen(document) && !isWanted(document));
  if (open.includes(OTHER_DOCUMENT) || open.includes(DEBUG_DOCUMENT)) return "DENY_MISSES_OTHER_IMAGES";
  return open.length > 0 ? "DENY_MISSES_MIXED_SETS" : null;
}

function lintReach(statement: StatementTree, world: LintWorld, report: Report): void {
  const actions = world.actionsOf(statement);
  const callers = world.callersOf(statement);
  if (actions.length === 0 || callers.length === 0) return;
  const isIdle = actions.every((action) =>
    callers.every((caller) =>
      world.documents.every((document) => conditionsHold(statement, { caller, action, document }) === "no"),
    ),
  );
  if (isIdle)
    report("UNREACHABLE_STATEMENT", statement.at, "its condition is never met: it denies nothing", statement.label);
}
