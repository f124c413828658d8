/** deploy/terraform/kms-key makes the very bytes that generate makes: asked of Terraform itself, without any provider. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  formatKeyPolicy,
  generateKeyPolicy,
  KeyPolicyError,
  type KeyPolicyParameters,
} from "../../kms-policy/index.ts";
import { ADMINISTRATOR, anySets, BREAK_GLASS, ONE_IMAGE, PRINCIPALS, pcrs, ROLE, STRANGER } from "./policies.ts";

const MODULE = "deploy/terraform/kms-key";
const ENVIRONMENT = { ...process.env, CHECKPOINT_DISABLE: "1", TF_CLI_CONFIG_FILE: "/dev/null" };
const isAbsent = spawnSync("terraform", ["version"], { env: ENVIRONMENT }).status !== 0;
const NAME = isAbsent ? "skipped: there is no terraform on this machine" : "terraform";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cloister-terraform-"));
  cpSync(join(MODULE, "policy"), folder, { recursive: true });
});
afterEach(() => rmSync(folder, { recursive: true }));

function terraform(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync("terraform", [`-chdir=${folder}`, ...args], {
    env: ENVIRONMENT,
    encoding: "utf8",
    timeout: 20_000,
  });
  return { status, stdout, stderr };
}

function apply({ accountId, roleArn, breakGlassRoleArn, administratorArns, pcrSets }: KeyPolicyParameters) {
  const variables = {
    account_id: accountId,
    role_arn: roleArn,
    break_glass_role_arn: breakGlassRoleArn,
    administrator_arns: administratorArns,
    pcr_sets: pcrSets.map((set) => Object.fromEntries(set)),
  };
  writeFileSync(join(folder, "test.auto.tfvars.json"), JSON.stringify(variables));
  return terraform("apply", "-auto-approve", "-input=false", "-no-color");
}

function rendered(parameters: KeyPolicyParameters): string {
  const { status, stderr } = apply(parameters);
  expect({ status, stderr: status === 0 ? "" : stderr }).toEqual({ status: 0, stderr: "" });
  return terraform("output", "-raw", "json").stdout;
}

describe.skipIf(isAbsent)(NAME, () => {
  const cases: readonly (readonly [string, KeyPolicyParameters])[] = [
    ["one image", ONE_IMAGE],
    ["no image", { ...PRINCIPALS, pcrSets: [] }],
    ["no administrator", { ...ONE_IMAGE, administratorArns: [] }],
    [
      "administrators in any order, and twice",
      { ...ONE_IMAGE, administratorArns: [STRANGER, ADMINISTRATOR, STRANGER] },
    ],
    ["an upgrade", { ...PRINCIPALS, pcrSets: [pcrs({ 0: 0xbb }), pcrs({ 0: 0xaa })] }],
    ["signers", { ...PRINCIPALS, pcrSets: [pcrs({ 8: 1, 3: 2 }), pcrs({ 8: 3, 3: 4 })] }],
    ["signers of one role", { ...PRINCIPALS, pcrSets: [pcrs({ 8: 1, 3: 2 }), pcrs({ 8: 3, 3: 2 })] }],
    ["PCRs of two digits", { ...PRINCIPALS, pcrSets: [pcrs({ 0: 1, 16: 2, 9: 3 }), pcrs({ 8: 1, 3: 2, 31: 4 })] }],
    ["upper-case hex", { ...PRINCIPALS, pcrSets: [new Map([[0, "AB".repeat(48)]])] }],
  ];
  test.each(cases)("renders %s byte for byte", (_what, parameters) => {
    expect(rendered(parameters)).toBe(formatKeyPolicy(generateKeyPolicy(parameters)));
  });

  test("renders any sets byte for byte", () => {
    fc.assert(
      fc.property(anySets, (pcrSets) => {
        const parameters = { ...PRINCIPALS, pcrSets };
        expect(rendered(parameters)).toBe(formatKeyPolicy(generateKeyPolicy(parameters)));
      }),
      { numRuns: 15 },
    );
  });

  test.each<readonly [string, Partial<KeyPolicyParameters>]>([
    ["an account of 11 digits", { accountId: "11112222333" }],
    ["a role that is a session", { roleArn: "arn:aws:sts::111122223333:assumed-role/x/y" }],
    ["a pattern of roles", { roleArn: "arn:aws:iam::111122223333:role/*" }],
    ["the root as break-glass", { breakGlassRoleArn: "arn:aws:iam::111122223333:root" }],
    ["a break-glass role elsewhere", { breakGlassRoleArn: "arn:aws:iam::444455556666:role/x" }],
    ["an administrator elsewhere", { administratorArns: ["arn:aws:iam::444455556666:user/x"] }],
    ["a role that uses and manages", { breakGlassRoleArn: ROLE }],
    ["a role that uses and administers", { administratorArns: [ROLE] }],
    ["break-glass for daily work", { administratorArns: [BREAK_GLASS] }],
    ["a debug enclave", { pcrSets: [pcrs({ 0: 0 })] }],
    ["SHA-256", { pcrSets: [new Map([[0, "ab".repeat(32)]])] }],
    ["PCR32", { pcrSets: [pcrs({ 0: 1, 32: 1 })] }],
    ["the role alone", { pcrSets: [pcrs({ 3: 1 })] }],
    ["five sets", { pcrSets: [1, 2, 3, 4, 5].map((value) => pcrs({ 0: value })) }],
    ["six PCRs", { pcrSets: [pcrs({ 0: 1, 1: 1, 2: 1, 3: 1, 4: 1, 8: 1 })] }],
    ["a policy over 32 KiB", { pcrSets: [1, 2, 3].map((value) => pcrs({ 0: value, 1: value, 2: value, 3: value })) }],
  ])("refuses %s, as generate does", (_what, change) => {
    const parameters = { ...ONE_IMAGE, ...change };
    expect(() => generateKeyPolicy(parameters)).toThrow(KeyPolicyError);
    expect(apply(parameters).status).toBe(1);
  });

  test("is formatted as Terraform formats", () => {
    const { status, stdout } = spawnSync("terraform", ["fmt", "-check", "-recursive", MODULE], {
      env: ENVIRONMENT,
      encoding: "utf8",
    });
    expect({ status, stdout }).toEqual({ status: 0, stdout: "" });
  });
});

test("the key takes that policy and nothing else", () => {
  const main = readFileSync(`${MODULE}/main.tf`, "utf8");
  expect(main.match(/^ *policy +=.*$/gm)).toEqual(["  policy      = module.policy.json"]);
  expect(main).toContain('source = "./policy"');
  expect(main).not.toContain("aws_kms_key_policy");
});
