import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import type { CommandIo } from "../../cli/command-io.ts";
import { diffEifsCommand } from "../../cli/eif-diff.ts";
import { extractEifCommand } from "../../cli/eif-extract.ts";
import { inspectEifCommand } from "../../cli/eif-inspect.ts";
import { eifPcrsCommand } from "../../cli/eif-pcrs.ts";
import { signEifCommand } from "../../cli/eif-sign.ts";
import { verifyEifSignatureCommand } from "../../cli/eif-verify-signature.ts";
import { measureImage } from "../../cli/measure-image.ts";
import {
  CMDLINE,
  cpio,
  cpioEntry,
  image,
  KERNEL,
  METADATA,
  METADATA_PIECE,
  type Piece,
  pcr,
  piece,
  USUAL,
} from "../eif/images.ts";
import { AT_MS, signingKey } from "../eif/signing-keys.ts";
import { called } from "../support/command-call.ts";

const folder = mkdtempSync(join(tmpdir(), "cloister-eif-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);
const key = await signingKey();
writeFileSync(at("certificate.pem"), key.certificatePem);
writeFileSync(at("key.pem"), key.privateKeyPem);

const RAMDISKS: readonly Piece[] = [
  piece("ramdisk", cpio(cpioEntry("init", "init", { mode: 0o100755 }))),
  piece(
    "ramdisk",
    zstdCompressSync(cpio(cpioEntry("app/main.mjs", "one"), cpioEntry("dev/null", "", { mode: 0o20666 }))),
  ),
];
const PIECES = [KERNEL, CMDLINE, METADATA_PIECE, ...RAMDISKS];
writeFileSync(at("a.eif"), image(PIECES));
const PCR0 = pcr(KERNEL.data, CMDLINE.data, ...RAMDISKS.map(({ data }) => data));

const SIGNING = ["--certificate", at("certificate.pem"), "--private-key", at("key.pem")];

type Command = (args: readonly string[], io: CommandIo) => Promise<number>;

function call(command: Command, args: readonly string[], more: Partial<CommandIo> = {}) {
  const world = { read: async (path: string) => readFileSync(path), nowMs: () => AT_MS };
  return called((says) => command(args, { ...world, ...says, ...more }));
}

const json = (text: string) => JSON.parse(text) as Record<string, unknown>;

describe("inspect", () => {
  test("draws the whole image", async () => {
    const { status, out, err } = await call(inspectEifCommand, [at("a.eif")]);
    expect({ status, err }).toEqual({ status: 0, err: "" });
    expect(out).toContain("enclave image, format version 4, x86_64");
    expect(out).toMatch(/0 kernel {16}548 {16}6\n/);
    expect(out).toMatch(/3 ramdisk 0 .* cpio: 1 entries, 1 files, 4 bytes unpacked/);
    expect(out).toMatch(/4 ramdisk 1 .* cpio, zstd: 2 entries, 1 files, 1 devices or the like, 3 bytes unpacked/);
    expect(out).toContain("the header's table says the same ✓");
    expect(out).toContain(`PCR0  ${PCR0}`);
    expect(out).toContain("none: PCR8 is zeros");
    expect(out).toContain("✓ every rule of the format is kept");
  });

  test("--json is describe-eif's", async () => {
    const { status, out, err } = await call(inspectEifCommand, [at("a.eif"), "--json"]);
    expect({ status, err }).toEqual({ status: 0, err: "" });
    expect(json(out)).toMatchObject({ EifVersion: 4, IsSigned: false, CheckCRC: true, Measurements: { PCR0 } });
    expect(out).toMatch(/^\{\n {2}"EifVersion": 4,\n/);
  });

  test("shows both walks where they differ, and refuses", async () => {
    writeFileSync(at("two.eif"), image(PIECES, { patch: (file) => file.setBigUint64(28 + 8, 999n) }));
    const { status, out } = await call(inspectEifCommand, [at("two.eif")]);
    expect(status).toBe(1);
    expect(out).toContain("the header's table says otherwise ✗");
    expect(out).toMatch(/1 \(table\) +999 +13\n/);
    expect(out).toContain("✗ TABLE_OFFSET_MISMATCH: the table has section 1 at 999, the cmdline is at 566");
    const described = await call(inspectEifCommand, [at("two.eif"), "--json"]);
    expect(described.status).toBe(1);
    expect(described.err).toContain("TABLE_OFFSET_MISMATCH");
    expect(json(described.out)).toMatchObject({ CheckCRC: true });
  });

  test("shows what it can of one that is cut off, and says that it has no PCRs", async () => {
    writeFileSync(at("cut.eif"), image(PIECES).subarray(0, -1));
    const { status, out } = await call(inspectEifCommand, [at("cut.eif")]);
    expect(status).toBe(1);
    expect(out).toContain("cannot be measured");
    expect(out).toContain("✗ SECTION_BEYOND_END");
    const described = await call(inspectEifCommand, [at("cut.eif"), "--json"]);
    expect(json(described.out)).toMatchObject({ Measurements: null, CheckCRC: false });
  });

  test("text of an untrusted file reaches the terminal with its control characters written out", async () => {
    const hostile = METADATA.replace('"app"', JSON.stringify("\u001b[2J\u009b31m✓\u202e\r\n"));
    const pieces = [KERNEL, piece("cmdline", "a\u001b[2Jb\0c"), piece("metadata", hostile), ...RAMDISKS];
    writeFileSync(at("hostile.eif"), image(pieces));
    for (const args of [[at("hostile.eif")], [at("hostile.eif"), "--json"]]) {
      const { status, out, err } = await call(inspectEifCommand, args);
      expect(status).toBe(0);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there.
      expect(out + err).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    }
    const { out } = await call(inspectEifCommand, [at("hostile.eif")]);
    expect(out).toContain("a\\u{1b}[2Jb\\u{0}c");
    expect(out).toContain("the command line holds other bytes than printable ASCII");
    const described = await call(inspectEifCommand, [at("hostile.eif"), "--json"]);
    expect(json(described.out)["ImageName"]).toBe("\u001b[2J\u009b31m✓\u202e\r\n");
  });

  test("custom metadata is flattened, and cannot take the place of what the builder says", async () => {
    const custom = '{"BuildTool":"forged","mine":[1],"__proto__":{"x":1}}';
    writeFileSync(
      at("custom.eif"),
      image([KERNEL, CMDLINE, piece("metadata", METADATA.replace(/null\}$/, `${custom}}`)), ...RAMDISKS]),
    );
    const { out, err, status } = await call(inspectEifCommand, [at("custom.eif"), "--json"]);
    expect(status).toBe(0);
    const metadata = json(out)["Metadata"] as Record<string, unknown>;
    expect(metadata["BuildTool"]).toBe("nitro-cli");
    expect(metadata["mine"]).toEqual([1]);
    expect(metadata["CustomMetadata"]).toEqual({ BuildTool: "forged" });
    expect(Object.keys(metadata)).toContain("__proto__");
    expect(err).toContain("custom metadata has BuildTool, which nitro-cli shows in the place of the builder's own");
  });

  test("custom metadata that is no object stands under its own name", async () => {
    writeFileSync(
      at("list.eif"),
      image([KERNEL, CMDLINE, piece("metadata", METADATA.replace(/null\}$/, "[1]}")), ...RAMDISKS]),
    );
    const { out } = await call(inspectEifCommand, [at("list.eif"), "--json"]);
    expect(json(out)["Metadata"]).toMatchObject({ CustomMetadata: [1] });
  });

  test("a ramdisk that cannot be listed is no fault of the image", async () => {
    writeFileSync(at("opaque.eif"), image(USUAL));
    const { status, out } = await call(inspectEifCommand, [at("opaque.eif")]);
    expect(status).toBe(0);
    expect(out).toContain("unknown: not listed, RAMDISK_COMPRESSION_UNSUPPORTED");
  });

  test("a signature that is over another image is shown as such", async () => {
    await call(signEifCommand, [at("a.eif"), ...SIGNING, "--out", at("s.eif")]);
    const signed = await call(inspectEifCommand, [at("s.eif")]);
    expect(signed.status).toBe(0);
    expect(signed.out).toContain("ES384 over PCR0 ✓ signed by the certificate's key");
    expect(signed.out).toContain("subject    CN=signer, O=Test, C=US");
    const late = await call(inspectEifCommand, [at("s.eif")], { nowMs: () => AT_MS + 10 * 86_400_000 });
    expect(late.status).toBe(0);
    expect(late.out).toContain("CERTIFICATE_EXPIRED: launching this image fails");
    const data = readFileSync(at("s.eif"));
    const signature = data.subarray(-Number(data.readBigUInt64BE(284 + 8 * 5)));
    writeFileSync(
      at("moved.eif"),
      image([KERNEL, piece("cmdline", "other"), ...PIECES.slice(2), piece("signature", signature)]),
    );
    const moved = await call(inspectEifCommand, [at("moved.eif"), "--json"]);
    expect(moved.status).toBe(1);
    expect(json(moved.out)).toMatchObject({ IsSigned: true, SignatureCheck: false });
    expect(moved.err).toContain("SIGNED_PCR0_MISMATCH");
  });

  test("what is no image is refused in one line", async () => {
    writeFileSync(at("text"), "text");
    expect(await call(inspectEifCommand, [at("text")])).toEqual({
      status: 1,
      out: "",
      err: "cloister eif inspect: EIF_TOO_SHORT: 4 bytes, the header alone has 548\n",
    });
    const missing = await call(inspectEifCommand, [at("nowhere")]);
    expect(missing.status).toBe(1);
    expect(missing.err).toContain("FILE_UNREADABLE");
  });
});

test("progress is shown on a terminal, and wiped", async () => {
  const { err } = await call(eifPcrsCommand, [at("a.eif")], { isErrTerminal: true });
  // One section after the other; the last draws over everything.
  expect(err).toMatch(/^\rmeasuring \d+ %/);
  expect(err.endsWith("\r\u001b[K")).toBe(true);
});

test("pcrs prints the measurements as nitro-cli does, and refuses a broken image", async () => {
  const { status, out } = await call(eifPcrsCommand, [at("a.eif")]);
  expect(status).toBe(0);
  expect(json(out)).toEqual({
    Measurements: {
      HashAlgorithm: "Sha384 { ... }",
      PCR0,
      PCR1: pcr(KERNEL.data, CMDLINE.data, RAMDISKS[0]?.data ?? ""),
      PCR2: pcr(RAMDISKS[1]?.data ?? ""),
    },
  });
  writeFileSync(at("crc.eif"), image(PIECES, { crc: 0 }));
  const refused = await call(eifPcrsCommand, [at("crc.eif")]);
  expect(refused).toMatchObject({ status: 1, out: "" });
  expect(refused.err).toContain("CRC_MISMATCH");
});

describe("diff", () => {
  test("says nothing much of the same image", async () => {
    expect(await call(diffEifsCommand, [at("a.eif"), at("a.eif")])).toEqual({
      status: 0,
      out: "the same image, byte for byte\n",
      err: "",
    });
  });

  test("names the file, what of it, and the PCRs", async () => {
    const other = zstdCompressSync(
      cpio(cpioEntry("app/main.mjs", "two!", { mode: 0o100755, mtime: 60 }), cpioEntry("new\u001b", "n")),
    );
    writeFileSync(
      at("b.eif"),
      image([KERNEL, piece("cmdline", "quiet"), METADATA_PIECE, RAMDISKS[0] ?? KERNEL, piece("ramdisk", other)]),
    );
    const { status, out } = await call(diffEifsCommand, [at("a.eif"), at("b.eif")]);
    expect(status).toBe(1);
    expect(out).toContain("command line (moves PCR0 and PCR1)\n  A console=ttyS0\n  B quiet\n");
    expect(out).toContain("ramdisk 1 (moves PCR0 and PCR2)");
    expect(out).toMatch(
      / {2}~ app\/main\.mjs: mode 644 → 755, mtime 1970-01-01T00:00:00Z → 1970-01-01T00:01:00Z, size 3 → 4, content \w{12}… → \w{12}…\n/,
    );
    expect(out).toContain("  + new\\u{1b} (file, mode 644, owner 0:0, 1 bytes)");
    expect(out).toContain("  - dev/null (character device, mode 666, owner 0:0, 0 bytes)");
    expect(out).toContain("PCRs that move: PCR0, PCR1, PCR2");
    const data = await call(diffEifsCommand, [at("a.eif"), at("b.eif"), "--json"]);
    expect(json(data.out)["moved"]).toEqual(["PCR0", "PCR1", "PCR2"]);
  });

  test("every other kind of difference has its line", async () => {
    await call(signEifCommand, [at("a.eif"), ...SIGNING, "--out", at("signed.eif")]);
    writeFileSync(
      at("c.eif"),
      image([CMDLINE, piece("kernel", "OTHER"), piece("metadata", METADATA.replace('"app"', '"web"')), ...RAMDISKS], {
        flags: 1,
      }),
    );
    const { out } = await call(diffEifsCommand, [at("signed.eif"), at("c.eif")]);
    expect(out).toContain("header: architecture x86_64 in A, aarch64 in B (moves no PCR)");
    expect(out).toMatch(/kernel \(moves PCR0 and PCR1\)\n {2}A sha256 [0-9a-f]{64}\n/);
    expect(out).toContain('metadata (moves no PCR)\n  ImageName: "app" in A, "web" in B\n');
    expect(out).toContain("signature: only A is signed (moves PCR8)");
    expect(out).toContain("order: sections stand as kernel, cmdline, metadata");
    expect(out).toContain("PCR8  A ");
  });
});

test("extract lists what it wrote and what it did not", async () => {
  const { status, out, err } = await call(extractEifCommand, [at("a.eif"), "--out", at("x"), "--files"]);
  expect(status).toBe(0);
  expect(out.split("\n")).toEqual([
    "kernel",
    "cmdline",
    "metadata.json",
    "ramdisk-0.cpio",
    "ramdisk-0/",
    "ramdisk-1.cpio.zst",
    "ramdisk-1/",
    "",
  ]);
  expect(err).toBe("cloister eif extract: left out of ramdisk-1: dev/null: a character device 0:0\n");
  expect(readdirSync(at("x/ramdisk-1"))).toEqual(["app"]);
});

describe("an image that AWS's sign-eif has signed anew", () => {
  const slot = 284 + 8 * 5;
  const stale = async (patch?: (file: DataView) => void): Promise<string> => {
    await call(signEifCommand, [at("a.eif"), ...SIGNING, "--out", at("whole.eif")]);
    const whole = readFileSync(at("whole.eif"));
    const signature = piece("signature", whole.subarray(-Number(whole.readBigUInt64BE(slot))));
    const leave = (file: DataView) => {
      file.setBigUint64(slot, file.getBigUint64(slot) - 7n);
      patch?.(file);
    };
    writeFileSync(at("stale.eif"), image([...PIECES, signature], { patch: leave }));
    return at("stale.eif");
  };
  const COMMANDS: readonly (readonly [string, Command, readonly string[]])[] = [
    ["pcrs", eifPcrsCommand, []],
    ["diff", diffEifsCommand, [at("whole.eif")]],
    ["extract", extractEifCommand, ["--out", at("stale")]],
    ["verify-signature", verifyEifSignatureCommand, []],
  ];

  test.each(COMMANDS)("is let through by %s, with a warning", async (name, command, more) => {
    const path = await stale();
    const { status, out, err } = await call(command, [path, ...more]);
    // It is no copy of the whole one.
    expect(status).toBe(name === "diff" ? 1 : 0);
    expect(out).not.toBe("");
    expect(err).toContain(`cloister eif ${name}: warning: ${path}: STALE_SIGNATURE_SIZE: the table has `);
    expect(err.split("\n")).toHaveLength(2);
  });

  test.each(COMMANDS)("and refused by %s where anything else is wrong", async (_, command, more) => {
    const path = await stale((file) => file.setUint16(24, 1));
    const { status, out, err } = await call(command, [path, ...more]);
    expect({ status, out }).toEqual({ status: 1, out: "" });
    expect(err).toContain("RESERVED_NOT_ZERO");
    expect(err).not.toContain("warning");
  });

  test("is measured for those who launch it, with a warning", async () => {
    const path = await stale();
    const warnings: string[] = [];
    const { measurements } = await measureImage(path, (text) => warnings.push(text));
    expect(measurements).toMatchObject({ PCR0, PCR8: pcr(key.der) });
    expect(warnings).toEqual([expect.stringContaining(`${path}: STALE_SIGNATURE_SIZE: `)]);
    await stale((file) => file.setUint16(24, 1));
    await expect(measureImage(path, (text) => warnings.push(text))).rejects.toMatchObject({ code: "IMAGE_UNREADABLE" });
    expect(warnings).toHaveLength(1);
  });

  test("is shown as a whole by inspect, which ends with 1", async () => {
    const path = await stale();
    const { status, out } = await call(inspectEifCommand, [path]);
    expect(status).toBe(1);
    expect(out).toContain(`PCR0  ${PCR0}`);
    expect(out).toContain(`PCR8  ${pcr(key.der)}`);
    expect(out).toContain("ES384 over PCR0 ✓ signed by the certificate's key");
    expect(out).toContain("✗ refused: 1 rule is broken\n  ✗ STALE_SIGNATURE_SIZE");
    const described = await call(inspectEifCommand, [path, "--json"]);
    expect(described.status).toBe(1);
    expect(json(described.out)).toMatchObject({ SignatureCheck: true, CheckCRC: true, Measurements: { PCR0 } });
  });
});

describe("sign and verify-signature", () => {
  const sign = (args: readonly string[], more?: Partial<CommandIo>) => call(signEifCommand, args, more);

  test("in place, then verified, at a time", async () => {
    writeFileSync(at("own.eif"), image(PIECES));
    const { status, out } = await sign([at("own.eif"), ...SIGNING]);
    expect(status).toBe(0);
    expect(json(out)).toMatchObject({ Measurements: { PCR0, PCR8: pcr(key.der) } });
    const verified = await call(verifyEifSignatureCommand, [at("own.eif")]);
    expect(verified).toEqual({
      status: 0,
      out: `signed by CN=signer, O=Test, C=US\nPCR0 ${PCR0}\nPCR8 ${pcr(key.der)}\n`,
      err: "",
    });
    const late = await call(verifyEifSignatureCommand, [at("own.eif"), "--at", "2027-01-01T00:00:00Z"]);
    expect(late.status).toBe(1);
    expect(late.err).toContain("CERTIFICATE_EXPIRED: the signing certificate expired on 2026-06-02T00:00:00.000Z");
    expect((await call(verifyEifSignatureCommand, [at("own.eif"), "--at", "tomorrow"])).status).toBe(2);
    const unsigned = await call(verifyEifSignatureCommand, [at("a.eif")]);
    expect(unsigned.err).toContain("NOT_SIGNED");
  });

  test("a folder that is not there is told in one line", async () => {
    const out = at("nowhere/x.eif");
    const { status, err } = await sign([at("a.eif"), ...SIGNING, "--out", out]);
    expect(status).toBe(1);
    expect(err).toMatch(/^cloister eif sign: ENOENT: .*\n$/);
  });

  test("an expired certificate is refused before anything is written", async () => {
    writeFileSync(at("late.eif"), image(PIECES));
    const before = readFileSync(at("late.eif"));
    const late = { nowMs: () => AT_MS + 10 * 86_400_000 };
    const { status, err } = await sign([at("late.eif"), ...SIGNING], late);
    expect(status).toBe(1);
    expect(err).toContain("CERTIFICATE_EXPIRED");
    expect(readFileSync(at("late.eif")).equals(before)).toBe(true);
  });

  test.each([
    [[], "expected FILE"],
    [["a", "b"], "expected FILE"],
    [["a"], "expected --certificate"],
    [["a", "--certificate", "CERT"], "expected either --private-key PEM or --kms-key ARN"],
    [["a", "--certificate", "CERT", "--private-key", "k", "--kms-key", "k"], "expected either"],
    [["a", "--certificate", "CERT", "--kms-key", "alias/x"], "--kms-key: expected arn:aws:kms"],
    [["a", "--certificate", "CERT", "--private-key", "/nowhere"], "cannot read /nowhere"],
    [["a", "--what"], "--what"],
  ])("wrong use: %j", async (args, words) => {
    const { status, err } = await sign(args.map((arg) => (arg === "CERT" ? at("certificate.pem") : arg)));
    expect(status).toBe(2);
    expect(err).toContain(words);
  });
});

test.each([
  ["inspect", inspectEifCommand],
  ["pcrs", eifPcrsCommand],
  ["diff", diffEifsCommand],
  ["extract", extractEifCommand],
  ["sign", signEifCommand],
  ["verify-signature", verifyEifSignatureCommand],
] as const)("%s explains itself, and its wrong use ends with 2", async (name, command) => {
  const help = await call(command, ["--help"]);
  expect(help.status).toBe(0);
  expect(help.out).toMatch(new RegExp(`^Usage: cloister eif ${name} .*\n`));
  expect(help.out).toContain("Exit status: 0");
  expect((await call(command, ["--nonsense"])).status).toBe(2);
});

test("extract without --out is wrong use", async () => {
  expect((await call(extractEifCommand, [at("a.eif")])).status).toBe(2);
});

describe("the command itself", () => {
  const run = (...args: readonly string[]) =>
    spawnSync(process.execPath, ["bin/cloister.js", "eif", ...args], { encoding: "utf8", timeout: 30_000 });

  test("lists what it can do, and ends with 2 for anything else", () => {
    const help = run("--help");
    expect(help.status).toBe(0);
    for (const name of ["build", "inspect", "pcrs", "diff", "extract", "sign", "verify-signature"]) {
      expect(help.stdout).toMatch(new RegExp(`^  ${name} `, "m"));
    }
    expect(run("nonsense")).toMatchObject({ status: 2, stderr: help.stdout });
    expect(run()).toMatchObject({ status: 2, stderr: help.stdout });
  });

  test("reads a file, and shows no progress where nobody watches", () => {
    const { status, stdout, stderr } = run("pcrs", at("a.eif"));
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toContain(PCR0);
    expect(run("pcrs", at("crc.eif")).status).toBe(1);
  });
});
