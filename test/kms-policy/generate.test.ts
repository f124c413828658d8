import * as kms from "@aws-sdk/client-kms";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  formatKeyPolicy,
  generateKeyPolicy,
  type KeyPolicyDocument,
  KeyPolicyError,
  type KeyPolicyErrorCode,
  type KeyPolicyParameters,
  type PcrValues,
} from "../../kms-policy/index.ts";
import { decideKeyAccess } from "../../simulator/kms/index.ts";
import {
  ADMINISTRATOR,
  anyDocument,
  anySets,
  BREAK_GLASS,
  bytesOf,
  hex,
  matchesSome,
  ONE_IMAGE,
  PRINCIPALS,
  pcrs,
  ROLE,
  ROOT,
  STRANGER,
} from "./policies.ts";

function decide(policy: KeyPolicyDocument, principalArn: string, operation: string, document: PcrValues | null) {
  return decideKeyAccess({
    policy,
    principalArn,
    operation,
    documentPcrs: document === null ? null : bytesOf(document),
  });
}

const ADMIT_ALL = { Effect: "Allow", Principal: { AWS: "*" }, Action: "kms:*", Resource: "*" } as const;

/** With what grants, a root delegation or a later hand may add: only the explicit Denies are left to stop it. */
function withEverythingAllowed({ Version, Statement }: KeyPolicyDocument): Record<string, unknown> {
  return { Version, Statement: [...Statement, ADMIT_ALL] };
}

describe("a generated policy, by the simulator's evaluator", () => {
  test("admits a document if some set matches fully, and no other", () => {
    fc.assert(
      fc.property(
        anySets,
        anyDocument,
        fc.constantFrom("Decrypt", "GenerateDataKey"),
        (pcrSets, document, operation) => {
          const policy = generateKeyPolicy({ ...PRINCIPALS, pcrSets });
          const admitted = matchesSome(document, pcrSets);
          expect(decide(policy, ROLE, operation, document).kind).toBe(admitted ? "allow" : "deny");
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("its Denies alone do so too: whatever else is allowed, a document that matches no set is denied", () => {
    fc.assert(
      fc.property(anySets, anyDocument, (pcrSets, document) => {
        const policy = withEverythingAllowed(generateKeyPolicy({ ...PRINCIPALS, pcrSets }));
        const documentPcrs = document === null ? null : bytesOf(document);
        const decision = decideKeyAccess({ policy, principalArn: ROLE, operation: "Decrypt", documentPcrs });
        expect(decision.kind).toBe(matchesSome(document, pcrSets) ? "allow" : "deny");
      }),
      { numRuns: 2000 },
    );
  });

  test("one Deny for each PCR would not do: it lets sets be mixed", () => {
    const a = pcrs({ 8: 1, 3: 1 });
    const b = pcrs({ 8: 2, 3: 2 });
    const naive = {
      Version: "2012-10-17",
      Statement: [
        ADMIT_ALL,
        ...[8, 3].map((pcr) => ({
          ...{ Effect: "Deny", Principal: "*", Action: "kms:Decrypt", Resource: "*" },
          Condition: { StringNotEqualsIgnoreCase: { [`kms:RecipientAttestation:PCR${pcr}`]: [hex(1), hex(2)] } },
        })),
      ],
    };
    const mixed = bytesOf(pcrs({ 8: 1, 3: 2 }));
    const question = { principalArn: ROLE, operation: "Decrypt", documentPcrs: mixed };
    expect(decideKeyAccess({ ...question, policy: naive }).kind).toBe("allow");
    const ours = withEverythingAllowed(generateKeyPolicy({ ...PRINCIPALS, pcrSets: [a, b] }));
    expect(decideKeyAccess({ ...question, policy: ours }).kind).toBe("deny");
  });

  test("a grant opens nothing: the Denies count before it", () => {
    const policy = generateKeyPolicy(ONE_IMAGE);
    for (const principalArn of [ROLE, STRANGER]) {
      for (const operation of ["Decrypt", "GenerateDataKey", "Encrypt", "ReEncryptFrom", "CreateGrant"]) {
        const grants = [{ granteePrincipal: principalArn, operations: [operation] }];
        const question = { principalArn, operation, documentPcrs: null, grants };
        expect(decideKeyAccess({ ...question, policy }).kind).toBe("deny");
        expect(
          decideKeyAccess({ ...question, policy: { ...policy, Statement: policy.Statement.slice(0, 1) } }).kind,
        ).toBe("allow");
      }
    }
  });

  test("admits nobody but the role, whatever the document", () => {
    const policy = withEverythingAllowed(generateKeyPolicy(ONE_IMAGE));
    for (const principalArn of [BREAK_GLASS, ADMINISTRATOR, STRANGER, ROOT]) {
      for (const operation of ["Decrypt", "GenerateDataKey"]) {
        const documentPcrs = bytesOf(pcrs({ 0: 0xaa }));
        expect(decideKeyAccess({ policy, principalArn, operation, documentPcrs }).kind).toBe("deny");
      }
    }
  });

  test("without a set, nobody may use the key", () => {
    const policy = generateKeyPolicy({ ...PRINCIPALS, pcrSets: [] });
    const decision = decide(policy, ROLE, "Decrypt", pcrs({ 0: 0xaa }));
    expect(decision).toMatchObject({ kind: "deny", reason: "EXPLICIT_DENY", statement: { index: 0 } });
    expect(decide(policy, BREAK_GLASS, "PutKeyPolicy", null).kind).toBe("allow");
  });
});

describe("every operation of AWS's SDK", () => {
  const operations = Object.keys(kms)
    .filter((name) => /^[A-Z].*Command$/.test(name))
    .map((name) => name.slice(0, -"Command".length))
    .flatMap((name) => (name === "ReEncrypt" ? ["ReEncryptFrom", "ReEncryptTo"] : [name]));
  const policy = generateKeyPolicy(ONE_IMAGE);
  const allowedTo = (principalArn: string) =>
    operations
      .filter((operation) => decide(policy, principalArn, operation, pcrs({ 0: 0xaa })).kind === "allow")
      .sort();

  test("is allowed to the role only if the enclave calls it", () => {
    expect(allowedTo(ROLE)).toEqual(["Decrypt", "GenerateDataKey"]);
  });

  test("is allowed to administrators only if it describes or tags", () => {
    for (const name of allowedTo(ADMINISTRATOR)) expect(name).toMatch(/^(Describe|Get|List|Tag|Untag)/);
  });

  test("is allowed to nobody else", () => {
    expect(allowedTo(STRANGER)).toEqual([]);
    expect(allowedTo(ROOT)).toEqual([]);
    expect(allowedTo(BREAK_GLASS)).toContain("PutKeyPolicy");
    expect(allowedTo(BREAK_GLASS)).not.toContain("CreateGrant");
  });

  test("that does more than describe and tag stays denied to a stranger if everything is allowed to everybody", () => {
    const open = withEverythingAllowed(policy);
    const left = operations.filter(
      (operation) =>
        decideKeyAccess({ policy: open, principalArn: STRANGER, operation, documentPcrs: null }).kind === "allow",
    );
    // A new operation of AWS's shows up here: then kms-policy/actions.ts must say what it is.
    expect(left.filter((name) => !/^(Describe|Get|List|Tag|Untag)/.test(name))).toEqual([
      "ConnectCustomKeyStore",
      "CreateCustomKeyStore",
      "CreateKey",
      "DeleteCustomKeyStore",
      "DisconnectCustomKeyStore",
      "GenerateRandom",
      "UpdateCustomKeyStore",
    ]);
    expect(left).not.toContain("GetParametersForImport");
  });
});

describe("the text of a generated policy", () => {
  test("does not depend on the order or the case of what is given", () => {
    const [a, b] = [pcrs({ 8: 0xa1, 3: 0xa2 }), pcrs({ 0: 0xa3 })];
    const upper = new Map([...a].reverse().map(([index, value]) => [index, value.toUpperCase()]));
    const administratorArns = [ADMINISTRATOR, STRANGER];
    const once = generateKeyPolicy({ ...PRINCIPALS, administratorArns, pcrSets: [a, b] });
    const again = generateKeyPolicy({
      ...{ ...PRINCIPALS, administratorArns: [...administratorArns].reverse() },
      pcrSets: [b, upper, b],
    });
    expect(formatKeyPolicy(again)).toBe(formatKeyPolicy(once));
  });

  test("has one Sid for each statement", () => {
    const { Statement } = generateKeyPolicy({ ...PRINCIPALS, pcrSets: [pcrs({ 8: 1, 3: 1 }), pcrs({ 8: 2, 3: 2 })] });
    expect(Statement.map(({ Sid }) => Sid)).toEqual([
      ...["AttestedUse1", "AttestedUse2"],
      ...[1, 2, 3, 4].map((at) => `DenyUseWithoutAttestation${at}`),
      ...["DenyUseByOthers", "DenyWaysRound", "DenyManagementByOthers"],
      ...["BreakGlassManages", "AdministratorsDescribeAndTag"],
    ]);
  });

  test("needs no more Denies than what sets do not share", () => {
    const { Statement } = generateKeyPolicy({ ...PRINCIPALS, pcrSets: [pcrs({ 8: 1, 3: 3 }), pcrs({ 8: 2, 3: 3 })] });
    const denies = Statement.filter(({ Sid }) => Sid.startsWith("DenyUseWithoutAttestation"));
    expect(denies.map(({ Condition }) => Condition)).toEqual([
      { StringNotEqualsIgnoreCase: { "kms:RecipientAttestation:PCR3": [hex(3)] } },
      { StringNotEqualsIgnoreCase: { "kms:RecipientAttestation:PCR8": [hex(1), hex(2)] } },
    ]);
  });
});

describe("parameters that make no policy", () => {
  const cases: readonly (readonly [KeyPolicyErrorCode, string, Partial<KeyPolicyParameters>])[] = [
    ["INVALID_ACCOUNT", "an account of 11 digits", { accountId: "11112222333" }],
    ["INVALID_ARN", "an instance profile", { roleArn: "arn:aws:iam::111122223333:instance-profile/x" }],
    ["INVALID_ARN", "a session", { roleArn: "arn:aws:sts::111122223333:assumed-role/x/y" }],
    ["INVALID_ARN", "a wildcard", { roleArn: "arn:aws:iam::111122223333:role/*" }],
    ["INVALID_ARN", "the account's root", { breakGlassRoleArn: ROOT }],
    ["INVALID_ARN", "a break-glass user", { breakGlassRoleArn: "arn:aws:iam::111122223333:user/eve" }],
    ["INVALID_ARN", "a break-glass role elsewhere", { breakGlassRoleArn: "arn:aws:iam::444455556666:role/x" }],
    ["INVALID_ARN", "an administrator elsewhere", { administratorArns: ["arn:aws:iam::444455556666:user/eve"] }],
    ["PRINCIPAL_CONFLICT", "one role that uses and manages", { breakGlassRoleArn: ROLE }],
    ["PRINCIPAL_CONFLICT", "one role that uses and administers", { administratorArns: [ROLE] }],
    ["PRINCIPAL_CONFLICT", "break-glass for daily work", { administratorArns: [BREAK_GLASS] }],
    ["INVALID_PCR", "PCR32", { pcrSets: [new Map([[32, hex(1)]])] }],
    ["INVALID_PCR", "SHA-256", { pcrSets: [new Map([[0, "ab".repeat(32)]])] }],
    ["INVALID_PCR", "zeros", { pcrSets: [pcrs({ 0: 0 })] }],
    ["INVALID_PCR", "zeros beside an image", { pcrSets: [pcrs({ 0: 1, 8: 0 })] }],
    ["WEAK_PCR_SET", "an empty set", { pcrSets: [new Map()] }],
    ["WEAK_PCR_SET", "the role alone", { pcrSets: [pcrs({ 3: 1 })] }],
    ["WEAK_PCR_SET", "the signer alone", { pcrSets: [pcrs({ 8: 1 })] }],
    ["TOO_MANY_SETS", "five sets", { pcrSets: [1, 2, 3, 4, 5].map((value) => pcrs({ 0: value })) }],
    ["TOO_MANY_SETS", "six PCRs", { pcrSets: [pcrs({ 0: 1, 1: 1, 2: 1, 3: 1, 4: 1, 8: 1 })] }],
    [
      "POLICY_TOO_LARGE",
      "sets that share nothing",
      { pcrSets: [1, 2, 3, 4].map((value) => pcrs({ 0: value, 1: value, 2: value, 3: value, 4: value })) },
    ],
  ];
  test.each(cases)("%s: %s", (code, _what, parameters) => {
    const make = () => generateKeyPolicy({ ...ONE_IMAGE, ...parameters });
    expect(make).toThrow(KeyPolicyError);
    expect(make).toThrow(expect.objectContaining({ code }));
  });

  test("a PCR given twice", async () => {
    const { createPcrValues } = await import("../../kms-policy/index.ts");
    const twice: [number, string][] = [
      [0, hex(1)],
      [0, hex(2)],
    ];
    expect(() => createPcrValues(twice)).toThrow(expect.objectContaining({ code: "INVALID_PCR" }));
  });

  test("a role of another account may use the key: its own account must allow it too", () => {
    const roleArn = "arn:aws:iam::444455556666:role/signers/parent";
    expect(generateKeyPolicy({ ...ONE_IMAGE, roleArn }).Statement[0]?.Principal).toEqual({ AWS: roleArn });
  });
});
