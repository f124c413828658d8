import { describe, expect, test } from "vitest";
import { inspectAttestationCommand } from "../../cli/attestation-inspect.ts";
import { verifyAttestationCommand } from "../../cli/attestation-verify.ts";
import { certificateToPem } from "../../simulator/pki/index.ts";
import { AT_MS, type Forgery, forge, NONCE, PCR0, replaced } from "../attestation/forge.ts";
import { GENUINE, VECTORS_ABSENT } from "../attestation/genuine.ts";
import { called, type Files, readerOf } from "../support/command-call.ts";

const PCR0_HEX = Buffer.from(PCR0).toString("hex");
const NONCE_HEX = Buffer.from(NONCE).toString("hex");
const AT = new Date(AT_MS).toISOString();

function call(command: typeof verifyAttestationCommand, args: readonly string[], files: Files = {}) {
  return called((says) => command(args, { ...says, read: readerOf(files), nowMs: () => AT_MS + 1000 }));
}

function forgedFiles(forgery: Forgery = {}): Record<string, Uint8Array> {
  const { bytes, expected } = forge(forgery);
  const der = expected.roots[0]?.der ?? new Uint8Array();
  return { document: bytes, root: der, pem: Buffer.from(`of ours\n${certificateToPem(der)}`) };
}

const verify = (args: readonly string[], files = forgedFiles()) => call(verifyAttestationCommand, args, files);
const inspect = (args: readonly string[], files = forgedFiles()) => call(inspectAttestationCommand, args, files);

describe("verify", () => {
  test("says what it has not checked", async () => {
    const { status, out, err } = await verify(["document", "--root", "root"]);
    expect({ status, err }).toEqual({ status: 0, err: "" });
    expect(out).toContain(`verified: i-0123456789abcdef0-enc0123456789abcdef at ${AT}`);
    expect(out).toContain(`PCR0 ${PCR0_HEX}`);
    expect(out).toContain("not checked: which image runs");
    expect(out).toContain("not checked: that the document is new");
  });

  test("with everything demanded, nothing is left unchecked", async () => {
    const args = ["document", "--root", "pem", "--pcr", `0=${PCR0_HEX}`, "--nonce", NONCE_HEX, "--at", AT];
    const { status, out } = await verify(args);
    expect(status).toBe(0);
    expect(out).not.toContain("not checked");
  });

  test.each([
    ["raw", (bytes: Uint8Array) => bytes],
    [
      "hex",
      (bytes: Uint8Array) =>
        Buffer.from(
          Buffer.from(bytes)
            .toString("hex")
            .replaceAll(/(.{60})/g, "$1\n"),
        ),
    ],
    ["base64", (bytes: Uint8Array) => Buffer.from(`${Buffer.from(bytes).toString("base64")}\n`)],
    ["base64url", (bytes: Uint8Array) => Buffer.from(Buffer.from(bytes).toString("base64url"))],
  ])("reads %s from standard input", async (_name, encode) => {
    const { document, root } = forgedFiles();
    const files = { "-": encode(document ?? new Uint8Array()), root: root ?? new Uint8Array() };
    expect((await verify(["--root", "root"], files)).status).toBe(0);
  });

  test("prints JSON for both answers", async () => {
    const good = await verify(["document", "--root", "root", "--json", "--nonce", NONCE_HEX]);
    expect(JSON.parse(good.out)).toMatchObject({
      verified: true,
      checked: { pcrs: false, nonce: true, time: true, roots: ["root"] },
      timestamp: AT,
      pcrs: { 0: PCR0_HEX },
      publicKey: "010203",
      userData: null,
      nonce: NONCE_HEX,
    });
    const bad = await verify(["document", "--root", "root", "--json", "--nonce", "00"]);
    expect(bad.status).toBe(1);
    expect(JSON.parse(bad.out)).toMatchObject({ verified: false, code: "NONCE_MISMATCH", step: 8 });
  });

  test.each([
    ["under AWS's root", ["document"], "ROOT_NOT_TRUSTED (step 4)"],
    ["too late", ["document", "--root", "root", "--at", "2026-03-04T00:00:00Z"], "CERTIFICATE_EXPIRED (step 5)"],
    ["too old", ["document", "--root", "root", "--max-age", "0"], "TOO_OLD (step 8)"],
    ["another image", ["document", "--root", "root", "--pcr", `0=${"11".repeat(48)}`], "PCR_MISMATCH (step 9)"],
    ["no document", ["root", "--root", "root"], "CBOR_"],
  ])("refuses: %s", async (_name, args, message) => {
    const { status, out, err } = await verify(args);
    expect({ status, out }).toEqual({ status: 1, out: "" });
    expect(err).toContain(`refused: ${message}`);
  });

  test("debug mode is allowed by name only", async () => {
    const files = forgedFiles({
      entries: (entries) => replaced(entries, "pcrs", new Map([[0, new Uint8Array(48)]])),
    });
    expect((await verify(["document", "--root", "root"], files)).err).toContain("DEBUG_MODE");
    expect((await verify(["document", "--root", "root", "--allow-debug"], files)).status).toBe(0);
    const named = ["document", "--root", "root", "--allow-debug", "--pcr", `0=${"00".repeat(48)}`];
    expect((await verify(named, files)).status).toBe(0);
  });

  test.each([
    [["absent"]],
    [["document", "another"]],
    [["document", "--unknown"]],
    [["document", "--at", "yesterday"]],
    [["document", "--at", "2026-03-04"]],
    [["document", "--nonce", "xyz"]],
    [["document", "--nonce", ""]],
    [["document", "--pcr", "0"]],
    [["document", "--pcr", "0=00"]],
    [["document", "--pcr", `3=${PCR0_HEX}`]],
    [["document", "--pcr", `0=${"00".repeat(48)}`]],
    [["document", "--max-age", "-1"]],
    [["document", "--root", "document"]],
    [["document", "--allow-debug", "--pcr", "99=00"]],
  ])("wrong usage: %j", async (args) => {
    const { status, out, err } = await verify(args);
    expect({ status, out }).toEqual({ status: 2, out: "" });
    expect(err).toMatch(/^cloister attestation verify: /);
  });

  test("help", async () => {
    const { status, out } = await verify(["--help"]);
    expect(status).toBe(0);
    expect(out).toContain("Usage: cloister attestation verify");
  });
});

describe("inspect", () => {
  test("draws chain, PCRs and every check", async () => {
    const { status, out } = await inspect(["document", "--root", "root"]);
    expect(status).toBe(0);
    expect(out.match(/✓/g)).toHaveLength(7);
    expect(out).toContain("~ 8 freshness: nonce and age: no nonce was compared (--nonce)");
    expect(out).toContain("~ 9 policy: debug mode and PCRs: no PCR was compared (--pcr)");
    const { out: compared } = await inspect(["document", "--root", "root", "--pcr", `0=${PCR0_HEX}`]);
    expect(compared).toContain("✓ 9 policy: debug mode and PCRs\n");
    expect(out).toContain("public_key  010203 (3 bytes)");
    expect(out).toContain("user_data   absent");
    expect(out).toMatch(/└ .*CN=instance\n.*authority, at most 0 below/);
    expect(out).toContain(`   0  ${PCR0_HEX}`);
    expect(out).toContain("zeros: 1, 2, 3");
  });

  test("shows the step that refuses, and that later ones were not reached", async () => {
    const { status, out } = await inspect(["document"]);
    expect(status).toBe(0);
    expect(out).toContain("✗ 4 path");
    expect(out).toContain("ROOT_NOT_TRUSTED");
    expect(out).toContain("· 5 validity: every certificate (not reached)");
    expect(out.match(/✓/g)).toHaveLength(3);
  });

  test("a certificate that cannot be read is said, not thrown", async () => {
    const files = forgedFiles({ bundle: (ders) => [...ders.slice(0, 4), new Uint8Array(7)] });
    const { status, out } = await inspect(["document", "--root", "root"], files);
    expect(status).toBe(0);
    expect(out).toContain("7 bytes that are no certificate of this kind: CERTIFICATE_MALFORMED");
  });

  test("what is no document shows its refusal and nothing else", async () => {
    const { status, out } = await inspect(["root"]);
    expect(status).toBe(1);
    expect(out).toContain("✗ 1 encoding");
    expect(out).not.toContain("chain");
    expect(JSON.parse((await inspect(["root", "--json"])).out)).toMatchObject({ verified: false, document: null });
  });

  test("names that somebody else chose cannot draw on the terminal", async () => {
    const files = forgedFiles({
      entries: (entries) => replaced(entries, "module_id", "\u001b[2J\u202e✓ verified\n"),
      levels: (levels) => levels.map((one) => (one.cn === "leaf" ? { ...one, cn: "\u001b[1A✓" } : one)),
    });
    const { out } = await inspect(["document", "--root", "root"], files);
    expect(out).toContain("module      \\u{1b}[2J\\u{202e}\\u{2713} verified\\u{a}\n");
    expect(out).toContain("CN=\\u{1b}[1A\\u{2713}");
    expect(out).not.toContain("\u001b");
  });

  test("help and wrong usage", async () => {
    expect((await inspect(["--help"])).out).toContain("Usage: cloister attestation inspect");
    expect((await inspect(["--at", "x"])).status).toBe(2);
    expect((await inspect(["document", "--max-age", "999999999", "--at", "1960-01-01T00:00:00Z"])).status).toBe(2);
  });

  test.skipIf(VECTORS_ABSENT)("a genuine document passes every check", async () => {
    const genuine = GENUINE.at(-1);
    const { out } = await inspect(["document"], { document: genuine?.read() ?? new Uint8Array() });
    expect(out.match(/✓/g)).toHaveLength(7);
    expect(out.match(/~/g)).toHaveLength(2);
    expect(out).toContain("CN=aws.nitro-enclaves");
    expect(out).toContain("(3 h 3 s), leaf");
  });
});
