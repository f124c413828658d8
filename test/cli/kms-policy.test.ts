import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { generateCommand } from "../../cli/kms-policy-generate.ts";
import { lintCommand } from "../../cli/kms-policy-lint.ts";
import type { KmsPolicyIo } from "../../cli/kms-policy-options.ts";
import { rotateCommand } from "../../cli/kms-policy-rotate.ts";
import { simulateCommand } from "../../cli/kms-policy-simulate.ts";
import { formatKeyPolicy, generateKeyPolicy, type KeyPolicyParameters } from "../../kms-policy/index.ts";
import { certificateToPem } from "../../simulator/pki/index.ts";
import { AT_MS, forge } from "../attestation/forge.ts";
import { ADMINISTRATOR, BREAK_GLASS, hex, KEY_ID, ONE_IMAGE, pcrs, ROLE, STRANGER } from "../kms-policy/policies.ts";
import { called, type Files, readerOf } from "../support/command-call.ts";

type Command = typeof generateCommand;

const WHO = ["--role", ROLE, "--break-glass", BREAK_GLASS, "--administrator", ADMINISTRATOR];
/** As nitro-cli prints them; PCR8 only for a signed image. */
const measured = (pcr0: number, pcr8?: number): string =>
  JSON.stringify({
    Measurements: {
      HashAlgorithm: "Sha384 { ... }",
      ...{ PCR0: hex(pcr0), PCR1: hex(0x11), PCR2: hex(0x22) },
      ...(pcr8 === undefined ? {} : { PCR8: hex(pcr8) }),
    },
  });
const policyOf = (parameters: Partial<KeyPolicyParameters> = {}): string =>
  formatKeyPolicy(generateKeyPolicy({ ...ONE_IMAGE, ...parameters }));

async function call(command: Command, args: readonly string[], files: Files = {}) {
  const written: Record<string, string> = {};
  const write: KmsPolicyIo["write"] = async (path, text) => {
    if (files[path] !== undefined) throw new Error("EEXIST");
    written[path] = text;
  };
  const world = { read: readerOf(files), write, nowMs: () => AT_MS + 1000 };
  return { ...(await called((says) => command(args, { ...says, ...world }))), written };
}

describe("generate", () => {
  test("writes the policy of the measured image", async () => {
    const said = await call(generateCommand, [...WHO, "--measurements", "m"], { m: measured(0xaa) });
    expect(said).toMatchObject({ status: 0, err: "", out: policyOf() });
  });

  test("reads measurements from standard input, several images, and PCRs by hand", async () => {
    const args = ["--measurements", "-", "--measurements", "m", "--pcrs", `8=${hex(8)},3=${hex(3)}`];
    const said = await call(generateCommand, [...WHO, ...args], { "-": measured(0xaa), m: measured(0xbb) });
    expect(said.out).toBe(policyOf({ pcrSets: [pcrs({ 0: 0xaa }), pcrs({ 0: 0xbb }), pcrs({ 8: 8, 3: 3 })] }));
  });

  test("--by signer takes PCR8, and PCR3 from the role", async () => {
    const said = await call(generateCommand, [...WHO, "--by", "signer", "--measurements", "m"], {
      m: measured(0xaa, 0x88),
    });
    const [use] = (JSON.parse(said.out) as { Statement: { Condition: { StringEqualsIgnoreCase: object } }[] })
      .Statement;
    expect(use?.Condition.StringEqualsIgnoreCase).toEqual({
      // SHA-384 of 48 zeros and the role's ARN: computed by openssl.
      "kms:RecipientAttestation:PCR3":
        "cff0b7ac582808b2e262a9b268e9eee390f958091f08a3773eafbdfe389db2809433372be99a429ab41bdc1e5f3d907f",
      "kms:RecipientAttestation:PCR8": hex(0x88),
    });
  });

  test("--closed admits nobody", async () => {
    expect(await call(generateCommand, [...WHO, "--closed"])).toMatchObject({
      status: 0,
      out: policyOf({ pcrSets: [] }),
    });
  });

  test.each([
    ["no image", [], "expected --measurements or --pcrs, or --closed"],
    [
      "an image for a closed key",
      ["--closed", "--pcrs", `0=${hex(1)}`],
      "expected --measurements or --pcrs, or --closed",
    ],
    ["a file that is not there", ["--measurements", "x"], "cannot read x: ENOENT"],
    ["a file that is no JSON", ["--measurements", "text"], "text is not JSON"],
    ["a file without measurements", ["--measurements", "empty"], 'empty has no "Measurements"'],
    ["an unsigned image's signer", ["--by", "signer", "--measurements", "m"], "m has no PCR8: it is not signed"],
    ["another choice", ["--by", "luck", "--measurements", "m"], "--by: expected image or signer"],
    ["PCRs of another form", ["--pcrs", "PCR0:ab"], "--pcrs: expected N=HEX"],
    ["a debug enclave", ["--measurements", "debug"], "INVALID_PCR: PCR0 is all zeros"],
    ["another option", ["--nonce", "00"], "Unknown option"],
    ["a word too many", ["file", "--closed"], 'unexpected "file"'],
    ["another account", ["--closed", "--account", "444455556666"], "INVALID_ARN"],
  ])("refuses %s", async (_what, args, message) => {
    const files = { m: measured(0xaa), debug: measured(0), text: "text", empty: "{}" };
    const said = await call(generateCommand, [...WHO, ...args], files);
    expect(said).toMatchObject({ status: 2, out: "", err: expect.stringContaining(message) });
  });

  test.each([
    ["--role", ["--break-glass", BREAK_GLASS, "--closed"]],
    ["--break-glass", ["--role", ROLE, "--closed"]],
  ])("needs %s", async (option, args) => {
    expect(await call(generateCommand, args)).toMatchObject({
      status: 2,
      err: expect.stringContaining(`${option} is required`),
    });
  });
});

describe("lint", () => {
  const root = readFileSync("test/kms-policy/samples/default-key-policy.json", "utf8");

  test("says of a generated policy that nothing was found", async () => {
    expect(await call(lintCommand, ["-"], { "-": policyOf() })).toMatchObject({ status: 0, out: "-: nothing found\n" });
  });

  test("prints place, code, attack and repair, and fails", async () => {
    const { status, out } = await call(lintCommand, ["root.json"], { "root.json": root });
    expect(status).toBe(1);
    expect(out).toMatch(/^root\.json:8:16: error ACCOUNT_ROOT_DELEGATION \[Enable IAM User Permissions\]: /m);
    expect(out).toMatch(/^ {4}attack: Whoever can write IAM policies/m);
    expect(out).toMatch(/^ {4}repair: Name roles/m);
    expect(out).toMatch(/^[0-9]+ errors, [0-9]+ warnings$/m);
  });

  test("prints JSON", async () => {
    const { out } = await call(lintCommand, ["root.json", "--json"], { "root.json": root });
    const { findings } = JSON.parse(out) as { findings: { code: string; line: number }[] };
    expect(findings).toContainEqual(
      expect.objectContaining({ code: "UNATTESTED_DECRYPT", line: 10, severity: "error" }),
    );
  });

  test("passes with warnings, unless --strict", async () => {
    const files = { p: policyOf().replace("2012-10-17", "2008-10-17") };
    expect((await call(lintCommand, ["p"], files)).status).toBe(0);
    expect((await call(lintCommand, ["p", "--strict"], files)).status).toBe(1);
  });

  test("takes the break-glass role and the key's ARN", async () => {
    const files = { p: policyOf() };
    expect((await call(lintCommand, ["p", "--break-glass", BREAK_GLASS], files)).status).toBe(0);
    const other = await call(lintCommand, ["p", "--break-glass", STRANGER], files);
    expect(other.out).toContain("NO_BREAK_GLASS");
    const narrowed = {
      p: policyOf().replace('"Resource": "*"', '"Resource": "arn:aws:kms:us-east-1:111122223333:key/x"'),
    };
    expect((await call(lintCommand, ["p"], narrowed)).out).toContain("RESOURCE_NARROWED");
    const args = ["p", "--key-arn", "arn:aws:kms:us-east-1:111122223333:key/x"];
    expect((await call(lintCommand, args, narrowed)).out).toBe("p: nothing found\n");
  });

  test("shows no control characters of the file", async () => {
    const files = { p: root.replace("Enable IAM User Permissions", "\\u001b[2J") };
    expect((await call(lintCommand, ["p"], files)).out).not.toContain("\u001b");
  });

  test.each([[[]], [["a", "b"]], [["nowhere"]], [["latin1"]]])("refuses %j", async (args) => {
    expect((await call(lintCommand, args, { latin1: new Uint8Array([0xe9]) })).status).toBe(2);
  });
});

describe("rotate", () => {
  const args = [...WHO, "--key", KEY_ID, "--old", "old", "--new", "new"];
  const files = { old: measured(0xaa), new: measured(0xbb) };

  test("prints three policies and the commands between them", async () => {
    const { status, out } = await call(rotateCommand, args, files);
    expect(status).toBe(0);
    expect(out.match(/^\d\. (overlap|cut|final): /gm)).toHaveLength(3);
    expect(out).toContain(
      `$ aws kms put-key-policy --key-id ${KEY_ID} --policy-name default --policy file://2-cut.json`,
    );
    expect(out).toContain(`--- 3-final.json\n${policyOf({ pcrSets: [pcrs({ 0: 0xbb })] })}`);
  });

  test("--out writes them, and keeps what is there", async () => {
    const { written } = await call(rotateCommand, [...args, "--out", "plan"], files);
    expect(Object.keys(written)).toEqual(["plan/1-overlap.json", "plan/2-cut.json", "plan/3-final.json"]);
    expect(written["plan/3-final.json"]).toBe(policyOf({ pcrSets: [pcrs({ 0: 0xbb })] }));
    const again = await call(rotateCommand, [...args, "--out", "plan"], { ...files, "plan/2-cut.json": "" });
    expect(again).toMatchObject({ status: 2, err: expect.stringContaining("cannot write plan/2-cut.json: EEXIST") });
  });

  test("--json prints steps", async () => {
    const { out } = await call(rotateCommand, [...args, "--json"], files);
    const { steps } = JSON.parse(out) as { steps: { name: string; policy: object }[] };
    expect(steps.map(({ name }) => name)).toEqual(["overlap", "cut", "final"]);
  });

  test("from a signer to an image", async () => {
    const signed = { old: measured(0xaa, 0x88), new: measured(0xbb, 0x88) };
    expect((await call(rotateCommand, [...args, "--old-by", "signer"], signed)).status).toBe(0);
    const same = await call(rotateCommand, [...args, "--old-by", "signer", "--new-by", "signer"], signed);
    expect(same).toMatchObject({ status: 2, err: expect.stringContaining("NOTHING_TO_ROTATE") });
  });

  test.each([
    ["the same image", [...WHO, "--key", KEY_ID, "--old", "old", "--new", "old"], "NOTHING_TO_ROTATE"],
    ["no key", [...WHO, "--old", "old", "--new", "new"], "--key is required"],
    ["an alias", [...WHO, "--key", "alias/x", "--old", "old", "--new", "new"], "INVALID_KEY_ID"],
    ["no new image", [...WHO, "--key", KEY_ID, "--old", "old"], "--new or --new-pcrs is required"],
    ["no old image", [...WHO, "--key", KEY_ID, "--new", "new"], "--old or --old-pcrs is required"],
    ["a word too many", [...args, "x"], 'unexpected "x"'],
  ])("refuses %s", async (_what, given, message) => {
    expect(await call(rotateCommand, given, files)).toMatchObject({ status: 2, err: expect.stringContaining(message) });
  });
});

describe("simulate", () => {
  const files = { p: policyOf(), m: measured(0xaa), other: measured(0xbb) };
  const ask = (args: readonly string[], more: Files = {}) =>
    call(simulateCommand, ["p", "--principal", ROLE, "--operation", "Decrypt", ...args], { ...files, ...more });

  test("allows the image, and names the statement", async () => {
    for (const document of [
      ["--pcr", `0=${hex(0xaa)}`],
      ["--measurements", "m"],
    ]) {
      expect(await ask(document)).toMatchObject({ status: 0, out: "allowed by statement #1 AttestedUse\n" });
    }
  });

  test("denies another image and no document, and names the statement", async () => {
    for (const document of [["--pcr", `0=${hex(0)}`], ["--measurements", "other"], ["--no-document"]]) {
      const said = await ask(document);
      expect(said).toMatchObject({ status: 1, out: "denied by statement #2 DenyUseWithoutAttestation\n" });
    }
  });

  test("says where no statement allows", async () => {
    const said = await ask(["--no-document"], {
      p: policyOf().replaceAll('"Deny"', '"Allow"').replaceAll("Decrypt", "Sign"),
    });
    expect(said).toMatchObject({ status: 1, out: "denied: no statement allows it\n" });
  });

  test("says which conditions it cannot judge", async () => {
    const policy = JSON.parse(policyOf()) as { Statement: { Condition: object }[] };
    for (const statement of policy.Statement.slice(0, 1))
      statement.Condition = { StringEquals: { "aws:SourceVpce": "x" } };
    const { out } = await ask(["--measurements", "m"], { p: JSON.stringify(policy) });
    expect(out).toContain("not judged: StringEquals on aws:SourceVpce in statement #1 AttestedUse");
  });

  test("prints JSON", async () => {
    const { out } = await ask(["--no-document", "--json"]);
    expect(JSON.parse(out)).toMatchObject({ kind: "deny", statement: { index: 1, sid: "DenyUseWithoutAttestation" } });
  });

  test("the encryption context and the key's ARN count", async () => {
    const narrowed = JSON.parse(policyOf()) as { Statement: { Resource: string; Condition: Record<string, object> }[] };
    for (const statement of narrowed.Statement.slice(0, 1)) {
      statement.Resource = "arn:aws:kms:eu-west-1:111122223333:key/x";
      statement.Condition["StringEquals"] = { "kms:EncryptionContext:for": "a=b" };
    }
    const p = JSON.stringify(narrowed);
    const right = [
      "--measurements",
      "m",
      "--key-arn",
      "arn:aws:kms:eu-west-1:111122223333:key/x",
      "--context",
      "for=a=b",
    ];
    expect((await ask(right, { p })).status).toBe(0);
    expect((await ask(right.slice(0, 4), { p })).status).toBe(1);
    expect((await ask(["--measurements", "m", "--context", "for=a=b"], { p })).status).toBe(1);
  });

  describe("with a document", () => {
    const forged = forge({});
    const pcr0 = Buffer.from([...(forged.expected.pcrs[0] as ReadonlyMap<number, Uint8Array>)][0]?.[1] ?? []).toString(
      "hex",
    );
    const p = policyOf({ pcrSets: [new Map([[0, pcr0]])] });
    const pem = certificateToPem(forged.expected.roots[0]?.der ?? new Uint8Array());
    const given = { p, document: forged.bytes, root: pem };

    test("that verifies, its PCRs count", async () => {
      expect(await ask(["--document", "document", "--root", "root"], given)).toMatchObject({ status: 0 });
      expect(await ask(["--document", "document", "--root", "root"], { ...given, p: policyOf() })).toMatchObject({
        status: 1,
      });
    });

    test("of another root, or too old, it is denied before the policy is read", async () => {
      const foreign = await ask(["--document", "document"], given);
      expect(foreign).toMatchObject({
        status: 1,
        out: expect.stringContaining("denied: the document does not verify: "),
      });
      const late = new Date(AT_MS + 600_000).toISOString();
      const old = await ask(["--document", "document", "--root", "root", "--at", late, "--json"], given);
      expect(JSON.parse(old.out)).toEqual({ kind: "refused", code: "TOO_OLD" });
      expect(old.status).toBe(1);
    });
  });

  test.each([
    ["nothing about a document", [], "expected exactly one of"],
    ["two documents", ["--no-document", "--measurements", "m"], "expected exactly one of"],
    ["a PCR twice", ["--pcr", `0=${hex(1)}`, "--pcr", `0=${hex(2)}`], "PCR0 is given twice"],
    ["a PCR that is too short", ["--pcr", "0=ab"], "PCR0: expected"],
    ["PCR32", ["--pcr", `32=${hex(1)}`], "PCR32: expected"],
    ["a context without a value", ["--no-document", "--context", "x"], "--context: expected NAME=VALUE"],
    ["another principal", ["--no-document", "--principal", "me"], "ValidationException"],
    ["another operation", ["--no-document", "--operation", "kms:*"], '"*" is none that KMS has'],
    ["a misspelt operation", ["--no-document", "--operation", "Decrpt"], '"Decrpt" is none that KMS has'],
    ["a second file", ["q", "--no-document"], "expected one FILE, got 2"],
  ])("refuses %s", async (_what, args, message) => {
    expect(await ask(args)).toMatchObject({ status: 2, out: "", err: expect.stringContaining(message) });
  });

  test("refuses what is no policy", async () => {
    const said = await ask(["--no-document"], { p: "{}" });
    expect(said).toMatchObject({ status: 2, err: expect.stringContaining("MalformedPolicyDocumentException") });
  });
});

describe("as a process", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "cloister-kms-policy-"));
    writeFileSync(join(folder, "old.json"), measured(0xaa));
    writeFileSync(join(folder, "new.json"), measured(0xbb));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const cloister = (args: readonly string[], input = "") =>
    spawnSync(process.execPath, ["bin/cloister.js", "kms-policy", ...args], {
      input,
      encoding: "utf8",
      timeout: 20_000,
    });

  test("what generate writes, lint reads from standard input, and simulate", () => {
    const policy = cloister(["generate", ...WHO, "--measurements", join(folder, "old.json")]).stdout;
    expect(policy).toBe(policyOf());
    expect(cloister(["lint", "-"], policy)).toMatchObject({ status: 0, stdout: "-: nothing found\n" });
    const asked = ["simulate", "-", "--principal", ROLE, "--operation", "Decrypt", "--no-document"];
    expect(cloister(asked, policy)).toMatchObject({
      status: 1,
      stdout: "denied by statement #2 DenyUseWithoutAttestation\n",
    });
  });

  test("rotate writes files that it does not write over", () => {
    const [oldFile, newFile] = [join(folder, "old.json"), join(folder, "new.json")];
    const args = ["rotate", ...WHO, "--key", KEY_ID, "--old", oldFile, "--new", newFile, "--out", folder];
    expect(cloister(args).status).toBe(0);
    expect(readdirSync(folder)).toEqual(["1-overlap.json", "2-cut.json", "3-final.json", "new.json", "old.json"]);
    expect(readFileSync(join(folder, "3-final.json"), "utf8")).toBe(policyOf({ pcrSets: [pcrs({ 0: 0xbb })] }));
    expect(cloister(args)).toMatchObject({ status: 2, stderr: expect.stringContaining("EEXIST") });
  });

  test("explains itself", () => {
    for (const command of ["generate", "lint", "rotate", "simulate"]) {
      expect(cloister([command, "--help"])).toMatchObject({
        status: 0,
        stdout: expect.stringContaining(`kms-policy ${command}`),
      });
    }
    expect(cloister(["--help"]).status).toBe(0);
    expect(cloister(["polish"]).status).toBe(2);
    expect(cloister([]).status).toBe(2);
  });
});
