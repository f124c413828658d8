/** The key policy that lets one measured enclave use a key, and nobody else. docs/kms-policy.md explains each statement. */
import { DESCRIPTION_ACTIONS, FORBIDDEN_ACTIONS, MANAGEMENT_ACTIONS, TAGGING_ACTIONS, USE_ACTIONS } from "./actions.ts";
import { KeyPolicyError } from "./errors.ts";
import { clausesOfNoMatch, conditionOf, type PcrValues, type Term, termsOfSets } from "./pcr-set.ts";
import { checkPrincipals, type KeyPrincipals } from "./principals.ts";

/** KMS Developer Guide, "Resource quotas": key policy document size. */
export const MAX_POLICY_BYTES = 32_768;

export interface KeyPolicyParameters extends KeyPrincipals {
  /** Any one of them admits. None: nobody may use the key, for one that is made before its image. */
  readonly pcrSets: readonly PcrValues[];
}

// Types, not interfaces: only a type can be read as a record of its fields.
export type PolicyStatement = {
  readonly Sid: string;
  readonly Effect: "Allow" | "Deny";
  readonly Principal: { readonly AWS: string | readonly string[] };
  readonly Action: readonly string[];
  readonly Resource: "*";
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
};

export type KeyPolicyDocument = {
  readonly Version: "2012-10-17";
  readonly Statement: readonly PolicyStatement[];
};

/** In a Deny the negated operator, so that a request without any document is denied too (nitro.md 4.4). */
export const SAME = "StringEqualsIgnoreCase";
export const DIFFERENT = "StringNotEqualsIgnoreCase";
export const EVERYBODY = { AWS: "*" } as const;

/**
 * Makes the policy. The same parameters make the same bytes, in whatever order sets and administrators are given.
 *
 * @throws {@link KeyPolicyError}
 */
export function generateKeyPolicy(parameters: KeyPolicyParameters): KeyPolicyDocument {
  return documentOf(statementsOf(parameters));
}

/** @throws {@link KeyPolicyError} `POLICY_TOO_LARGE` */
export function documentOf(statements: readonly PolicyStatement[]): KeyPolicyDocument {
  const document: KeyPolicyDocument = { Version: "2012-10-17", Statement: statements };
  const bytes = formatKeyPolicy(document).length;
  if (bytes > MAX_POLICY_BYTES) {
    throw new KeyPolicyError("POLICY_TOO_LARGE", `a policy of ${bytes} bytes, KMS takes ${MAX_POLICY_BYTES}`);
  }
  return document;
}

/** The file that goes to KMS. ASCII, so its length in characters is its length in bytes. */
export function formatKeyPolicy(document: KeyPolicyDocument): string {
  return `${JSON.stringify(document, null, 2)}\n`;
}

export function statementsOf(parameters: KeyPolicyParameters): PolicyStatement[] {
  checkPrincipals(parameters);
  const { roleArn, breakGlassRoleArn } = parameters;
  const sets = termsOfSets(parameters.pcrSets);
  const clauses = clausesOfNoMatch(sets);
  const administrators = [...new Set(parameters.administratorArns)].sort();
  return [
    ...sets.map((terms, at) => ({
      ...named("AttestedUse", at, sets.length),
      Effect: "Allow" as const,
      Principal: { AWS: roleArn },
      Action: USE_ACTIONS,
      Resource: "*" as const,
      Condition: { [SAME]: singles(terms) },
    })),
    ...clauses.map((terms, at) => ({
      ...named("DenyUseWithoutAttestation", at, clauses.length),
      Effect: "Deny" as const,
      Principal: EVERYBODY,
      Action: USE_ACTIONS,
      Resource: "*" as const,
      ...(terms.length === 0 ? {} : { Condition: { [DIFFERENT]: Object.fromEntries(conditionOf(terms)) } }),
    })),
    denyUnless("DenyUseByOthers", roleArn, USE_ACTIONS),
    { Sid: "DenyWaysRound", Effect: "Deny", Principal: EVERYBODY, Action: FORBIDDEN_ACTIONS, Resource: "*" },
    denyUnless("DenyManagementByOthers", breakGlassRoleArn, MANAGEMENT_ACTIONS),
    {
      Sid: "BreakGlassManages",
      Effect: "Allow",
      Principal: { AWS: breakGlassRoleArn },
      Action: [...MANAGEMENT_ACTIONS, ...DESCRIPTION_ACTIONS, ...TAGGING_ACTIONS],
      Resource: "*",
    },
    ...(administrators.length === 0
      ? []
      : [
          {
            Sid: "AdministratorsDescribeAndTag",
            Effect: "Allow" as const,
            Principal: { AWS: administrators },
            Action: [...DESCRIPTION_ACTIONS, ...TAGGING_ACTIONS],
            Resource: "*" as const,
          },
        ]),
  ];
}

/** For a session `aws:PrincipalArn` is its role's ARN, and for the account's root user the root's. */
function denyUnless(sid: string, arn: string, actions: readonly string[]): PolicyStatement {
  return {
    Sid: sid,
    Effect: "Deny",
    Principal: EVERYBODY,
    Action: actions,
    Resource: "*",
    Condition: { StringNotEquals: { "aws:PrincipalArn": arn } },
  };
}

export function named(sid: string, at: number, count: number): { readonly Sid: string } {
  return { Sid: count > 1 ? `${sid}${at + 1}` : sid };
}

/** Of one set, in which no PCR has two values. */
export function singles(terms: readonly Term[]): Record<string, string> {
  return Object.fromEntries([...conditionOf(terms)].map(([key, values]) => [key, values.join()]));
}
