import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  FINDINGS,
  type FindingCode,
  formatKeyPolicy,
  generateKeyPolicy,
  type LintOptions,
  lintKeyPolicy,
  rotateKeyPolicy,
} from "../../kms-policy/index.ts";
import { decideKeyAccess } from "../../simulator/kms/index.ts";
import {
  ACCOUNT,
  anySets,
  BREAK_GLASS,
  bytesOf,
  hex,
  KEY_ID,
  ONE_IMAGE,
  PRINCIPALS,
  pcrs,
  ROLE,
  ROOT,
  STRANGER,
} from "./policies.ts";

const PCR0 = "kms:RecipientAttestation:PCR0";
const USE = ["kms:Decrypt", "kms:GenerateDataKey"];
const KEY_ARN = `arn:aws:kms:us-east-1:${ACCOUNT}:key/${KEY_ID}`;

const codesOf = (text: string, options?: LintOptions): string[] => [
  ...new Set(lintKeyPolicy(text, options).map(({ code }) => code)),
];

describe("no finding in", () => {
  test("whatever generate makes", () => {
    fc.assert(
      fc.property(fc.oneof(anySets, fc.constant([])), (pcrSets) => {
        const text = formatKeyPolicy(generateKeyPolicy({ ...PRINCIPALS, pcrSets }));
        expect(lintKeyPolicy(text)).toEqual([]);
        expect(lintKeyPolicy(text, { breakGlassRoleArn: BREAK_GLASS, keyArn: KEY_ARN })).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  test("the three policies of an upgrade", () => {
    const old = { ...PRINCIPALS, pcrSets: [pcrs({ 8: 1, 3: 2 })] };
    for (const { policy } of rotateKeyPolicy(old, [pcrs({ 0: 3 })], KEY_ID).steps) {
      expect(lintKeyPolicy(formatKeyPolicy(policy))).toEqual([]);
    }
  });
});

type Fields = Record<string, unknown>;

/** The generated policy with statements more, or with one changed. */
const withStatements = (...more: Fields[]): string =>
  JSON.stringify({ Version: "2012-10-17", Statement: [...generateKeyPolicy(ONE_IMAGE).Statement, ...more] }, null, 2);
const withChange = (sid: string, change: Fields): string =>
  JSON.stringify(
    {
      Version: "2012-10-17",
      Statement: generateKeyPolicy(ONE_IMAGE).Statement.map((found) =>
        found.Sid === sid ? { ...found, ...change } : found,
      ),
    },
    null,
    2,
  );
/** Without the Denies: what an Allow then opens by itself. */
const withAllow = (fields: Fields): string =>
  JSON.stringify({
    Version: "2012-10-17",
    Statement: [{ Effect: "Allow", Principal: { AWS: ROLE }, Action: USE, Resource: "*", ...fields }],
  });
const withCondition = (Condition: Fields): string => withChange("AttestedUse", { Condition });
const denyWith = (Condition: Fields): string => withChange("DenyUseWithoutAttestation", { Condition });
const manager = {
  Sid: "M",
  Effect: "Allow",
  Principal: { AWS: BREAK_GLASS },
  Action: "kms:PutKeyPolicy",
  Resource: "*",
};

/** One fault, the text that has it, and the codes that must be among those found. */
const FAULTS: readonly (readonly [string, string, readonly FindingCode[], LintOptions?])[] = [
  ["text that is no JSON", '{"Version": ', ["MALFORMED_JSON"]],
  ["text behind the policy", `${withStatements()} {}`, ["MALFORMED_JSON"]],
  ["a key twice", '{"Version":"2012-10-17","Version":"2012-10-17","Statement":[]}', ["DUPLICATE_KEY"]],
  ["an array", "[]", ["MALFORMED_POLICY"]],
  ["a Cyrillic letter", withStatements().replace("role/operations", "role/\u043eperations"), ["INVALID_CHARACTER"]],
  ["no statement", '{"Version":"2012-10-17"}', ["MALFORMED_POLICY"]],
  ["an unknown element", withStatements({ ...manager, Sid: "X", Principle: "*" }), ["MALFORMED_POLICY"]],
  ["a name that is no principal", withStatements({ ...manager, Principal: { AWS: "me" } }), ["MALFORMED_POLICY"]],
  ["a policy over 32 KiB", `${withStatements()}${" ".repeat(32_768)}`, ["POLICY_TOO_LARGE"]],
  ["an old Version", withStatements().replace("2012-10-17", "2008-10-17"), ["OLD_VERSION"]],
  ["one Sid twice", withStatements({ ...manager, Sid: "AttestedUse" }), ["DUPLICATE_SID"]],

  ["delegation to the account's root", withAllow({ Principal: { AWS: ROOT } }), ["ACCOUNT_ROOT_DELEGATION"]],
  ["delegation by account number", withAllow({ Principal: { AWS: ACCOUNT } }), ["ACCOUNT_ROOT_DELEGATION"]],
  ["everybody", withAllow({ Principal: "*" }), ["WILDCARD_PRINCIPAL", "UNATTESTED_DECRYPT"]],
  [
    "a pattern of principals",
    withAllow({ Principal: { AWS: `arn:aws:iam::${ACCOUNT}:role/*` } }),
    ["PARTIAL_WILDCARD_PRINCIPAL"],
  ],
  [
    "NotPrincipal with Allow",
    withAllow({ Principal: undefined, NotPrincipal: { AWS: STRANGER } }),
    ["NOT_PRINCIPAL_ALLOW", "UNATTESTED_DECRYPT"],
  ],
  [
    "NotPrincipal with Deny",
    withStatements({ Sid: "X", Effect: "Deny", NotPrincipal: { AWS: ROLE }, Action: USE, Resource: "*" }),
    ["NOT_PRINCIPAL_DENY"],
  ],
  [
    "a session",
    withAllow({ Principal: { AWS: `arn:aws:sts::${ACCOUNT}:assumed-role/cloister-parent/me` } }),
    ["SESSION_PRINCIPAL", "UNATTESTED_DECRYPT"],
  ],
  [
    "a deleted principal",
    withStatements({ ...manager, Principal: { AWS: "AROAEXAMPLEEXAMPLE123" } }),
    ["DELETED_PRINCIPAL"],
  ],
  ["a service", withAllow({ Principal: { Service: "lambda.amazonaws.com" } }), ["UNATTESTED_DECRYPT"]],

  ["every action", withAllow({ Action: "kms:*" }), ["WILDCARD_ACTION", "UNATTESTED_DECRYPT", "CREATE_GRANT_ALLOWED"]],
  ["a pattern of actions", withAllow({ Action: "kms:De*" }), ["WILDCARD_ACTION", "UNATTESTED_DECRYPT"]],
  [
    "NotAction with Allow",
    withAllow({ Action: undefined, NotAction: "kms:Encrypt" }),
    ["NOT_ACTION_ALLOW", "UNATTESTED_DECRYPT"],
  ],
  ["a misspelt action in a Deny", withChange("DenyWaysRound", { Action: ["kms:CreateGrants"] }), ["UNKNOWN_ACTION"]],
  ["another service's action", withAllow({ Action: ["s3:GetObject"] }), ["UNKNOWN_ACTION"]],
  ["an action without a key", withAllow({ Action: ["kms:GenerateRandom", ...USE] }), ["ACTION_WITHOUT_KEY"]],

  ["use without a condition", withAllow({}), ["UNATTESTED_DECRYPT", "UNATTESTED_GENERATE_DATA_KEY"]],
  [
    "use under a condition that has nothing to do with attestation",
    withAllow({ Condition: { StringEquals: { "kms:ViaService": "ec2.us-east-1.amazonaws.com" } } }),
    ["UNATTESTED_DECRYPT"],
  ],
  ["another operation without a condition", withAllow({ Action: "kms:GenerateDataKeyPair" }), ["UNATTESTED_OTHER_USE"]],
  ["a document, whichever", withAllow({ Condition: { Null: { [PCR0]: "false" } } }), ["ANY_IMAGE_ADMITTED"]],
  [
    "any image but one",
    withAllow({ Condition: { StringNotEquals: { [PCR0]: hex(1) }, Null: { [PCR0]: false } } }),
    ["ANY_IMAGE_ADMITTED"],
  ],
  [
    "the instance alone",
    withAllow({ Condition: { StringEquals: { "kms:RecipientAttestation:PCR4": hex(1) } } }),
    ["WEAK_IDENTITY"],
  ],
  [
    "the signer alone",
    withAllow({ Condition: { StringEquals: { "kms:RecipientAttestation:PCR8": hex(1) } } }),
    ["WEAK_IDENTITY"],
  ],
  ["a debug enclave", withCondition({ StringEquals: { [PCR0]: hex(0) } }), ["ZERO_PCR"]],
  [
    "a debug enclave exempt from the Deny",
    denyWith({ StringNotEquals: { [PCR0]: [hex(0), hex(0xaa)] } }),
    ["ZERO_PCR"],
  ],
  [
    "NitroTPM's PCR",
    withCondition({ StringEquals: { "kms:RecipientAttestation:NitroTPMPCR4": hex(1) } }),
    ["NITRO_TPM_KEY"],
  ],

  ["Encrypt", withAllow({ Action: "kms:Encrypt" }), ["ENCRYPT_ALLOWED"]],
  [
    "a data key without plaintext",
    withAllow({ Action: "kms:GenerateDataKeyWithoutPlaintext" }),
    ["BLOB_WITHOUT_PLAINTEXT_ALLOWED"],
  ],
  ["ReEncrypt", withAllow({ Action: ["kms:ReEncryptFrom"] }), ["RE_ENCRYPT_ALLOWED"]],
  ["grants", withAllow({ Action: "kms:CreateGrant" }), ["CREATE_GRANT_ALLOWED"]],
  [
    "grants, said to be for AWS's services",
    withAllow({ Action: "kms:CreateGrant", Condition: { Bool: { "kms:GrantIsForAWSResource": "true" } } }),
    ["CREATE_GRANT_ALLOWED"],
  ],
  ["replicas", withAllow({ Action: "kms:ReplicateKey" }), ["REPLICATION_ALLOWED"]],
  ["imported key material", withAllow({ Action: "kms:ImportKeyMaterial" }), ["KEY_MATERIAL_IMPORT_ALLOWED"]],
  ["a use that takes no attestation", withAllow({ Action: "kms:Sign" }), ["UNATTESTABLE_USE_ALLOWED"]],

  [
    "two who change the policy",
    JSON.stringify({
      Version: "2012-10-17",
      Statement: [manager, { ...manager, Sid: "N", Principal: { AWS: STRANGER } }],
    }),
    ["POLICY_CHANGE_BY_OTHERS"],
  ],
  [
    "one who changes the policy, and is not the one",
    JSON.stringify({ Version: "2012-10-17", Statement: [manager] }),
    ["POLICY_CHANGE_BY_OTHERS", "NO_BREAK_GLASS"],
    { breakGlassRoleArn: STRANGER },
  ],
  [
    "one who deletes the key",
    JSON.stringify({
      Version: "2012-10-17",
      Statement: [manager, { ...manager, Sid: "N", Principal: { AWS: STRANGER }, Action: "kms:ScheduleKeyDeletion" }],
    }),
    ["KEY_DESTRUCTION_BY_OTHERS"],
  ],
  [
    "a break-glass role that decrypts, attested or not",
    withAllow({ Action: ["kms:PutKeyPolicy", "kms:Decrypt"], Principal: { AWS: BREAK_GLASS } }),
    ["BREAK_GLASS_CAN_USE"],
  ],
  ["nobody who could change the policy", withAllow({}), ["NO_BREAK_GLASS"]],
  [
    "a Deny that takes the policy from everybody",
    withChange("DenyUseWithoutAttestation", { Action: "kms:*" }),
    ["NO_BREAK_GLASS", "UNREACHABLE_STATEMENT"],
  ],

  ["no Deny", withAllow({}), ["MISSING_ATTESTATION_DENY", "MISSING_DENY"]],
  [
    "a Deny for one principal",
    withChange("DenyUseWithoutAttestation", { Principal: { AWS: STRANGER } }),
    ["MISSING_ATTESTATION_DENY"],
  ],
  [
    "a Deny of one of the two actions",
    withChange("DenyUseWithoutAttestation", { Action: "kms:Decrypt" }),
    ["MISSING_ATTESTATION_DENY"],
  ],
  ["a Deny by the positive operator", denyWith({ StringEquals: { [PCR0]: hex(1) } }), ["MISSING_ATTESTATION_DENY"]],
  [
    "a Deny with one more condition than it may have",
    denyWith({ StringNotEquals: { [PCR0]: hex(0xaa) }, Bool: { "aws:SecureTransport": "false" } }),
    ["MISSING_ATTESTATION_DENY"],
  ],
  ["a Deny of absent documents only", denyWith({ Null: { [PCR0]: "true" } }), ["DENY_MISSES_OTHER_IMAGES"]],
  [
    "Denies that let sets be mixed",
    JSON.stringify({
      Version: "2012-10-17",
      Statement: [
        ...generateKeyPolicy({ ...PRINCIPALS, pcrSets: [pcrs({ 8: 1, 3: 1 }), pcrs({ 8: 2, 3: 2 })] }).Statement.filter(
          ({ Sid }) => !/^DenyUseWithoutAttestation[23]$/.test(Sid),
        ),
      ],
    }),
    ["DENY_MISSES_MIXED_SETS"],
  ],

  ["an operator that is none", withCondition({ StringEqual: { [PCR0]: hex(1) } }), ["UNKNOWN_OPERATOR"]],
  ["Null with a suffix", withCondition({ NullIfExists: { [PCR0]: "false" } }), ["UNKNOWN_OPERATOR"]],
  [
    "a leading zero",
    withCondition({ StringEquals: { "kms:RecipientAttestation:PCR00": hex(1) } }),
    ["UNKNOWN_CONDITION_KEY", "UNREACHABLE_STATEMENT"],
  ],
  ["PCR32", withCondition({ StringEquals: { "kms:RecipientAttestation:PCR32": hex(1) } }), ["UNKNOWN_CONDITION_KEY"]],
  [
    "a misspelt key",
    withCondition({ StringEquals: { "kms:RecipientAttestation:ImageSha256": hex(1) } }),
    ["UNKNOWN_CONDITION_KEY"],
  ],
  ["no prefix", withCondition({ StringEquals: { "RecipientAttestation:PCR0": hex(1) } }), ["UNKNOWN_CONDITION_KEY"]],
  [
    "another case",
    withCondition({ StringEquals: { "kms:RecipientAttestation:ImageSHA384": hex(0xaa) } }),
    ["CONDITION_KEY_CASE"],
  ],
  ["a numeric operator", withCondition({ NumericEquals: { [PCR0]: hex(1) } }), ["WRONG_OPERATOR_TYPE"]],
  [
    "IfExists with Allow",
    withAllow({ Condition: { StringEqualsIfExists: { [PCR0]: hex(1) } } }),
    ["IF_EXISTS_ALLOW", "UNATTESTED_DECRYPT"],
  ],
  ["IfExists with Deny", denyWith({ StringNotEqualsIfExists: { [PCR0]: hex(0xaa) } }), ["IF_EXISTS_DENY"]],
  [
    "ForAllValues with Allow",
    withAllow({ Condition: { "ForAllValues:StringEquals": { [PCR0]: hex(1) } } }),
    ["FOR_ALL_VALUES_ALLOW", "UNATTESTED_DECRYPT"],
  ],
  [
    "ForAnyValue with Deny",
    denyWith({ "ForAnyValue:StringNotEquals": { [PCR0]: hex(0xaa) } }),
    ["FOR_ANY_VALUE_DENY", "MISSING_ATTESTATION_DENY"],
  ],
  [
    "upper case",
    withCondition({ StringEquals: { [PCR0]: hex(0xaa).toUpperCase() } }),
    ["PCR_CASE", "UNREACHABLE_STATEMENT"],
  ],
  [
    "upper case in the Deny",
    denyWith({ StringNotEquals: { [PCR0]: hex(0xaa).toUpperCase() } }),
    ["PCR_CASE", "UNREACHABLE_STATEMENT"],
  ],
  ["SHA-256", withCondition({ StringEquals: { [PCR0]: "ab".repeat(32) } }), ["PCR_MALFORMED", "UNREACHABLE_STATEMENT"]],
  ["a prefix 0x", withCondition({ StringEquals: { [PCR0]: `0x${hex(1)}` } }), ["PCR_MALFORMED"]],
  ["a variable", withCondition({ StringEquals: { [PCR0]: "$" + "{pcr0}" } }), ["PCR_MALFORMED"]],
  ["a pattern", withAllow({ Condition: { StringLike: { [PCR0]: "*" } } }), ["PCR_PATTERN", "ANY_IMAGE_ADMITTED"]],
  ["no value", withCondition({ StringEquals: { [PCR0]: [] } }), ["EMPTY_CONDITION", "UNREACHABLE_STATEMENT"]],

  [
    "an alias",
    withChange("DenyUseWithoutAttestation", { Resource: `arn:aws:kms:us-east-1:${ACCOUNT}:alias/x` }),
    ["RESOURCE_ALIAS", "MISSING_ATTESTATION_DENY"],
  ],
  [
    "a key's ARN",
    withChange("DenyUseWithoutAttestation", { Resource: KEY_ARN }),
    ["RESOURCE_NARROWED", "MISSING_ATTESTATION_DENY"],
  ],
  [
    "another key's ARN",
    withChange("AttestedUse", { Resource: `${KEY_ARN}0` }),
    ["RESOURCE_NARROWED", "UNREACHABLE_STATEMENT"],
    { keyArn: KEY_ARN },
  ],
  ["NotResource", withChange("AttestedUse", { Resource: undefined, NotResource: "x" }), ["NOT_RESOURCE"]],
  [
    "actions that take no document under a condition",
    withChange("AttestedUse", { Action: [...USE, "kms:DescribeKey"] }),
    ["CONDITION_NEVER_MET"],
  ],
  [
    "an Allow that a Deny stands against",
    withStatements({ ...manager, Sid: "X", Principal: { AWS: STRANGER } }),
    ["UNREACHABLE_STATEMENT"],
  ],
  [
    "a Deny that never denies",
    withStatements({
      ...{ Sid: "X", Effect: "Deny", Principal: "*", Action: USE, Resource: "*" },
      Condition: { StringEquals: { [PCR0]: "x" } },
    }),
    ["UNREACHABLE_STATEMENT"],
  ],
  [
    "more PCRs than are tried",
    withStatements(
      ...[1, 2, 3, 4].map((value) => ({
        ...{ Sid: `X${value}`, Effect: "Deny", Principal: "*", Action: USE, Resource: "*" },
        Condition: {
          StringEquals: Object.fromEntries(
            [1, 2, 3, 4, 5].map((at) => [`kms:RecipientAttestation:PCR${at}`, hex(value)]),
          ),
        },
      })),
    ),
    ["TOO_COMPLEX"],
  ],
];

describe("finds", () => {
  const cases = FAULTS.map(([what, text, codes, options]) => ({ what, text, codes, options }));
  test.each(cases)("$what", ({ text, codes, options }) => {
    expect(codesOf(text, options)).toEqual(expect.arrayContaining([...codes]));
  });

  test("every fault that it knows, in some test", () => {
    const reached = new Set(FAULTS.flatMap(([, , codes]) => codes));
    expect([...reached].sort()).toEqual(Object.keys(FINDINGS).sort());
  });
});

test("what is no fault is not found: a key's own ARN, once it is known", () => {
  const text = withChange("AttestedUse", { Resource: KEY_ARN });
  expect(codesOf(text, { keyArn: KEY_ARN })).toEqual([]);
});

test("an account's delegation that Denies take back but for reading is not called a hole", () => {
  const root = { Sid: "Root", Effect: "Allow", Principal: { AWS: ROOT }, Action: "kms:Describe*", Resource: "*" };
  expect(codesOf(withStatements(root))).toEqual([]);
});

describe("the place of a finding", () => {
  const text = withCondition({ StringEquals: { [PCR0]: ["ab", hex(0xaa)] } });
  const [finding] = lintKeyPolicy(text).filter(({ code }) => code === "PCR_MALFORMED");

  test("is the line and the column of what is wrong", () => {
    const line = text.split("\n")[(finding?.line ?? 0) - 1] ?? "";
    expect(line.slice((finding?.column ?? 0) - 1)).toBe('"ab",');
  });

  test("comes with statement, attack and repair", () => {
    expect(finding).toMatchObject({
      severity: "error",
      statement: "AttestedUse",
      message: "PCR0: expected 96 hex digits, got 2 characters, 2 hex digits",
      attack: FINDINGS.PCR_MALFORMED.attack,
      repair: FINDINGS.PCR_MALFORMED.repair,
    });
  });

  test("is where JSON breaks off", () => {
    const [broken] = lintKeyPolicy('{\n  "Version": x\n}');
    expect(broken).toMatchObject({ code: "MALFORMED_JSON", line: 2, column: 14 });
  });
});

test("any text has an answer", () => {
  const pieces = fc.constantFrom(
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"Statement"',
    '"Effect"',
    '"Allow"',
    '"*"',
    "1",
    "\\",
    '"',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.array(pieces).map((all) => all.join("")),
      ),
      (text) => {
        expect(lintKeyPolicy(text).length).toBeGreaterThan(0);
      },
    ),
    { numRuns: 2000 },
  );
});

describe("by the simulator's evaluator", () => {
  const who = fc.constantFrom<unknown>("*", { AWS: ROOT }, { AWS: ROLE }, { AWS: [STRANGER, ROLE] }, { AWS: ACCOUNT });
  const operator = fc.constantFrom(
    ...["StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike"],
    ...["StringEqualsIfExists", "ForAllValues:StringEquals", "ForAnyValue:StringNotEquals", "StringNotLike"],
  );
  const key = fc.constantFrom(PCR0, "kms:RecipientAttestation:ImageSha384", "kms:RecipientAttestation:PCR3");
  const value = fc.constantFrom(hex(1), hex(0xaa), hex(0xaa).toUpperCase(), hex(0), "*");
  const condition = fc.oneof(
    fc
      .tuple(operator, key, fc.array(value, { minLength: 1, maxLength: 2 }))
      .map(([op, name, list]) => ({ [op]: { [name]: list } })),
    fc.constantFrom(ROLE, STRANGER).map((arn) => ({ StringNotEquals: { "aws:PrincipalArn": arn } })),
    fc.constantFrom("true", "false").map((absent) => ({ Null: { [PCR0]: absent } })),
  );
  const statement = fc.record({
    Effect: fc.constantFrom("Allow", "Deny"),
    Principal: who,
    Action: fc.constantFrom("kms:*", "kms:Decrypt", "kms:De*", "kms:Encrypt", "kms:PutKeyPolicy", "*"),
    Resource: fc.constant("*"),
    Condition: fc.oneof(fc.constant({}), condition),
  });

  const decide = (policy: Fields, principalArn: string, operation: string, document: "none" | "other" | "debug") =>
    decideKeyAccess({
      policy,
      principalArn,
      operation,
      documentPcrs: document === "none" ? null : bytesOf(pcrs({ 0: document === "other" ? 0x77 : 0, 3: 0x77 })),
    }).kind;

  test("no hole goes unseen: what is open without the right document has an error", () => {
    fc.assert(
      fc.property(fc.array(statement, { minLength: 1, maxLength: 4 }), (Statement) => {
        const policy = { Version: "2012-10-17", Statement };
        const codes = codesOf(JSON.stringify(policy));
        for (const arn of [ROLE, STRANGER, ROOT, `arn:aws:iam::${ACCOUNT}:user/nobody`]) {
          if (decide(policy, arn, "Decrypt", "none") === "allow") expect(codes).toContain("UNATTESTED_DECRYPT");
          else if (decide(policy, arn, "Decrypt", "other") === "allow") {
            expect(codes.some((code) => code === "ANY_IMAGE_ADMITTED" || code === "UNATTESTED_DECRYPT")).toBe(true);
          } else if (decide(policy, arn, "Decrypt", "debug") === "allow") {
            expect(codes.some((code) => /ZERO_PCR|ANY_IMAGE_ADMITTED|PCR_PATTERN|UNATTESTED_DECRYPT/.test(code))).toBe(
              true,
            );
          }
          if (decide(policy, arn, "Encrypt", "none") === "allow") expect(codes).toContain("ENCRYPT_ALLOWED");
        }
      }),
      { numRuns: 1500 },
    );
  });

  test("no cry without need: with an error of unattested use somebody can use the key so", () => {
    fc.assert(
      fc.property(fc.array(statement, { minLength: 1, maxLength: 4 }), (Statement) => {
        const policy = { Version: "2012-10-17", Statement };
        const isFound = codesOf(JSON.stringify(policy)).includes("UNATTESTED_DECRYPT");
        const others = [ROLE, STRANGER, ROOT, `arn:aws:iam::${ACCOUNT}:role/any-other-role`];
        const isOpen = others.some((arn) => decide(policy, arn, "Decrypt", "none") === "allow");
        // A policy for everybody names no account: the linter then asks for one of its own.
        if (JSON.stringify(policy).includes(ACCOUNT)) expect(isFound).toBe(isOpen);
      }),
      { numRuns: 1500 },
    );
  });
});
