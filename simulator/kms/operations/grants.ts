/** Grants over the wire (KMS API Reference: CreateGrant, ListGrants, ListRetirableGrants, RevokeGrant, RetireGrant). */
import { randomBytes } from "node:crypto";
import type { EncryptionContext } from "../ciphertext-blob.ts";
import { KmsError } from "../errors.ts";
import { GRANT_OPERATIONS, type Grant, type GrantTerms, grantTokenOf, mayPassOn, namesGrantee } from "../grant.ts";
import { type KmsInput, mustHave, validation } from "../input.ts";
import { decideByPolicies } from "../policy-decision.ts";
import { isPolicyPrincipal } from "../principal.ts";
import { contextKeysOf } from "../request-context.ts";
import { requireEnabled, type SimulatedKey, usageOf } from "../simulated-key.ts";
import {
  admit,
  findGrant,
  findManagedKey,
  type KmsAnswer,
  mustReadKeyId,
  type OperationCall,
  readGrantTokens,
  readKeyId,
  readPage,
  seconds,
  stopDryRun,
} from "./call.ts";

const MAX_PRINCIPAL_LENGTH = 256;

export async function createGrant(call: OperationCall): Promise<KmsAnswer> {
  const { input, keys, nowMs } = call;
  const named = findManagedKey(call, mustReadKeyId(input));
  const granteePrincipal = mustHave("GranteePrincipal", readPrincipal(input, "GranteePrincipal"));
  const retiringPrincipal = readPrincipal(input, "RetiringPrincipal") ?? null;
  const operations = readOperations(input);
  const name = input.string("Name", { min: 1, max: 256 }) ?? null;
  const constraints = readConstraints(input, named.key);
  const grantTokens = readGrantTokens(call);
  const dryRun = input.boolean("DryRun");
  const terms: GrantTerms = { granteePrincipal, operations, ...constraints };
  await admit(call, "CreateGrant", {
    key: named,
    grantTokens,
    encryptionContext: constraints.encryptionContextEquals ?? constraints.encryptionContextSubset ?? new Map(),
    grantFits: (parent) => mayPassOn(parent, terms),
    more: [
      ["kms:GranteePrincipal", granteePrincipal],
      ...(retiringPrincipal === null ? [] : [["kms:RetiringPrincipal", retiringPrincipal] as const]),
      ["kms:GrantOperations", operations],
      ["kms:GrantIsForAWSResource", "false"],
      ...constraintTypesOf(constraints),
    ],
  });
  requireEnabled(named.key);
  stopDryRun(dryRun);
  const fresh = { ...terms, name, retiringPrincipal };
  // KMS API Reference, "Name": the same request again finds the grant that the first one made.
  const known = name === null ? undefined : named.key.grants.find((grant) => sameTerms(grant, fresh));
  const grant = known ?? { ...fresh, grantId: randomBytes(32).toString("hex"), createdMs: nowMs };
  if (known === undefined) keys.update({ ...named.key, grants: [...named.key.grants, grant] });
  return { GrantId: grant.grantId, GrantToken: grantTokenOf(named.key.keyId, grant.grantId) };
}

export async function listGrants(call: OperationCall): Promise<KmsAnswer> {
  const { input } = call;
  const named = findManagedKey(call, mustReadKeyId(input));
  const grantId = input.string("GrantId", { min: 1, max: 128 });
  const grantee = readPrincipal(input, "GranteePrincipal");
  const paged = readPage<Grant>(input, 50);
  await admit(call, "ListGrants", { key: named, more: [["kms:GrantIsForAWSResource", "false"]] });
  const { key } = named;
  const wanted = key.grants.filter((grant) => {
    return (
      (grantId ?? grant.grantId) === grant.grantId && (grantee ?? grant.granteePrincipal) === grant.granteePrincipal
    );
  });
  if (grantId !== undefined && wanted.length === 0) throw new KmsError("InvalidGrantIdException", "Grant ID not found");
  const { page, more } = paged(wanted, (grant) => grant.grantId);
  return { Grants: page.map((grant) => listed(call, key, grant)), ...more };
}

/** Of every key; IAM alone decides (KMS Developer Guide, "Permissions reference"). */
export async function listRetirableGrants(call: OperationCall): Promise<KmsAnswer> {
  const retiring = mustHave("RetiringPrincipal", readPrincipal(call.input, "RetiringPrincipal"));
  const paged = readPage<{ readonly key: SimulatedKey; readonly grant: Grant }>(call.input, 50);
  await admit(call, "ListRetirableGrants", { key: null });
  const all = call.keys.keys.flatMap((key) => key.grants.map((grant) => ({ key, grant })));
  const wanted = all.filter(({ grant }) => grant.retiringPrincipal === retiring);
  const { page, more } = paged(wanted, ({ grant }) => grant.grantId);
  return { Grants: page.map(({ key, grant }) => listed(call, key, grant)), ...more };
}

export async function revokeGrant(call: OperationCall): Promise<KmsAnswer> {
  const named = findManagedKey(call, mustReadKeyId(call.input));
  const grantId = mustHave("GrantId", call.input.string("GrantId", { min: 1, max: 128 }));
  const dryRun = call.input.boolean("DryRun");
  await admit(call, "RevokeGrant", { key: named, more: [["kms:GrantIsForAWSResource", "false"]] });
  const grant = grantOf(named.key, grantId);
  stopDryRun(dryRun);
  call.keys.update({ ...named.key, grants: named.key.grants.filter((one) => one !== grant) });
  return {};
}

/**
 * KMS API Reference, RetireGrant: for the retiring principal, the grantee of a grant that includes RetireGrant, the
 * account's root, and whoever has `kms:RetireGrant` from IAM. The key policy has no say.
 */
export async function retireGrant(call: OperationCall): Promise<KmsAnswer> {
  const { input, keys } = call;
  const token = input.string("GrantToken", { min: 1, max: 8192 });
  const keyName = readKeyId(input);
  const grantId = input.string("GrantId", { min: 1, max: 128 });
  const dryRun = input.boolean("DryRun");
  input.end();
  const { key, grant } = token === undefined ? byId(call, keyName, grantId) : findGrant(keys, token);
  call.onKey(key.arn);
  if (!mayRetire(call, key, grant)) {
    const words = `is not authorized to perform: kms:RetireGrant on resource: ${key.arn}`;
    throw new KmsError("AccessDeniedException", `User: ${call.caller.identity.arn} ${words}`);
  }
  stopDryRun(dryRun);
  keys.update({ ...key, grants: key.grants.filter((one) => one !== grant) });
  return {};
}

function byId(call: OperationCall, keyName: string | undefined, grantId: string | undefined) {
  if (keyName === undefined || grantId === undefined) return validation("expected GrantToken, or KeyId and GrantId");
  const { key } = findManagedKey(call, keyName);
  return { key, grant: grantOf(key, grantId) };
}

function mayRetire({ caller, accountId }: OperationCall, key: SimulatedKey, grant: Grant): boolean {
  const { identity, identityPolicies, conditionKeys } = caller;
  const context = contextKeysOf({
    ...{ caller: identity, operation: "RetireGrant", pcrs: null, key: null, more: conditionKeys },
    encryptionContext: grant.encryptionContextEquals ?? grant.encryptionContextSubset ?? new Map(),
  });
  const byIam = decideByPolicies(
    { caller: identity, action: "kms:RetireGrant", resource: key.arn, context },
    // Here IAM does not stand aside: only a policy that says so lets somebody else's grant be retired.
    { keyPolicy: null, identityPolicies: identityPolicies ?? [], accountId, granted: false },
  );
  if (byIam.kind === "allow") return true;
  if (byIam.reason === "EXPLICIT_DENY") return false;
  if (identity.arn === `arn:aws:iam::${accountId}:root`) return true;
  if (grant.retiringPrincipal !== null && namesGrantee(grant.retiringPrincipal, identity)) return true;
  return grant.operations.includes("RetireGrant") && namesGrantee(grant.granteePrincipal, identity);
}

function readPrincipal(input: KmsInput, name: string): string | undefined {
  const principal = input.string(name, { min: 1, max: MAX_PRINCIPAL_LENGTH });
  if (principal === undefined) return undefined;
  if (!principal.startsWith("arn:") || !isPolicyPrincipal(principal)) validation(`${name}: expected a principal's ARN`);
  return principal;
}

function readOperations(input: KmsInput): string[] {
  const operations = mustHave("Operations", input.strings("Operations", { min: 1, max: 100 }));
  const known: readonly string[] = GRANT_OPERATIONS;
  for (const operation of operations) {
    if (!known.includes(operation)) validation(`Operations: expected ${known.join(", ")}`);
  }
  return [...new Set(operations)];
}

type Constraints = Pick<Grant, "encryptionContextEquals" | "encryptionContextSubset">;

function readConstraints(input: KmsInput, key: SimulatedKey): Constraints {
  const constraints = input.object("Constraints");
  if (constraints === undefined) return {};
  const equals = constraints.texts("EncryptionContextEquals");
  const subset = constraints.texts("EncryptionContextSubset");
  constraints.end();
  if (equals !== undefined && subset !== undefined) validation("Constraints: expected one of the two, not both");
  if (usageOf(key) !== "ENCRYPT_DECRYPT") validation("Constraints: only grants on symmetric keys have them");
  return {
    ...(equals === undefined ? {} : { encryptionContextEquals: equals }),
    ...(subset === undefined ? {} : { encryptionContextSubset: subset }),
  };
}

function constraintTypesOf({ encryptionContextEquals: equals, encryptionContextSubset: subset }: Constraints) {
  if (equals !== undefined) return [["kms:GrantConstraintType", "EncryptionContextEquals"] as const];
  return subset === undefined ? [] : [["kms:GrantConstraintType", "EncryptionContextSubset"] as const];
}

function grantOf(key: SimulatedKey, grantId: string): Grant {
  const grant = key.grants.find((one) => one.grantId === grantId);
  if (grant === undefined) throw new KmsError("NotFoundException", `Grant ID ${grantId} not found`);
  return grant;
}

function sameTerms(grant: Grant, { name, retiringPrincipal, ...terms }: Omit<Grant, "grantId" | "createdMs">): boolean {
  const same = (a: EncryptionContext | undefined, b: EncryptionContext | undefined) =>
    JSON.stringify([...(a ?? [])].sort()) === JSON.stringify([...(b ?? [])].sort());
  return (
    grant.name === name &&
    grant.retiringPrincipal === retiringPrincipal &&
    grant.granteePrincipal === terms.granteePrincipal &&
    [...grant.operations].sort().join() === [...terms.operations].sort().join() &&
    same(grant.encryptionContextEquals, terms.encryptionContextEquals) &&
    same(grant.encryptionContextSubset, terms.encryptionContextSubset)
  );
}

function listed({ accountId }: OperationCall, key: SimulatedKey, grant: Grant): KmsAnswer {
  const { encryptionContextEquals: equals, encryptionContextSubset: subset } = grant;
  return {
    KeyId: key.arn,
    GrantId: grant.grantId,
    ...(grant.name === null ? {} : { Name: grant.name }),
    CreationDate: seconds(grant.createdMs),
    GranteePrincipal: grant.granteePrincipal,
    ...(grant.retiringPrincipal === null ? {} : { RetiringPrincipal: grant.retiringPrincipal }),
    IssuingAccount: `arn:aws:iam::${accountId}:root`,
    Operations: grant.operations,
    ...(equals === undefined && subset === undefined
      ? {}
      : {
          Constraints: {
            ...(equals && { EncryptionContextEquals: Object.fromEntries(equals) }),
            ...(subset && { EncryptionContextSubset: Object.fromEntries(subset) }),
          },
        }),
  };
}
