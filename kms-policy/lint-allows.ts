/** What each Allow opens, once every Deny has been taken into account. */
import { ATTESTABLE_ACTIONS, DESCRIPTION_ACTIONS, TAGGING_ACTIONS, USE_ACTIONS } from "./actions.ts";
import type { FindingCode, Report } from "./findings.ts";
import { shortList } from "./lint-shape.ts";
import { type LintWorld, OTHER_DOCUMENT } from "./lint-world.ts";
import type { StatementTree } from "./policy-tree.ts";
import {
  type Caller,
  conditionsHold,
  describeCaller,
  namesAccount,
  namesHimself,
  type ProbeDocument,
} from "./probe.ts";
import { matchesPattern } from "./wildcard.ts";

/** Nobody may have these but by an attested document. */
const UNATTESTED: Readonly<Record<string, FindingCode>> = {
  "kms:Decrypt": "UNATTESTED_DECRYPT",
  "kms:GenerateDataKey": "UNATTESTED_GENERATE_DATA_KEY",
};

/** Nobody may have these at all. */
const FORBIDDEN: Readonly<Record<string, FindingCode>> = {
  "kms:CreateGrant": "CREATE_GRANT_ALLOWED",
  "kms:Decapsulate": "UNATTESTABLE_USE_ALLOWED",
  "kms:DeleteImportedKeyMaterial": "KEY_MATERIAL_IMPORT_ALLOWED",
  "kms:Encapsulate": "UNATTESTABLE_USE_ALLOWED",
  "kms:Encrypt": "ENCRYPT_ALLOWED",
  "kms:GenerateDataKeyPairWithoutPlaintext": "BLOB_WITHOUT_PLAINTEXT_ALLOWED",
  "kms:GenerateDataKeyWithoutPlaintext": "BLOB_WITHOUT_PLAINTEXT_ALLOWED",
  "kms:GenerateMac": "UNATTESTABLE_USE_ALLOWED",
  "kms:GetParametersForImport": "KEY_MATERIAL_IMPORT_ALLOWED",
  "kms:ImportKeyMaterial": "KEY_MATERIAL_IMPORT_ALLOWED",
  "kms:ReEncryptFrom": "RE_ENCRYPT_ALLOWED",
  "kms:ReEncryptTo": "RE_ENCRYPT_ALLOWED",
  "kms:ReplicateKey": "REPLICATION_ALLOWED",
  "kms:Sign": "UNATTESTABLE_USE_ALLOWED",
  "kms:SynchronizeMultiRegionKey": "REPLICATION_ALLOWED",
  "kms:UpdatePrimaryRegion": "REPLICATION_ALLOWED",
  "kms:Verify": "UNATTESTABLE_USE_ALLOWED",
  "kms:VerifyMac": "UNATTESTABLE_USE_ALLOWED",
};

/** The break-glass role alone may have these. */
const RESERVED: Readonly<Record<string, FindingCode>> = {
  "kms:DisableKey": "KEY_DESTRUCTION_BY_OTHERS",
  "kms:PutKeyPolicy": "POLICY_CHANGE_BY_OTHERS",
  "kms:ScheduleKeyDeletion": "KEY_DESTRUCTION_BY_OTHERS",
};

const HARMLESS: ReadonlySet<string> = new Set([...DESCRIPTION_ACTIONS, ...TAGGING_ACTIONS]);

/** @param breakGlassArn - Null: whoever alone is named for PutKeyPolicy. */
export function lintAllows(world: LintWorld, breakGlassArn: string | null, report: Report): void {
  const breakGlass = breakGlassArn ?? soleManager(world);
  for (const statement of world.allows) {
    lintExposure(statement, world, breakGlass, report);
    lintReach(statement, world, report);
  }
  lintBreakGlass(world, breakGlass, breakGlassArn !== null, report);
}

function soleManager(world: LintWorld): string | null {
  const managers = new Set(
    world.allows.flatMap((statement) =>
      world.callers.filter((caller) => namesHimself(statement, caller) && mayManage(world, [statement], caller)),
    ),
  );
  const [manager, ...more] = managers;
  return manager === undefined || more.length > 0 ? null : manager.name;
}

function mayManage(world: LintWorld, statements: readonly StatementTree[], caller: Caller): boolean {
  const probe = { caller, action: "kms:PutKeyPolicy", document: null };
  return statements.some((statement) => world.admits(statement, probe));
}

/** Collected by code, so that "kms:*" is one finding of each kind and not fifty. */
function lintExposure(statement: StatementTree, world: LintWorld, breakGlass: string | null, report: Report): void {
  const found = new Map<FindingCode, { readonly actions: Set<string>; readonly callers: Set<string> }>();
  const byAccount = new Set<string>();
  const isByAccount = statement.principals.items.some(namesAccount) || statement.principals.isNegated;
  for (const action of world.actionsOf(statement).filter((name) => !HARMLESS.has(name))) {
    for (const caller of world.callersOf(statement)) {
      const code = exposureOf(statement, world, action, caller, breakGlass);
      const isDelegated = isByAccount && !namesHimself(statement, caller);
      if (isDelegated && world.admits(statement, { caller, action, document: null })) byAccount.add(action);
      if (code === null) continue;
      const { actions, callers } = found.get(code) ?? { actions: new Set(), callers: new Set() };
      found.set(code, { actions: actions.add(action), callers: callers.add(describeCaller(caller)) });
    }
  }
  if (byAccount.size > 0 && !statement.principals.isNegated) {
    const at = statement.principals.items.find(namesAccount)?.at ?? statement.principals.at;
    report("ACCOUNT_ROOT_DELEGATION", at, `the account may pass on ${shortList([...byAccount])}`, statement.label);
  }
  for (const [code, { actions, callers }] of found) {
    const message = `${shortList([...callers])} may call ${shortList([...actions])}`;
    report(code, placeOf(statement, [...actions]), message, statement.label);
  }
}

function exposureOf(
  statement: StatementTree,
  world: LintWorld,
  action: string,
  caller: Caller,
  breakGlass: string | null,
): FindingCode | null {
  const admits = (document: ProbeDocument) => world.admits(statement, { caller, action, document });
  if (!ATTESTABLE_ACTIONS.has(action)) {
    if (!admits(null)) return null;
    return FORBIDDEN[action] ?? (caller.name === breakGlass ? null : (RESERVED[action] ?? null));
  }
  if (admits(null)) return UNATTESTED[action] ?? "UNATTESTED_OTHER_USE";
  if (admits(OTHER_DOCUMENT)) return "ANY_IMAGE_ADMITTED";
  return world.documents.some((document) => isWeak(document) && admits(document)) ? "WEAK_IDENTITY" : null;
}

/** As in attestation/: PCR0 is all of an image, PCR1 and PCR2 its two parts, PCR8 who signed it. Zeros are told apart. */
function isWeak(document: ProbeDocument): boolean {
  if (document === null || [...document.values()].some((value) => /^0+$/.test(value))) return false;
  const has = (index: number) => document.has(index);
  return !(has(0) || (has(1) && has(2)) || (has(8) && document.size > 1));
}

function placeOf({ actions }: StatementTree, names: readonly string[]): number {
  const matches = (pattern: string) => names.some((name) => matchesPattern(pattern.toLowerCase(), name.toLowerCase()));
  return actions.isNegated ? actions.at : (actions.items.find(({ value }) => matches(value))?.at ?? actions.at);
}

/** What a statement lists and never gives. */
function lintReach(statement: StatementTree, world: LintWorld, report: Report): void {
  const actions = world.actionsOf(statement);
  const callers = world.callersOf(statement);
  if (actions.length === 0 || callers.length === 0) return;
  const idle = actions.filter((action) =>
    callers.every((caller) =>
      documentsFor(action, world).every((document) => !world.admits(statement, { caller, action, document })),
    ),
  );
  const isIdleByCondition = (action: string) =>
    callers.every((caller) =>
      documentsFor(action, world).every((document) => conditionsHold(statement, { caller, action, document }) === "no"),
    );
  if (idle.length === actions.length) {
    const why = idle.every(isIdleByCondition) ? "its condition is never met" : "a Deny stands against all of it";
    report("UNREACHABLE_STATEMENT", statement.at, why, statement.label);
    return;
  }
  const named = new Set(statement.actions.items.map(({ value }) => value.toLowerCase()));
  const unattestable = idle.filter(
    (action) => !ATTESTABLE_ACTIONS.has(action) && named.has(action.toLowerCase()) && isIdleByCondition(action),
  );
  if (unattestable.length > 0) {
    const message = `${shortList(unattestable)} cannot carry a document`;
    report("CONDITION_NEVER_MET", placeOf(statement, unattestable), message, statement.label);
  }
}

function documentsFor(action: string, world: LintWorld): readonly ProbeDocument[] {
  return ATTESTABLE_ACTIONS.has(action) ? world.documents : [null];
}

function lintBreakGlass(world: LintWorld, breakGlass: string | null, isGiven: boolean, report: Report): void {
  const managers = world.callers.filter((caller) => mayManage(world, world.allows, caller));
  if (managers.length === 0 || (isGiven && managers.every(({ name }) => name !== breakGlass))) {
    const who = isGiven ? (breakGlass ?? "nobody") : "no principal";
    report("NO_BREAK_GLASS", world.policy.at, `${who} may call kms:PutKeyPolicy${isGiven ? ": it may not" : ""}`);
  }
  const caller = managers.find(({ name }) => name === breakGlass);
  if (caller === undefined) return;
  for (const statement of world.allows) {
    const used = USE_ACTIONS.filter((action) =>
      world.documents.some((document) => world.admits(statement, { caller, action, document })),
    );
    if (used.length === 0) continue;
    const message = `${caller.name} may call kms:PutKeyPolicy and ${used.join(" and ")}`;
    report("BREAK_GLASS_CAN_USE", placeOf(statement, used), message, statement.label);
  }
}
