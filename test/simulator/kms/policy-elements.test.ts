/** Elements, operators and variables of policies, and what is left to IAM. */
import { describe, expect, test } from "vitest";
import { decideKeyAccess, type KeyAccessQuestion, type KeyPolicyInput } from "../../../simulator/kms/index.ts";

const ACCOUNT = "123456789012";
const ROOT = `arn:aws:iam::${ACCOUNT}:root`;
const ROLE = `arn:aws:iam::${ACCOUNT}:role/enclave`;
const SESSION = `arn:aws:sts::${ACCOUNT}:assumed-role/enclave/i-1`;
const USER = `arn:aws:iam::${ACCOUNT}:user/team/alice`;
const FOREIGNER = "arn:aws:iam::999999999999:role/enclave";
const KEY = `arn:aws:kms:eu-west-1:${ACCOUNT}:key/k`;
const ALLOW = { Effect: "Allow", Principal: "*", Action: "kms:Decrypt", Resource: "*" } as const;
const DENY = { ...ALLOW, Effect: "Deny" } as const;

type Asked = Partial<KeyAccessQuestion> & { readonly keys?: Readonly<Record<string, string | readonly string[]>> };

function policyOf(...statements: readonly object[]): KeyPolicyInput {
  return { Version: "2012-10-17", Statement: statements };
}

function decide(policy: KeyPolicyInput, { keys = {}, ...asked }: Asked = {}) {
  const conditionKeys = new Map(Object.entries(keys).map(([key, value]) => [key, [value].flat()] as const));
  const question = { policy, principalArn: SESSION, operation: "Decrypt", documentPcrs: null, keyArn: KEY };
  return decideKeyAccess({ ...question, conditionKeys, ...asked });
}

const allows = (policy: KeyPolicyInput, asked?: Asked) => decide(policy, asked).kind === "allow";

describe("NotAction, NotResource, NotPrincipal", () => {
  const { Action: _action, ...withoutAction } = ALLOW;
  const { Resource: _resource, ...withoutResource } = ALLOW;
  const { Principal: _principal, ...withoutPrincipal } = ALLOW;
  const denying = { Effect: "Deny" } as const;

  test.each([
    ["kms:Decrypt", false],
    ["kms:de*", false],
    [["kms:Encrypt", "kms:GenerateDataKey*"], true],
  ])("NotAction %j: Decrypt is meant: %s", (NotAction, meant) => {
    expect(allows(policyOf({ ...withoutAction, NotAction }))).toBe(meant);
    expect(allows(policyOf(ALLOW, { ...withoutAction, ...denying, NotAction }))).toBe(!meant);
  });

  test.each([
    [KEY, false],
    [`arn:aws:kms:*:${ACCOUNT}:key/?`, false],
    [`${KEY}2`, true],
  ])("NotResource %j: the key is meant: %s", (NotResource, meant) => {
    expect(allows(policyOf({ ...withoutResource, NotResource }))).toBe(meant);
    expect(allows(policyOf(ALLOW, { ...withoutResource, ...denying, NotResource }))).toBe(!meant);
  });

  test.each([
    ["the session, its role and its account", { AWS: [SESSION, ROLE, ROOT] }, true],
    ["the account by its number", { AWS: [SESSION, ROLE, ACCOUNT] }, true],
    ["everybody", "*", true],
    ["the role alone", { AWS: ROLE }, false],
    ["the role and its account", { AWS: [ROLE, ROOT] }, false],
    ["the session and its role", { AWS: [SESSION, ROLE] }, false],
    ["somebody else", { AWS: [USER, ROOT] }, false],
  ])("Deny, NotPrincipal: %s: spared: %s", (_what, NotPrincipal, spared) => {
    expect(allows(policyOf(ALLOW, { ...withoutPrincipal, ...denying, NotPrincipal }))).toBe(spared);
  });

  test.each([
    [{ AWS: USER }, true],
    [{ AWS: ROLE }, false],
    [{ AWS: ROOT }, false],
    ["*", false],
  ])("Allow, NotPrincipal %j: %s", (NotPrincipal, allowed) => {
    expect(allows(policyOf({ ...withoutPrincipal, NotPrincipal }))).toBe(allowed);
  });
});

describe("operators", () => {
  const cases: [operator: string, key: string, wanted: unknown, value: string, met: boolean][] = [
    ["NumericEquals", "kms:RotationPeriodInDays", "90", "90", true],
    ["NumericEquals", "kms:RotationPeriodInDays", 90, "91", false],
    ["NumericNotEquals", "kms:RotationPeriodInDays", ["90", "91"], "92", true],
    ["NumericNotEquals", "kms:RotationPeriodInDays", ["90", "91"], "91", false],
    ["NumericLessThan", "kms:RotationPeriodInDays", "10", "9", true],
    ["NumericLessThan", "kms:RotationPeriodInDays", "10", "10", false],
    ["NumericLessThanEquals", "kms:RotationPeriodInDays", "10", "10", true],
    ["NumericGreaterThan", "kms:RotationPeriodInDays", "9", "10", true],
    ["NumericGreaterThan", "kms:RotationPeriodInDays", "10", "10", false],
    ["NumericGreaterThanEquals", "kms:RotationPeriodInDays", "10.5", "10.5", true],
    ["DateLessThan", "aws:CurrentTime", "2030-01-01T00:00:00Z", "2029-12-31T23:59:59Z", true],
    ["DateLessThan", "aws:CurrentTime", "2030-01-01T00:00:00+01:00", "2029-12-31T23:30:00Z", false],
    ["DateGreaterThan", "aws:CurrentTime", "2029", "2029-06-01T00:00:00Z", true],
    ["DateGreaterThanEquals", "aws:EpochTime", "1800000000", "1800000000", true],
    ["DateLessThanEquals", "aws:EpochTime", "2027-01-15T08:00:00Z", "1800000000", true],
    ["DateEquals", "aws:EpochTime", "1800000000", "1800000001", false],
    ["DateNotEquals", "aws:EpochTime", "1800000000", "1800000001", true],
    ["ArnEquals", "aws:PrincipalArn", "arn:aws:iam::123456789012:role/*", ROLE, true],
    ["ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:role/encl?ve", ROLE, true],
    ["ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:user/*", ROLE, false],
    ["ArnLike", "aws:PrincipalArn", "arn:*:iam::123456789012:role/enclave", ROLE, true],
    // A star stays within its part of the ARN; that of the resource may hold colons.
    ["ArnLike", "aws:SourceArn", "arn:aws:lambda:*:*:f:2", "arn:aws:lambda:eu-west-1:1:function:f:2", false],
    ["StringLike", "aws:SourceArn", "arn:aws:lambda:*:*:f:2", "arn:aws:lambda:eu-west-1:1:function:f:2", true],
    ["ArnLike", "aws:SourceArn", "arn:aws:lambda:*:*:function:*", "arn:aws:lambda:eu-west-1:1:function:f:2", true],
    ["ArnNotEquals", "aws:PrincipalArn", "arn:aws:iam::*:user/*", ROLE, true],
    ["ArnNotLike", "aws:PrincipalArn", ROLE, ROLE, false],
    ["IpAddress", "aws:SourceIp", "10.0.0.0/8", "10.255.0.1", true],
    ["IpAddress", "aws:SourceIp", "10.0.0.0/8", "11.0.0.1", false],
    ["IpAddress", "aws:SourceIp", "192.0.2.1", "192.0.2.1", true],
    ["IpAddress", "aws:SourceIp", ["2001:db8::/32", "10.0.0.0/8"], "2001:db8::1", true],
    ["NotIpAddress", "aws:SourceIp", "2001:db8::/32", "2001:db9::1", true],
    ["NotIpAddress", "aws:SourceIp", "10.0.0.0/8", "10.0.0.1", false],
    ["Bool", "kms:BypassPolicyLockoutSafetyCheck", "true", "true", true],
    ["StringLike", "kms:ViaService", "s3.*.amazonaws.com", "s3.eu-west-1.amazonaws.com", true],
    ["StringEquals", "kms:ViaService", "s3.*.amazonaws.com", "s3.eu-west-1.amazonaws.com", false],
  ];
  test.each(cases)("%s of %s: %j, with %s: %s", (operator, key, wanted, value, met) => {
    const Condition = { [operator]: { [key]: wanted } };
    expect(allows(policyOf({ ...ALLOW, Condition }), { keys: { [key]: value } })).toBe(met);
    expect(allows(policyOf(ALLOW, { ...DENY, Condition }), { keys: { [key]: value } })).toBe(!met);
    const ifExists = { [`${operator}IfExists`]: { [key]: wanted } };
    expect(allows(policyOf({ ...ALLOW, Condition: ifExists }), { keys: { [key]: value } })).toBe(met);
  });

  test("kms:ViaService is absent from a request that comes directly", () => {
    const Condition = { StringNotEquals: { "kms:ViaService": "s3.eu-west-1.amazonaws.com" } };
    expect(allows(policyOf({ ...ALLOW, Condition }))).toBe(true);
    expect(allows(policyOf({ ...ALLOW, Condition: { Null: { "kms:ViaService": "false" } } }))).toBe(false);
  });

  test("ForAllValues passes where the key is absent, and Null beside it closes that", () => {
    const keys = { "kms:ResourceAliases": "alias/vault" };
    const forAll = { "ForAllValues:StringEquals": { "kms:ResourceAliases": "alias/vault" } };
    const closed = { ...forAll, Null: { "kms:ResourceAliases": "false" } };
    expect([
      allows(policyOf({ ...ALLOW, Condition: forAll }), { keys }),
      allows(policyOf({ ...ALLOW, Condition: forAll })),
    ]).toEqual([true, true]);
    expect([
      allows(policyOf({ ...ALLOW, Condition: closed }), { keys }),
      allows(policyOf({ ...ALLOW, Condition: closed })),
    ]).toEqual([true, false]);
  });
});

/** `${…}`, IAM's own syntax, written so that nobody takes it for a template. */
const variable = (content: string) => `$\{${content}}`;

describe("policy variables", () => {
  const like = (wanted: string) => ({ StringLike: { "kms:EncryptionContext:for": wanted } });
  const forWhom = (value: string): Asked => ({ principalArn: USER, encryptionContext: new Map([["for", value]]) });

  test("stand for the request's own values", () => {
    expect(allows(policyOf({ ...ALLOW, Condition: like(`${variable("aws:username")}/*`) }), forWhom("alice/1"))).toBe(
      true,
    );
    expect(allows(policyOf({ ...ALLOW, Condition: like(variable("aws:PrincipalArn")) }), forWhom(USER))).toBe(true);
    expect(allows(policyOf({ ...ALLOW, Condition: like(variable("AWS:userName")) }), forWhom("bob"))).toBe(false);
  });

  test("a star that comes from the request is no wildcard; the escaped characters are themselves", () => {
    const keys = { "aws:PrincipalTag/team": "*" };
    const team = policyOf({ ...ALLOW, Condition: like(variable("aws:PrincipalTag/team")) });
    expect([allows(team, { ...forWhom("x"), keys }), allows(team, { ...forWhom("*"), keys })]).toEqual([false, true]);
    const star = policyOf({ ...ALLOW, Condition: like(`a${variable("*")}${variable("?")}${variable("$")}`) });
    expect([allows(star, forWhom("abcd")), allows(star, forWhom("a*?$"))]).toEqual([false, true]);
  });

  test("a default stands in for what is absent; without one the statement fails closed", () => {
    const session: Asked = { encryptionContext: new Map([["for", "nobody"]]) };
    const withDefault = { StringEquals: { "kms:EncryptionContext:for": variable("aws:username, 'nobody'") } };
    expect(allows(policyOf({ ...ALLOW, Condition: withDefault }), session)).toBe(true);
    const without = { StringNotEquals: { "kms:EncryptionContext:for": variable("aws:username") } };
    expect(decide(policyOf({ ...ALLOW, Condition: without }), session)).toMatchObject({
      reason: "NO_ALLOW",
      unresolved: [{ operator: "StringNotEquals", key: "kms:EncryptionContext:for" }],
    });
    expect(allows(policyOf(ALLOW, { ...DENY, Condition: without }), session)).toBe(false);
  });

  test("in a Resource, too", () => {
    const Resource = `arn:aws:kms:*:*:key/${variable("kms:EncryptionContext:for")}`;
    expect(allows(policyOf({ ...ALLOW, Resource }), forWhom("k"))).toBe(true);
    expect(allows(policyOf({ ...ALLOW, Resource }), forWhom("*"))).toBe(false);
    expect(allows(policyOf({ ...ALLOW, Resource }))).toBe(false);
    expect(allows(policyOf(ALLOW, { ...DENY, Resource }))).toBe(false);
  });

  test("a policy of 2008 has none: the text means itself", () => {
    const text = variable("aws:username");
    const statement = { ...ALLOW, Condition: { StringEquals: { "kms:EncryptionContext:for": text } } };
    const old = { Version: "2008-10-17", Statement: statement };
    expect([allows(old, forWhom("alice")), allows(old, forWhom(text))]).toEqual([false, true]);
  });
});

describe("what is left to IAM", () => {
  const delegating = policyOf({ ...ALLOW, Sid: "Root", Principal: { AWS: ROOT } });
  const naming = policyOf({ ...ALLOW, Sid: "Role", Principal: { AWS: ROLE } });
  const iam = (Effect: "Allow" | "Deny", Action = "kms:Decrypt", Resource = "*") => {
    return policyOf({ Sid: `Iam${Effect}`, Effect, Action, Resource });
  };
  const cases: [what: string, keyPolicy: KeyPolicyInput, identity: KeyPolicyInput[] | null, expected: object][] = [
    ["the root's Allow, IAM stands aside", delegating, null, { kind: "allow", by: "key-policy" }],
    ["the root's Allow, IAM says nothing", delegating, [], { reason: "NO_ALLOW", missing: "identity-policy" }],
    ["the root's Allow, IAM allows", delegating, [iam("Allow")], { kind: "allow", by: "identity-policy" }],
    ["the root's Allow, IAM allows other things", delegating, [iam("Allow", "s3:*")], { missing: "identity-policy" }],
    ["the root's Allow, IAM allows another key", delegating, [iam("Allow", "*", `${KEY}2`)], { reason: "NO_ALLOW" }],
    ["the root's Allow, IAM allows and denies", delegating, [iam("Allow"), iam("Deny")], { by: "identity-policy" }],
    ["the role is named, IAM says nothing", naming, [], { kind: "allow", by: "key-policy" }],
    ["the role is named, IAM denies", naming, [iam("Deny")], { reason: "EXPLICIT_DENY", by: "identity-policy" }],
    ["nobody is named, IAM allows all", policyOf(DENY), [iam("Allow", "*")], { reason: "EXPLICIT_DENY" }],
    [
      "another is named, IAM allows all",
      policyOf({ ...ALLOW, Principal: { AWS: USER } }),
      [iam("Allow", "*")],
      { reason: "NO_ALLOW", missing: "key-policy" },
    ],
  ];
  test.each(cases)("%s", (_what, policy, identityPolicies, expected) => {
    expect(decide(policy, identityPolicies === null ? {} : { identityPolicies })).toMatchObject(expected);
  });

  test("across accounts the key policy and IAM must both allow", () => {
    const policy = policyOf({ ...ALLOW, Principal: { AWS: FOREIGNER } });
    const ask = (identityPolicies: KeyPolicyInput[]) => allows(policy, { principalArn: FOREIGNER, identityPolicies });
    expect([ask([]), ask([iam("Allow")])]).toEqual([false, true]);
    expect(
      allows(policyOf({ ...ALLOW, Principal: { AWS: ROOT } }), {
        principalArn: FOREIGNER,
        identityPolicies: [iam("Allow")],
      }),
    ).toBe(false);
  });

  test("the account's root is the account: it needs no IAM", () => {
    expect(allows(delegating, { principalArn: ROOT, identityPolicies: [] })).toBe(true);
  });

  test.each([
    ["with a principal", { ...ALLOW }],
    ["with NotPrincipal", { Effect: "Allow", NotPrincipal: "*", Action: "*", Resource: "*" }],
    ["with an action of no form", { Effect: "Allow", Action: "decrypt", Resource: "*" }],
  ])("an identity policy %s is malformed", (_what, statement) => {
    const identityPolicies = [policyOf(statement)];
    expect(() => decide(delegating, { identityPolicies })).toThrow(
      expect.objectContaining({ code: "MalformedPolicyDocumentException" }),
    );
  });
});

describe("grants", () => {
  const grants = [{ granteePrincipal: ROLE, operations: ["Decrypt"] }];

  test("allow what no policy does, and never what one denies", () => {
    const nobody = policyOf({ ...ALLOW, Principal: { AWS: USER } });
    expect(decide(nobody, { grants })).toMatchObject({ kind: "allow", by: "grant", statement: null });
    expect(decide(nobody, { grants, operation: "Encrypt" })).toMatchObject({ reason: "NO_ALLOW" });
    expect(decide(policyOf(DENY), { grants })).toMatchObject({ reason: "EXPLICIT_DENY", by: "key-policy" });
  });
});
