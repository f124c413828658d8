import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readStandaloneOptions } from "../../../simulator/kms/standalone-options.ts";
import { AWS_REQUEST_QUOTAS } from "../../../simulator/kms/throttle.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "kms-options-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("what is not said has a default", () => {
  expect(readStandaloneOptions([])).toMatchObject({
    ...{ port: 8443, host: "127.0.0.1", region: "us-east-1", accountId: "111122223333", maxAgeMs: 300_000 },
    ...{
      stateFile: null,
      policy: null,
      roots: [],
      principals: null,
      http: false,
      nsm: null,
      faults: null,
      throttle: null,
    },
  });
  expect(readStandaloneOptions(["--help"])).toBeNull();
});

test("what is said is taken", () => {
  expect(
    readStandaloneOptions(["--aws-root", "--throttle", "aws", "--tls-name", "kms", "--tls-name", "kms2"]),
  ).toMatchObject({
    ...{ roots: [{ name: expect.any(String) }], throttle: AWS_REQUEST_QUOTAS, tlsNames: ["kms", "kms2"] },
  });
  const latency = readStandaloneOptions(["--latency", "5"])?.faults?.plan?.("Decrypt");
  expect(latency).toEqual({ delayMs: 5 });
  const pcrs = readStandaloneOptions(["--nsm", "x", "--pcr", `3=${"ab".repeat(48)}`])?.nsm?.pcrs;
  expect(pcrs).toEqual(new Map([[3, new Uint8Array(48).fill(0xab)]]));
});

test.each([
  [["--no-such-flag"], "no-such-flag"],
  [["--region", "Frankfurt"], "--region"],
  [["--account", "1"], "--account"],
  [["--policy", "no-such-file"], "--policy: cannot read"],
  [["--policy", "package.json"], "--policy: package.json: "],
  [["--root", "package.json"], "--root: package.json: expected a certificate in PEM"],
  [["--fault", "package.json"], "--fault: package.json: "],
  [["--latency", "9-1"], "--latency"],
  [["--latency", "1", "--fault", "package.json"], "not both"],
  [["--throttle", "0"], "--throttle"],
  [["--pcr", "0=00"], "--pcr: is for"],
  [["--nsm", "x", "--pcr", "0=00"], "--pcr: expected"],
  [["--principals", "package.json"], "--principals: package.json: expected a list"],
  [["--max-age", "-1"], "max-age"],
  [["--port", "65536"], "--port: expected 0 to 65535"],
  [["--pcr", "32=00", "--nsm", "x"], "--pcr: expected"],
])("%j is refused", (args, words) => {
  expect(() => readStandaloneOptions(args)).toThrow(words);
});

const GOOD = { arn: "arn:aws:iam::111122223333:user/a", accessKeyId: "AKIAA", secretAccessKey: "s" };
test.each([
  ["an empty list", []],
  ["no object", [1]],
  ["no ARN", [{ ...GOOD, arn: undefined }]],
  ["an ARN of nobody", [{ ...GOOD, arn: "me" }]],
  ["a key id that no signature can carry", [{ ...GOOD, accessKeyId: "a/b" }]],
  ["an unknown member", [{ ...GOOD, more: 1 }]],
  ["a token that is no text", [{ ...GOOD, sessionToken: 1 }]],
  ["policies that are no list", [{ ...GOOD, identityPolicies: {} }]],
  ["a malformed policy", [{ ...GOOD, identityPolicies: [{}] }]],
  ["condition keys that are no texts", [{ ...GOOD, conditionKeys: { "kms:ViaService": 1 } }]],
])("--principals with %s is refused", (_what, principals) => {
  const file = join(folder, "principals.json");
  writeFileSync(file, JSON.stringify(principals));
  expect(() => readStandaloneOptions(["--principals", file])).toThrow(/^--principals: /);
  writeFileSync(file, JSON.stringify([GOOD]));
  expect(readStandaloneOptions(["--principals", file])?.principals).toMatchObject([{ ...GOOD, sessionToken: null }]);
});
