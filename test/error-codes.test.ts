/** Codes are promises to callers and operators: each must have a test in which it comes up. */
import { globSync, readFileSync } from "node:fs";
import { relative } from "node:path";
import { expect, test } from "vitest";
import { ERROR_CODES } from "../protocol/index.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const OWN = relative(ROOT, import.meta.filename);

const tests = globSync("test/**/*.ts", { cwd: ROOT })
  .filter((file) => file !== OWN)
  .map((file) => readFileSync(`${ROOT}/${file}`, "utf8"));

/** A union of string literals, read from the source: types leave nothing to import. */
function codesOf(file: string, union: string): string[] {
  const source = readFileSync(`${ROOT}/${file}`, "utf8");
  const declaration = new RegExp(`export type ${union} =([^;]*);`).exec(source)?.[1] ?? "";
  const codes = [...declaration.matchAll(/"([A-Z0-9_]+)"/g)].map(([, code = ""]) => code);
  // An empty list would pass whatever the tests do.
  if (codes.length < 2) throw new Error(`${file}: no union ${union}`);
  return codes;
}

/** What the enclave answers when it does not know why: no input is known to bring it about. */
const UNREACHABLE = new Set(["INTERNAL"]);

const parentCodes = Object.keys(ERROR_CODES).filter((code) => code.startsWith("PARENT_"));
const enclaveCodes = Object.keys(ERROR_CODES).filter((code) => !code.startsWith("PARENT_") && !UNREACHABLE.has(code));

test.each([
  ...codesOf("enclave/errors.ts", "StartErrorCode").map((code) => ["StartErrorCode", code] as const),
  ...codesOf("client/errors.ts", "ClientErrorCode").map((code) => ["ClientErrorCode", code] as const),
  ...codesOf("eif/errors.ts", "EifErrorCode").map((code) => ["EifErrorCode", code] as const),
  ...codesOf("eif/image/errors.ts", "ImageErrorCode").map((code) => ["ImageErrorCode", code] as const),
  ...codesOf("eif/build-errors.ts", "BuildErrorCode").map((code) => ["BuildErrorCode", code] as const),
  ...codesOf("client/errors.ts", "CustodyErrorCode").map((code) => ["CustodyErrorCode", code] as const),
  ...codesOf("client/verify-events.ts", "EventsErrorCode").map((code) => ["EventsErrorCode", code] as const),
  ...codesOf("enclave/policy/lint.ts", "PolicyFindingCode").map((code) => ["PolicyFindingCode", code] as const),
  ...codesOf("enclave/policy/decide.ts", "DenialReason").map((code) => ["DenialReason", code] as const),
  ...codesOf("host/errors.ts", "HostErrorCode").map((code) => ["HostErrorCode", code] as const),
  ...codesOf("host/doctor/facts.ts", "FactErrorCode").map((code) => ["FactErrorCode", code] as const),
  ...codesOf("client-node/errors.ts", "KeyFileErrorCode").map((code) => ["KeyFileErrorCode", code] as const),
  ...codesOf("protocol/errors.ts", "ProtocolErrorCode").map((code) => ["ProtocolErrorCode", code] as const),
  ...enclaveCodes.map((code) => ["EnclaveErrorCode", code] as const),
  ...parentCodes.map((code) => ["ParentErrorCode", code] as const),
  ...codesOf("vsock/errors.ts", "VsockErrorCode").map((code) => ["VsockErrorCode", code] as const),
])("%s %s has a test", (_union, code) => {
  expect(tests.some((source) => source.includes(`"${code}"`))).toBe(true);
});

test("a code that nobody tests would be found", () => {
  const untested = ["NO", "SUCH", "CODE"].join("_");
  expect(tests.some((source) => source.includes(`"${untested}"`))).toBe(false);
});
