/** `cloister policy`, against files and without an enclave. */

import { getAddMemoInstruction } from "@solana-program/memo";
import { getTransferSolInstruction } from "@solana-program/system";
import { serializeTransaction } from "viem";
import { expect, test } from "vitest";
import { checkCommand } from "../../cli/policy-check.ts";
import { lintCommand } from "../../cli/policy-lint.ts";
import { factsOfPsbt } from "../../enclave/index.ts";
import { inputOf, keyAt, openHd, outputOf, psbtOf, standardPath, textOf, understandBytes } from "../support/bitcoin.ts";
import { called, readerOf } from "../support/command-call.ts";
import { makeTransaction, named, signing } from "../support/solana.ts";

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
const ALICE = named("alice");
const solanaTransfer = (version: "legacy" | 0, memo = "rent for May") =>
  makeTransaction(
    [
      getTransferSolInstruction({ source: signing("alice"), destination: named("bob"), amount: 5n }),
      getAddMemoInstruction({ memo }),
    ],
    { feePayer: ALICE, version },
  ).wire;

const wallet = openHd([{ format: "bitcoin-p2wpkh", path: textOf(standardPath("p2wpkh", 0)) }]);
const [kept, change] = [
  keyAt(wallet, "p2wpkh", standardPath("p2wpkh", 0)),
  keyAt(wallet, "p2tr", standardPath("p2tr", 3, 1)),
];
const fingerprint = kept.fingerprint.toString(16).padStart(8, "0");
const psbt = (more: object = {}) => psbtOf([inputOf(kept, 50_000n, 0, more)], [outputOf(change, 49_000n)]);

const FILES: Readonly<Record<string, string | Uint8Array>> = {
  "memo.json": JSON.stringify({
    v: 1,
    rules: [
      {
        ...{ id: "rent", effect: "allow" },
        when: [
          { field: "solana.unknownInstructions", in: ["0"] },
          { every: "memos", is: [{ field: "memo.text", startsWith: "rent " }] },
        ],
      },
    ],
  }),
  "legacy.b64": `${Buffer.from(solanaTransfer("legacy")).toString("base64")}\n`,
  "v0.hex": Buffer.from(solanaTransfer(0)).toString("hex"),
  "gift.hex": `0x${Buffer.from(solanaTransfer(0, "a gift")).toString("hex")}`,
  "psbt.json": JSON.stringify({
    v: 1,
    rules: [
      {
        ...{ id: "change-only", effect: "allow" },
        when: [
          { every: "outputs", is: [{ field: "output.isChange", is: true }] },
          { field: "bitcoin.fee", atMost: "1000" },
        ],
      },
    ],
  }),
  "wallet.json": JSON.stringify({ walletId: "wal_00", kind: "hd", accounts: wallet.accounts }),
  "accounts.json": JSON.stringify(wallet.accounts),
  "psbt.bin": psbt(),
  "psbt.b64": `${Buffer.from(psbt()).toString("base64")}\n`,
  "psbt.hex": Buffer.from(psbt()).toString("hex"),
  "unhinted.bin": psbt({ bip32Derivation: undefined }),
  "single.bin": psbt({ sighashType: 3 }),
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

function run(command: typeof checkCommand, args: readonly string[]) {
  const world = { read: readerOf(FILES), nowMs: () => Date.parse("2026-01-07T12:00:00Z") };
  return called((says) => command(args, { ...says, ...world }));
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

test.each(["legacy.b64", "v0.hex"])("check: a Solana transaction, %s, by its memo", async (file) => {
  const { status, out, err } = await check("--policy", "memo.json", "--from", ALICE, "--solana-transaction", file);
  expect({ status, err }).toEqual({ status: 0, err: "" });
  expect(out).toContain("allowed: app by rent");
  const gift = await check("--policy", "memo.json", "--from", ALICE, "--solana-transaction", "gift.hex");
  expect(gift.status).toBe(1);
});

test("check: a Solana transaction that asks no signature of the account, and bytes that are none", async () => {
  const base = ["--policy", "memo.json", "--solana-transaction"];
  expect((await check(...base, "v0.hex", "--from", named("bob"))).err).toContain("NOT_A_SIGNER");
  expect((await check(...base, "five.hex", "--from", ALICE)).err).toContain("TRANSACTION_");
  expect((await check(...base, "v0.hex", "--from", FROM)).err).toContain("INVALID_PARAMS: no account of Solana");
});

test.each(["psbt.bin", "psbt.b64", "psbt.hex"])(
  "check: a PSBT, %s, with change where the enclave would find it",
  async (file) => {
    const base = ["--policy", "psbt.json", "--psbt", file];
    const { status, out, err } = await check(...base, "--fingerprint", fingerprint);
    expect({ status, err }).toEqual({ status: 0, err: "" });
    expect(out).toContain("allowed: app by change-only");
    // By its accounts alone the input is the wallet's, and nothing says that the change is.
    for (const accounts of ["wallet.json", "accounts.json"]) {
      expect(await check(...base, "--accounts", accounts)).toMatchObject({ status: 1, err: "" });
    }
  },
);

test("check: a PSBT without hints is the wallet's by its accounts, and nobody's by a fingerprint", async () => {
  const base = ["--policy", "psbt.json", "--psbt", "unhinted.bin"];
  expect((await check(...base, "--fingerprint", fingerprint)).err).toContain("NOTHING_TO_SIGN");
  expect(await check(...base, "--accounts", "wallet.json", "--fingerprint", fingerprint)).toMatchObject({ status: 0 });
});

test("check: the facts of a PSBT are those that the enclave finds with its keys", async () => {
  const own = understandBytes(wallet, psbt()).facts;
  const offered = {
    network: "bitcoin",
    accounts: wallet.accounts,
    fingerprint: Buffer.from(fingerprint, "hex"),
  } as const;
  expect(factsOfPsbt(psbt(), offered, [])).toEqual(own);
});

test("check: a signature hash type that leaves something open has to be named", async () => {
  const base = ["--policy", "psbt.json", "--psbt", "single.bin", "--fingerprint", fingerprint];
  expect((await check(...base)).err).toContain("SIGHASH_NOT_ALLOWED");
  expect(await check(...base, "--sighash", "SINGLE")).toMatchObject({ status: 1, err: "" });
});

test.each<[string, string[], RegExp]>([
  ["a PSBT of nobody's", ["--policy", "psbt.json", "--psbt", "psbt.bin"], /--accounts or --fingerprint/],
  [
    "a PSBT with an address",
    ["--policy", "psbt.json", "--psbt", "psbt.bin", "--from", FROM],
    /--from is not for --psbt/,
  ],
  [
    "an odd fingerprint",
    ["--policy", "psbt.json", "--psbt", "psbt.bin", "--fingerprint", "12"],
    /--fingerprint: expected eight/,
  ],
  [
    "an unknown network",
    ["--policy", "psbt.json", "--psbt", "psbt.bin", "--fingerprint", fingerprint, "--network", "dogecoin"],
    /--network: expected bitcoin or/,
  ],
  [
    "an unknown type",
    ["--policy", "psbt.json", "--psbt", "psbt.bin", "--fingerprint", fingerprint, "--sighash", "SOME"],
    /--sighash: expected one of NONE/,
  ],
  [
    "accounts that are none",
    ["--policy", "psbt.json", "--psbt", "psbt.bin", "--accounts", "policy.json"],
    /policy\.json has no accounts/,
  ],
  [
    "another text than a PSBT",
    ["--policy", "psbt.json", "--psbt", "policy.json", "--fingerprint", fingerprint],
    /--psbt: expected hex or base64/,
  ],
  [
    "a transaction that is not there",
    ["--policy", "policy.json", "--transaction", "no", "--from", FROM],
    /cannot read no/,
  ],
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
