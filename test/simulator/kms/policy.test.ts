import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type KeyAccessDecision, type KeyPolicyInput, KmsError } from "../../../simulator/kms/index.ts";
import { decideByPolicy } from "../../../simulator/kms/policy-decision.ts";
import { parseKeyPolicy } from "../../../simulator/kms/policy-document.ts";
import { identityOf } from "../../../simulator/kms/principal.ts";
import { matchesWildcard } from "../../../simulator/kms/wildcard.ts";

const KEY_ARN = "arn:aws:kms:eu-west-1:123456789012:key/k";
const SESSION_ARN = "arn:aws:sts::123456789012:assumed-role/enclave/i-1";
const PCR0 = "ab".repeat(48);

const ALLOW = { Sid: "A", Effect: "Allow", Principal: "*", Action: "kms:Decrypt", Resource: "*" } as const;
const DENY = { ...ALLOW, Sid: "D", Effect: "Deny" } as const;

function policyOf(...statements: readonly object[]): KeyPolicyInput {
  return { Version: "2012-10-17", Statement: statements };
}

interface Asked {
  readonly arn?: string;
  readonly action?: string;
  readonly keys?: Readonly<Record<string, readonly string[]>>;
}

function decide(policy: KeyPolicyInput, asked: Asked = {}): KeyAccessDecision {
  return decideByPolicy(
    {
      caller: identityOf(asked.arn ?? SESSION_ARN),
      action: asked.action ?? "kms:Decrypt",
      resource: KEY_ARN,
      context: new Map(Object.entries(asked.keys ?? {})),
    },
    parseKeyPolicy(policy),
  );
}

const allowed = (policy: KeyPolicyInput, asked?: Asked) => decide(policy, asked).kind === "allow";

describe("decision", () => {
  test("says why", () => {
    const by = "key-policy";
    const denied = (index: number) => ({
      ...{ kind: "deny", reason: "EXPLICIT_DENY", by, unresolved: [] },
      statement: { index, sid: "D" },
    });
    expect(decide(policyOf(ALLOW))).toEqual({ kind: "allow", by, statement: { index: 0, sid: "A" }, unresolved: [] });
    expect(decide(policyOf(ALLOW), { action: "kms:Encrypt" })).toEqual({
      ...{ kind: "deny", reason: "NO_ALLOW", missing: "key-policy", unresolved: [] },
    });
    expect(decide(policyOf(ALLOW, DENY))).toEqual(denied(1));
    expect(decide(policyOf(DENY, ALLOW))).toEqual(denied(0));
    expect(decide(policyOf(DENY))).toEqual(denied(0));
  });

  test.each([
    ["*", true],
    [{ AWS: "*" }, true],
    [{ AWS: "123456789012" }, true],
    [{ AWS: "arn:aws:iam::123456789012:root" }, true],
    [{ AWS: "arn:aws:iam::123456789012:role/enclave" }, true],
    [{ AWS: SESSION_ARN }, true],
    [{ AWS: ["arn:aws:iam::123456789012:user/a", SESSION_ARN] }, true],
    [{ AWS: "arn:aws:iam::210987654321:root" }, false],
    [{ AWS: "210987654321" }, false],
    [{ AWS: "arn:aws:iam::123456789012:role/enclave2" }, false],
    [{ AWS: "arn:aws:iam::123456789012:user/enclave" }, false],
    [{ AWS: "arn:aws:sts::123456789012:assumed-role/enclave/i-2" }, false],
    [{ Service: "ec2.amazonaws.com" }, false],
  ])("principal %j: %s", (Principal, expected) => {
    expect(allowed(policyOf({ ...ALLOW, Principal }))).toBe(expected);
    // A Deny reads its principal in the same way.
    expect(allowed(policyOf(ALLOW, { ...DENY, Principal }))).toBe(!expected);
  });

  test("a user is no session of a role", () => {
    const arn = "arn:aws:iam::123456789012:user/enclave";
    const Principal = { AWS: "arn:aws:iam::123456789012:role/enclave" };
    expect(allowed(policyOf({ ...ALLOW, Principal }), { arn })).toBe(false);
    expect(allowed(policyOf({ ...ALLOW, Principal: { AWS: arn } }), { arn })).toBe(true);
  });

  test.each([
    ["*", true],
    ["kms:*", true],
    ["kms:Decrypt", true],
    ["KMS:decrypt", true],
    ["kms:De*", true],
    ["kms:Decryp?", true],
    [["kms:Encrypt", "kms:Decrypt"], true],
    ["kms:Encrypt", false],
    ["kms:Decrypt?", false],
    ["kms:Generate*", false],
  ])("action %j: %s", (Action, expected) => {
    expect(allowed(policyOf({ ...ALLOW, Action }))).toBe(expected);
  });

  test.each([
    ["*", true],
    [KEY_ARN, true],
    ["arn:aws:kms:*:123456789012:key/*", true],
    ["arn:aws:kms:eu-west-1:123456789012:key/K", false],
    [`${KEY_ARN}2`, false],
  ])("resource %j: %s", (Resource, expected) => {
    expect(allowed(policyOf({ ...ALLOW, Resource }))).toBe(expected);
  });
});

describe("conditions", () => {
  const IMAGE = "kms:RecipientAttestation:ImageSha384";
  const image = { "kms:recipientattestation:imagesha384": [PCR0] };
  const none = {};
  const upper = PCR0.toUpperCase();
  const other = "cd".repeat(48);

  /** Whether the condition is met; an Allow and a Deny must agree on it. */
  function met(condition: object, keys: Readonly<Record<string, readonly string[]>>): boolean {
    const byAllow = allowed(policyOf({ ...ALLOW, Condition: condition }), { keys });
    const byDeny = !allowed(policyOf(ALLOW, { ...DENY, Condition: condition }), { keys });
    expect(byDeny).toBe(byAllow);
    return byAllow;
  }

  test.each([
    ["StringEquals", PCR0, image, true],
    ["StringEquals", upper, image, false],
    ["StringEquals", [other, PCR0], image, true],
    ["StringEquals", [], image, false],
    ["StringEquals", PCR0, none, false],
    ["StringEqualsIfExists", PCR0, none, true],
    ["StringEqualsIfExists", other, image, false],
    ["StringNotEquals", PCR0, image, false],
    ["StringNotEquals", [other, PCR0], image, false],
    ["StringNotEquals", other, image, true],
    ["StringNotEquals", PCR0, none, true],
    ["StringEqualsIgnoreCase", upper, image, true],
    ["StringEqualsIgnoreCase", upper, none, false],
    ["StringEqualsIgnoreCaseIfExists", upper, none, true],
    ["StringNotEqualsIgnoreCase", upper, image, false],
    ["StringNotEqualsIgnoreCase", other, image, true],
    ["StringNotEqualsIgnoreCase", upper, none, true],
    ["StringNotEqualsIgnoreCaseIfExists", upper, image, false],
    ["StringLike", "abab*", image, true],
    ["StringLike", "ABAB*", image, false],
    ["StringLike", "*", none, false],
    ["StringNotLike", "abab*", image, false],
    ["StringNotLike", "cd*", image, true],
    ["StringNotLike", "*", none, true],
    ["Null", "true", none, true],
    ["Null", "true", image, false],
    ["Null", "false", image, true],
    ["Null", false, none, false],
  ] as const)("%s %j on %j: %s", (operator, value, keys, expected) => {
    expect(met({ [operator]: { [IMAGE]: value } }, keys)).toBe(expected);
  });

  test("Bool, on the one Boolean key", () => {
    const keys = { "aws:securetransport": ["true"] };
    expect(met({ Bool: { "aws:SecureTransport": "true" } }, keys)).toBe(true);
    expect(met({ Bool: { "aws:SecureTransport": true } }, keys)).toBe(true);
    expect(met({ Bool: { "aws:SecureTransport": "false" } }, keys)).toBe(false);
    expect(met({ BoolIfExists: { "aws:SecureTransport": "false" } }, none)).toBe(true);
  });

  test("key names do not tell case", () => {
    expect(met({ StringEquals: { "KMS:recipientATTESTATION:imagesha384": PCR0 } }, image)).toBe(true);
  });

  test("every condition must be met", () => {
    const good = { StringEquals: { [IMAGE]: PCR0 } };
    expect(met({ ...good, StringNotEquals: { "kms:CallerAccount": "1" } }, image)).toBe(true);
    expect(met({ ...good, Null: { "kms:CallerAccount": "false" } }, image)).toBe(false);
    expect(met({ StringEquals: { [IMAGE]: PCR0, "kms:RecipientAttestation:PCR3": PCR0 } }, image)).toBe(false);
  });

  test.each([
    ["ForAllValues:StringEquals", ["a", "b", "c"], ["a", "b"], true],
    ["ForAllValues:StringEquals", ["a"], ["a", "b"], false],
    ["ForAllValues:StringNotEquals", ["c"], ["a", "b"], true],
    ["ForAllValues:StringNotEquals", ["b"], ["a", "b"], false],
    ["ForAllValues:StringEquals", ["a"], undefined, true],
    ["ForAnyValue:StringEquals", ["b"], ["a", "b"], true],
    ["ForAnyValue:StringEquals", ["c"], ["a", "b"], false],
    ["ForAnyValue:StringLike", ["c*"], ["a", "cd"], true],
    ["ForAnyValue:StringEquals", ["a"], undefined, false],
    ["ForAnyValue:StringNotEquals", ["a"], undefined, false],
    ["ForAnyValue:StringEqualsIfExists", ["a"], undefined, true],
  ] as const)("%s %j on %j: %s", (operator, wanted, values, expected) => {
    const keys = values === undefined ? none : { "kms:encryptioncontextkeys": values };
    expect(met({ [operator]: { "kms:EncryptionContextKeys": wanted } }, keys)).toBe(expected);
  });

  test.each([
    ["an unknown operator", { StringEqualz: { [IMAGE]: PCR0 } }],
    ["an operator not simulated", { BinaryEquals: { "aws:PrincipalArn": "QQ==" } }],
    ["an ARN pattern without six parts", { ArnLike: { "kms:CallerAccount": "*" } }],
    ["a number that is none", { NumericLessThan: { "kms:CallerAccount": "many" } }],
    ["a date that is none", { DateLessThan: { "kms:CallerAccount": "today" } }],
    ["an address range that is none", { IpAddress: { "kms:CallerAccount": "10.0.0.0/33" } }],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: IAM's own syntax.
    ["a variable without a value", { StringNotEquals: { [IMAGE]: "${aws:username}" } }],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: IAM's own syntax.
    ["a variable of several values", { StringNotEquals: { [IMAGE]: "${kms:EncryptionContext:A}" } }],
    ["the time, where nobody said it", { DateLessThan: { "aws:CurrentTime": "2099-01-01T00:00:00Z" } }],
    ["what an operation always has", { Null: { "kms:EncryptionAlgorithm": "true" } }],
    ["NullIfExists, which IAM has not", { NullIfExists: { [IMAGE]: "false" } }],
    ["ForAllValues:Null", { "ForAllValues:Null": { [IMAGE]: "false" } }],
    ["a set operator alone", { "ForAllValues:": { [IMAGE]: PCR0 } }],
    ["an unknown set operator", { "ForSomeValues:StringEquals": { [IMAGE]: PCR0 } }],
    ["Null of neither", { Null: { [IMAGE]: "no" } }],
    ["Null of both", { Null: { [IMAGE]: ["true", "false"] } }],
    ["an unknown key", { StringNotEquals: { "aws:SourceVpc": "vpc-1" } }],
    ["Null of an unknown key", { Null: { "aws:SourceVpce": "true" } }],
    ["IfExists of an unknown key", { StringEqualsIfExists: { "aws:SourceVpce": "vpce-1" } }],
    ["a PCR that no enclave has", { Null: { "kms:RecipientAttestation:PCR32": "true" } }],
    ["a PCR with a zero before it", { Null: { "kms:RecipientAttestation:PCR00": "true" } }],
    ["a NitroTPM PCR", { Null: { "kms:RecipientAttestation:NitroTPMPCR4": "true" } }],
    ["an encryption context key of nothing", { Null: { "kms:EncryptionContext:": "true" } }],
    ["several values under an operator for one", { StringLike: { "kms:EncryptionContext:A": "*" } }],
  ])("%s fails closed: Allow does not apply, Deny does", (_what, Condition) => {
    const keys = { ...image, "kms:encryptioncontext:a": ["1", "2"], "kms:calleraccount": ["123456789012"] };
    expect(allowed(policyOf({ ...ALLOW, Condition }), { keys })).toBe(false);
    expect(allowed(policyOf(ALLOW, { ...DENY, Condition }), { keys })).toBe(false);
    // Even beside a condition that is plainly not met.
    const beside = { ...Condition, StringNotEqualsIgnoreCase: { [IMAGE]: PCR0 } };
    expect(allowed(policyOf(ALLOW, { ...DENY, Condition: beside }), { keys })).toBe(false);
  });
});

describe("malformed policies", () => {
  const cases: [what: string, policy: KeyPolicyInput][] = [
    ["no JSON", "{"],
    ["a duplicate key", '{"Version":"2012-10-17","Version":"2012-10-17","Statement":[]}'],
    ["a list", "[]"],
    ["no Version", { Statement: [ALLOW] }],
    ["another Version", { Version: "2026-01-01", Statement: [ALLOW] }],
    ["an Id that is no string", { Version: "2012-10-17", Id: 1, Statement: [ALLOW] }],
    ["an unknown field", { Version: "2012-10-17", Statement: [ALLOW], More: 1 }],
    ["no Statement", { Version: "2012-10-17" }],
    ["an empty Statement", policyOf()],
    ["a Statement that is no object", { Version: "2012-10-17", Statement: ["Allow"] }],
    ["no Effect", policyOf({ ...ALLOW, Effect: undefined })],
    ["an Effect in lower case", policyOf({ ...ALLOW, Effect: "allow" })],
    ["a Sid that is no string", policyOf({ ...ALLOW, Sid: 1 })],
    ["no Principal", policyOf({ ...ALLOW, Principal: undefined })],
    ["an empty Principal", policyOf({ ...ALLOW, Principal: {} })],
    ["a Principal by wildcard", policyOf({ ...ALLOW, Principal: { AWS: "arn:aws:iam::123456789012:role/*" } })],
    ["a Principal that is no ARN", policyOf({ ...ALLOW, Principal: { AWS: "me" } })],
    ["a federated Principal", policyOf({ ...ALLOW, Principal: { Federated: "accounts.google.com" } })],
    ["a Service that is no string", policyOf({ ...ALLOW, Principal: { Service: 1 } })],
    ["an empty list of principals", policyOf({ ...ALLOW, Principal: { AWS: [] } })],
    ["Principal and NotPrincipal", policyOf({ ...ALLOW, NotPrincipal: "*" })],
    ["Action and NotAction", policyOf({ ...ALLOW, NotAction: "kms:Decrypt" })],
    ["Resource and NotResource", policyOf({ ...ALLOW, NotResource: "*" })],
    ["no Action", policyOf({ ...ALLOW, Action: undefined })],
    ["an Action of another service", policyOf({ ...ALLOW, Action: "s3:GetObject" })],
    ["an Action that is no string", policyOf({ ...ALLOW, Action: 1 })],
    ["no Resource", policyOf({ ...ALLOW, Resource: undefined })],
    ["a Resource that is no ARN", policyOf({ ...ALLOW, Resource: "key" })],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: IAM's own syntax.
    ["a malformed variable in a Resource", policyOf({ ...ALLOW, Resource: "arn:aws:kms:*:*:key/${aws}" })],
    ["a Condition that is no object", policyOf({ ...ALLOW, Condition: [] })],
    ["an operator without keys", policyOf({ ...ALLOW, Condition: { StringEquals: "x" } })],
    ["a value that is an object", policyOf({ ...ALLOW, Condition: { StringEquals: { "kms:CallerAccount": {} } } })],
    ["an open variable", policyOf({ ...ALLOW, Condition: { StringLike: { "aws:PrincipalArn": "${aws:username" } } })],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: IAM's own syntax.
    ["an empty variable", policyOf({ ...ALLOW, Condition: { StringLike: { "aws:PrincipalArn": "${}" } } })],
    ["more than 32 KiB", policyOf({ ...ALLOW, Sid: "x".repeat(32_768) })],
  ];
  test.each(cases)("%s", (_what, policy) => {
    expect(() => parseKeyPolicy(policy)).toThrow(expect.objectContaining({ code: "MalformedPolicyDocumentException" }));
  });

  test("no value at all makes the parser fail in another way", () => {
    fc.assert(
      fc.property(
        fc.jsonValue(),
        fc.constantFrom("Principal", "Action", "Resource", "Condition", "Sid"),
        (value, field) => {
          try {
            parseKeyPolicy(policyOf({ ...ALLOW, [field]: value }));
          } catch (error) {
            expect(error).toBeInstanceOf(KmsError);
          }
        },
      ),
    );
  });
});

test("wildcards agree with the regular expression that they mean", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 12 });
  const pattern = fc.string({ unit: fc.constantFrom("a", "b", "*", "?"), maxLength: 8 });
  fc.assert(
    fc.property(pattern, letters, (wild, text) => {
      const meant = new RegExp(`^${wild.replaceAll("*", ".*").replaceAll("?", ".")}$`, "s");
      expect(matchesWildcard(wild, text)).toBe(meant.test(text));
    }),
    { numRuns: 2000 },
  );
});
