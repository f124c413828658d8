/** The faults of policies that projects publish are found. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type FindingCode, lintKeyPolicy } from "../../kms-policy/index.ts";

const FOLDER = "test/kms-policy/samples";

/** What a delegation of everything to the account opens. */
const DELEGATED: readonly FindingCode[] = [
  ...(["ACCOUNT_ROOT_DELEGATION", "BLOB_WITHOUT_PLAINTEXT_ALLOWED", "CREATE_GRANT_ALLOWED"] as const),
  ...(["ENCRYPT_ALLOWED", "KEY_DESTRUCTION_BY_OTHERS", "KEY_MATERIAL_IMPORT_ALLOWED"] as const),
  ...(["POLICY_CHANGE_BY_OTHERS", "REPLICATION_ALLOWED", "RE_ENCRYPT_ALLOWED", "UNATTESTABLE_USE_ALLOWED"] as const),
  ...(["UNATTESTED_DECRYPT", "UNATTESTED_GENERATE_DATA_KEY", "UNATTESTED_OTHER_USE", "WILDCARD_ACTION"] as const),
];
const NO_DENY: readonly FindingCode[] = ["MISSING_ATTESTATION_DENY", "MISSING_DENY"];

const EXPECTED: Readonly<Record<string, readonly FindingCode[]>> = {
  "admin-role-decrypts.json": [...NO_DENY, "UNATTESTED_DECRYPT", "BREAK_GLASS_CAN_USE"],
  "console-administrators.json": [...NO_DENY, ...DELEGATED, "BREAK_GLASS_CAN_USE", "CONDITION_NEVER_MET"],
  "debug-zeros.json": ["MISSING_DENY", "ZERO_PCR"],
  "default-key-policy.json": [...NO_DENY, ...DELEGATED],
  "hidden-by-unconditional-allow.json": [...NO_DENY, "UNATTESTED_DECRYPT", "UNATTESTED_GENERATE_DATA_KEY"],
  "lockout.json": ["NO_BREAK_GLASS", "UNREACHABLE_STATEMENT"],
  "one-statement-for-all-actions.json": [...NO_DENY, "CONDITION_NEVER_MET"],
  "role-without-image.json": [...NO_DENY, "WEAK_IDENTITY"],
  "root-and-image.json": [...NO_DENY, ...DELEGATED],
  "two-denies-for-two-images.json": ["MISSING_DENY", "UNREACHABLE_STATEMENT"],
  "wallet-with-encrypt.json": [...NO_DENY, ...DELEGATED],
};

test("every sample is expected", () => {
  expect(readdirSync(FOLDER).filter((name) => name.endsWith(".json"))).toEqual(Object.keys(EXPECTED).sort());
});

test.each(Object.entries(EXPECTED))("%s", (name, codes) => {
  const found = lintKeyPolicy(readFileSync(`${FOLDER}/${name}`, "utf8"));
  expect([...new Set(found.map(({ code }) => code))].sort()).toEqual([...new Set(codes)].sort());
});

test("somebody outside the enclave who may Encrypt is found where he is allowed, beside the delegation", () => {
  const found = lintKeyPolicy(readFileSync(`${FOLDER}/wallet-with-encrypt.json`, "utf8"));
  const statements = found.filter(({ code }) => code === "ENCRYPT_ALLOWED").map(({ statement }) => statement);
  expect(statements).toEqual(["Enable IAM User Permissions", "Enable encrypt from lambda"]);
});
