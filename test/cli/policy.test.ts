/** `cloister policy`, against files and without an enclave. */

import { serializeTransaction } from "viem";
import { expect, test } from "vitest";
import { checkCommand } from "../../cli/policy-check.ts";
import { lintCommand } from "../../cli/policy-lint.ts";

const BOB = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045";
const FROM = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf";
const transfer = (value: bigint) =>
  serializeTransaction({
    type: "eip1559",
    chainId: 1,
    nonce: 0,
    to: BOB,
    value,
    gas: 21_000n,
    maxFeePerGas: 9n,
    maxPriorityFeePerGas: 1n,
  });
const policy = {
  v: 1,
  rules: [
    { id: "small", effect: "allow", when: [{ field: "evm.value", atMost: "5" }] },
    {
      id: "approved",
      effect: "allow",
      when: [{ field: "evm.value", atMost: "50" }],
      approvals: { of: ["own-passkey"], threshold: 1, expiresS: 60 },
    },
    { id: "never", effect: "deny", when: [{ field: "evm.to", in: [FROM] }] },
  ],
};
const FILES: Readonly<Record<string, string>> = {
  "policy.json": JSON.stringify(policy),
  "app.json": JSON.stringify({ name: "x", policy }),
  "closed.json": JSON.stringify({ v: 1, rules: [] }),
  "odd.json": JSON.stringify({
    v: 1,
    rules: [{ id: "a", effect: "allow", when: [{ field: "evm.valve", atMost: "5" }] }],
  }),
  "shadowed.json": JSON.stringify({
    v: 1,
    rules: [
      { id: "a", effect: "allow", when: [] },
      { id: "b", effect: "deny", when: [] },
    ],
  }),
  "five.hex": transfer(5n),
  "fifty.hex": transfer(50n),
  "hundred.hex": `${transfer(100n)}\n`,
  "facts.json": JSON.stringify({ kind: "raw-digest", curve: "p256", scheme: "ecdsa", from: "02", digest: "0x00" }),
  "hello.txt": "hello",
};

async function run(command: typeof checkCommand, args: readonly string[]) {
  let [out, err] = ["", ""];
  const status = await command(args, {
    read: async (path) => {
      const text = FILES[path];
      if (text === undefined) throw new Error("no such file");
      return new TextEncoder().encode(text);
    },
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    nowMs: () => Date.parse("2026-01-07T12:00:00Z"),
  });
  return { status, out, err };
}
const check = (...args: string[]) => run(checkCommand, args);
const lint = (...args: string[]) => run(lintCommand, args);

test("check: allowed, allowed once approved, denied, each with its reasons and its status", async () => {
  const base = ["--policy", "policy.json", "--from", FROM, "--transaction"];
  const five = await check(...base, "five.hex");
  expect(five).toMatchObject({ status: 0, err: "" });
  expect(five.out).toContain("allowed: app by small");
  expect(five.out).toContain('yes    {"field":"evm.value","atMost":"5"}  found 5');
  const fifty = await check(...base, "fifty.hex");
  expect(fifty.out).toContain("allowed: app by approved once approved");
  const hundred = await check(...base, "hundred.hex", "--json");
  expect(hundred.status).toBe(1);
  expect(JSON.parse(hundred.out)).toMatchObject({ verdict: { kind: "denied", reason: "NOT_ALLOWED", level: "app" } });
});

test("check: every level binds, an app's configuration is read too, and other things than transactions", async () => {
  const both = await check(
    "--policy",
    "app.json",
    "--policy",
    "user=closed.json",
    "--from",
    FROM,
    "--transaction",
    "five.hex",
  );
  expect(both).toMatchObject({ status: 1 });
  expect(both.out).toContain("denied: NOT_ALLOWED at the level of the user");
  expect((await check("--policy", "user=policy.json", "--from", FROM, "--message", "hello.txt")).out).toContain(
    "NO_APP_POLICY",
  );
  expect((await check("--policy", "policy.json", "--facts", "facts.json")).status).toBe(1);
});

test.each<[string, string[], RegExp]>([
  ["no policy", ["--transaction", "five.hex", "--from", FROM], /--policy is required/],
  ["nothing to judge", ["--policy", "policy.json"], /expected one of/],
  ["no sender", ["--policy", "policy.json", "--transaction", "five.hex"], /--from is required/],
  ["a file that is not there", ["--policy", "none.json", "--facts", "facts.json"], /cannot read none\.json/],
  ["no transaction", ["--policy", "policy.json", "--transaction", "hello.txt", "--from", FROM], /expected hex/],
  ["a policy with an unknown fact", ["--policy", "odd.json", "--facts", "facts.json"], /rules\.0\.when\.0/],
  ["facts that are none", ["--policy", "policy.json", "--facts", "policy.json"], /INVALID_PARAMS: kind/],
  ["an unknown option", ["--polcy", "x"], /polcy/],
])("check: %s is wrong usage", async (_name, args, why) => {
  const { status, err } = await check(...args);
  expect(status).toBe(2);
  expect(err).toMatch(why);
});

test("lint: clean, findings, no policy", async () => {
  expect(await lint("policy.json")).toEqual({ status: 0, out: "policy.json: nothing found\n", err: "" });
  const shadowed = await lint("shadowed.json");
  expect(shadowed.status).toBe(1);
  expect(shadowed.out).toContain("shadowed.json: error SHADOWED [a]: rule b denies all that it allows");
  const json = await lint("shadowed.json", "--json");
  const { file, findings } = JSON.parse(json.out);
  expect(file).toBe("shadowed.json");
  expect(findings[0]).toMatchObject({ severity: "error", code: "SHADOWED", rule: "a" });
  expect(await lint("closed.json")).toMatchObject({ status: 0 });
  expect(await lint("closed.json", "--strict")).toMatchObject({ status: 1 });
  expect(await lint("odd.json")).toMatchObject({ status: 2 });
  expect(await lint("--help")).toMatchObject({ status: 0 });
});
