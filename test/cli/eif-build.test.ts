/** `cloister eif build`: what is printed where, every way to call it wrongly, and Ctrl-C. */
import { spawn, spawnSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { buildCommand, Interrupted } from "../../cli/eif-build.ts";
import { readEif } from "../../eif/read-eif.ts";
import { asFile, asFolder, asTar, dockerFiles, ociFiles } from "../eif/image/image-fixture.ts";
import { archive, entry, temporaryFolder } from "../eif/image/tar-fixture.ts";
import { arm64Kernel, x86Kernel } from "../eif/kernel-fixture.ts";
import { type Called, called } from "../support/command-call.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const MANIFEST = `version: 1
deployment: payments-eu
region: eu-west-1
kmsKeyArn: arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab
administrators:
  threshold: 1
  publicKeys: ["026b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"]
egress: []
`;

function run(
  args: readonly string[],
  {
    environment = {},
    signal = new AbortController().signal,
  }: { environment?: NodeJS.ProcessEnv; signal?: AbortSignal } = {},
): Promise<Called> {
  let ms = 0;
  const monotonicMs = () => {
    ms += 1500;
    return ms;
  };
  // openssl dates the certificate that is signed with by its own clock.
  const nowMs = () => Date.now() + 1000;
  return called((says) =>
    buildCommand(args, { ...says, signal, environment, toolVersion: "9.9.9", nowMs, monotonicMs }),
  );
}

const inFolder = (bytes: string | Uint8Array, name: string): string => asFile(Buffer.from(bytes as string), name);

function usual(image = asFolder(ociFiles())): { readonly args: string[]; readonly out: string } {
  const out = join(temporaryFolder(), "app.eif");
  return { args: ["--image", image, "--kernel", inFolder(x86Kernel("6.12.57"), "bzImage"), "--out", out], out };
}

describe("a build", () => {
  test("prints measurements as nitro-cli does, and progress beside them", async () => {
    const { args, out } = usual();
    const printed = await run(args);
    expect(printed.status).toBe(0);
    const eif = await readEif(out);
    expect(printed.out).toBe(`${JSON.stringify({ Measurements: eif.measurements }, null, 2)}\n`);
    expect(Object.keys(JSON.parse(printed.out).Measurements)).toEqual(["HashAlgorithm", "PCR0", "PCR1", "PCR2"]);
    expect(printed.err.split("\n")).toEqual([
      "Start building the Enclave Image...",
      "  kernel: Linux 6.12.57 for x86_64, 32.0 KiB (1.5 s)",
      expect.stringMatching(/^ {2}layer 1 of 1: sha256:[0-9a-f]{12}, 3\.0 KiB \(1\.5 s\)$/),
      expect.stringMatching(/^ {2}ramdisk 0 \(boot\): 2 files, [0-9]+ bytes, compressed to [0-9]+ bytes \(1\.5 s\)$/),
      expect.stringMatching(
        /^ {2}ramdisk 1 \(application\): 2 files, [0-9]+ bytes, compressed to [0-9]+ bytes \(1\.5 s\)$/,
      ),
      expect.stringMatching(
        /^ {2}image: 3[0-9.]+ KiB; launch it with --memory 64 \(MiB\) or more: 4 times the image, and what it needs to work$/,
      ),
      "Enclave Image successfully created.",
      "",
    ]);
    expect(eif.cmdline).toBe("reboot=t panic=30 pci=off console=ttyS0 quiet random.trust_cpu=on");
  });

  test("takes every option", async () => {
    const { args, out } = usual(asFile(asTar(dockerFiles())));
    const printed = await run(
      [
        ...args,
        ...["--cmdline", `@${inFolder("quiet panic=1\n", "cmdline")}`],
        ...["--manifest", inFolder(MANIFEST, "cloister.yaml")],
        ...["--tls-roots", certificate().certificate],
        ...["--architecture", "x86_64", "--name", "wallets", "--version", "3", "--compress", "none"],
        ...["--metadata", inFolder('{"commit":"abc"}', "m.json"), "--source-date-epoch", "86400"],
      ],
      { environment: { SOURCE_DATE_EPOCH: "1" } },
    );
    expect(printed.status, printed.err).toBe(0);
    const eif = await readEif(out);
    expect(eif.cmdline).toBe("quiet panic=1");
    expect(eif.sections.filter(({ type }) => type === "ramdisk")).toHaveLength(3);
    expect(eif.metadata).toMatchObject({
      imageName: "wallets",
      imageVersion: "3",
      build: { time: "1970-01-02T00:00:00+00:00", toolVersion: "9.9.9" },
      customMetadata: { commit: "abc" },
    });
  });

  test("says how much memory it takes: by the image, or by the files that it shrank", async () => {
    const layer = archive(entry({ name: "init", mode: 0o755 }, Buffer.alloc(64 * 1024 * 1024)));
    const { args } = usual(asFolder(ociFiles({ layers: [layer], compression: "none" })));
    expect((await run([...args, "--compress", "none"])).err).toContain(
      "--memory 258 (MiB) or more: 4 times the image,",
    );
    expect((await run(args)).err).toContain("--memory 130 (MiB) or more: 2 times its files, which are 64.0 MiB, and");
  });

  test("takes the time from SOURCE_DATE_EPOCH, and a folder", async () => {
    const { args, out } = usual();
    const rootfs = join(temporaryFolder(), "root");
    mkdirSync(rootfs);
    writeFileSync(join(rootfs, "init"), "#!init", { mode: 0o700 });
    const printed = await run(["--rootfs", rootfs, ...args.slice(2)], { environment: { SOURCE_DATE_EPOCH: "60" } });
    expect(printed.status, printed.err).toBe(0);
    expect((await readEif(out)).metadata).toMatchObject({
      imageVersion: "0",
      dockerInfo: null,
      build: { time: "1970-01-01T00:01:00+00:00" },
    });
  });

  test("signs", async () => {
    const { args, out } = usual();
    const { certificate: pem, key } = certificate();
    const printed = await run([...args, "--signing-certificate", pem, "--private-key", key]);
    expect(printed.status, printed.err).toBe(0);
    expect((JSON.parse(printed.out) as { Measurements: object }).Measurements).toHaveProperty("PCR8");
    expect((await readEif(out)).signature).not.toBeNull();
  });

  test("with AWS's blobs: CMD alone, or what docker would run", async () => {
    const blobs = temporaryFolder();
    writeFileSync(join(blobs, "bzImage"), x86Kernel("4.14.256"));
    writeFileSync(join(blobs, "Image"), arm64Kernel("4.14.256"));
    for (const name of ["init", "nsm.ko"]) writeFileSync(join(blobs, name), name);
    writeFileSync(join(blobs, "cmdline"), "reboot=k nomodules\n");
    const out = join(temporaryFolder(), "app.eif");
    const image = { layers: [archive(entry({ name: "bin/app" }, "x"))], entrypoint: ["/bin/app"], command: ["serve"] };
    const args = ["--image", asFolder(ociFiles(image)), "--nitro-cli-blobs", blobs, "--out", out];
    expect((await run(args)).status).toBe(0);
    const text = readFileSync(out).toString("latin1");
    expect(text).toMatch(/cmd\0+serve\n\0/);
    expect((await readEif(out)).cmdline).toBe("reboot=k nomodules");
    expect((await run([...args, "--docker-semantics"])).status).toBe(0);
    expect(readFileSync(out).toString("latin1")).toMatch(/cmd\0+\/bin\/app\nserve\n\0/);
    const arm = ["--image", asFolder(ociFiles({ ...image, architecture: "arm64" })), ...args.slice(2)];
    expect((await run([...arm, "--architecture", "aarch64"])).status).toBe(0);
    expect((await readEif(out)).architecture).toBe("aarch64");
  });

  test("replaces an image that was there, and leaves it alone when it fails", async () => {
    const { args, out } = usual();
    expect((await run(args)).status).toBe(0);
    const first = readFileSync(out);
    expect((await run([...args, "--name", "other"])).status).toBe(0);
    const second = readFileSync(out);
    expect(second.equals(first)).toBe(false);
    expect((await run([...args, "--architecture", "aarch64"])).status).toBe(1);
    expect(readFileSync(out).equals(second)).toBe(true);
  });
});

/** A self-signed certificate over P-384, by openssl. */
function certificate(): { readonly certificate: string; readonly key: string } {
  const folder = temporaryFolder();
  const key = join(folder, "key.pem");
  const pem = join(folder, "certificate.pem");
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
  writeFileSync(key, privateKey.export({ type: "pkcs8", format: "pem" }));
  const request = ["req", "-x509", "-new", "-key", key, "-subj", "/CN=test", "-days", "2", "-out", pem];
  expect(spawnSync("openssl", request).status).toBe(0);
  return { certificate: pem, key };
}

describe("refusals", () => {
  test("of an image: its code and what to do, and nothing written", async () => {
    const { args, out } = usual(asFolder(ociFiles({ layers: [archive(entry({ name: "bin/sh" }))] })));
    const printed = await run(args);
    expect([printed.status, printed.out]).toEqual([1, ""]);
    expect(printed.err).toContain("cloister eif build: NO_INIT: the image has no /init");
    expect(existsSync(out)).toBe(false);
  });

  test("of a name that would draw on the terminal: it is shown harmlessly", async () => {
    const name = "\x1b[2J/../\u202e";
    const { args } = usual(
      asFolder(ociFiles({ layers: [archive(entry({ name: Buffer.from(name).toString("latin1") }))] })),
    );
    const { err, status } = await run(args);
    expect(status).toBe(1);
    expect(err).toContain("NAME_OUTSIDE_ROOT");
    expect(err).not.toContain("\x1b");
    expect(err).not.toContain("\u202e");
  });

  test("of a manifest that the enclave would refuse", async () => {
    const { args } = usual();
    const printed = await run([
      ...args,
      "--manifest",
      inFolder(MANIFEST.replace("threshold: 1", "threshold: 2"), "m.yaml"),
    ]);
    expect(printed.status).toBe(1);
    expect(printed.err).toContain("--manifest: MANIFEST_INVALID");
  });

  test("of files that are not there, and of a folder that is not", async () => {
    const { args } = usual();
    const missing = await run([...args.slice(0, 3), "/nonexistent/bzImage", ...args.slice(4)]);
    expect([missing.status, missing.err.includes("FILE_UNREADABLE")]).toEqual([1, true]);
    const nowhere = await run([...args.slice(0, -1), "/nonexistent/app.eif"]);
    expect([nowhere.status, nowhere.err.includes("ENOENT")]).toEqual([1, true]);
  });

  const { certificate: pem, key } = { certificate: "/dev/null", key: "/dev/null" };
  const big = "x".repeat(1024 * 1024 + 1);
  test.each([
    ["no image", (args: string[]) => args.slice(2), "one of --image and --rootfs"],
    ["both", (args: string[]) => [...args, "--rootfs", "/"], "one of --image and --rootfs"],
    ["no kernel", (args: string[]) => [...args.slice(0, 2), ...args.slice(4)], "--kernel is required"],
    ["no output", (args: string[]) => args.slice(0, 4), "--out is required"],
    ["an unknown option", (args: string[]) => [...args, "--fast"], "--fast"],
    ["an argument too many", (args: string[]) => [...args, "more"], "more"],
    ["an architecture of docker's", (args: string[]) => [...args, "--architecture", "amd64"], "x86_64 or aarch64"],
    ["another compression", (args: string[]) => [...args, "--compress", "gzip"], "zstd or none"],
    ["a date for an epoch", (args: string[]) => [...args, "--source-date-epoch", "2026-01-01"], "epoch"],
    ["an epoch of 33 bits", (args: string[]) => [...args, "--source-date-epoch", "4294967296"], "epoch"],
    ["a certificate alone", (args: string[]) => [...args, "--signing-certificate", pem], "go together"],
    ["a key alone", (args: string[]) => [...args, "--private-key", key], "go together"],
    ["docker's semantics alone", (args: string[]) => [...args, "--docker-semantics"], "--nitro-cli-blobs"],
    ["zstd for AWS's kernel", (args: string[]) => [...args, "--nitro-cli-blobs", "/x", "--compress", "zstd"], "4.14"],
    ["metadata that is no JSON", (args: string[]) => [...args, "--metadata", inFolder("{", "m")], "not JSON"],
    ["metadata that is a list", (args: string[]) => [...args, "--metadata", inFolder("[]", "m")], "a JSON object"],
    [
      "metadata of 4097 bytes",
      (args: string[]) => [...args, "--metadata", inFolder(JSON.stringify("x".repeat(4095)), "m")],
      "4096",
    ],
    [
      "roots without a certificate",
      (args: string[]) => [...args, "--tls-roots", inFolder("text", "r")],
      "no certificate",
    ],
    [
      "roots that are none",
      (args: string[]) => [
        ...args,
        "--tls-roots",
        inFolder("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "r"),
      ],
      "cannot be read",
    ],
    ["roots with a private key", (args: string[]) => [...args, "--tls-roots", certificate().key], "private key"],
    ["a file of more than 1 MiB", (args: string[]) => [...args, "--tls-roots", inFolder(big, "r")], "more than"],
  ])("of wrong usage: %s", async (_what, change, message) => {
    const printed = await run(change(usual().args));
    expect([printed.status, printed.out]).toEqual([2, ""]);
    expect(printed.err).toContain(message);
  });
});

test("help", async () => {
  const printed = await run(["--help"]);
  expect([printed.status, printed.err]).toEqual([0, ""]);
  expect(printed.out).toContain("--nitro-cli-blobs");
});

test("interrupted before it began", async () => {
  const { args, out } = usual();
  const printed = await run(args, { signal: AbortSignal.abort(new Interrupted("SIGTERM")) });
  expect([printed.status, printed.out]).toEqual([143, ""]);
  expect(printed.err).toContain("interrupted by SIGTERM; nothing was written");
  expect(existsSync(out)).toBe(false);
});

test("Ctrl-C in the middle leaves nothing behind", async () => {
  // Enough that level 19 is not done with it when the signal comes.
  const noise = Buffer.alloc(24 * 1024 * 1024);
  for (let at = 0, state = 1; at < noise.length; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    noise.writeUInt32LE(state, at);
  }
  const layer = archive(entry({ name: "init", mode: 0o755 }, "x"), entry({ name: "noise" }, noise));
  const { args, out } = usual(asFolder(ociFiles({ layers: [layer], compression: "gzip" })));
  const child = spawn(process.execPath, [join(ROOT, "bin/cloister.js"), "eif", "build", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 25_000,
  });
  let err = "";
  let isInterrupted = false;
  child.stderr.on("data", (chunk: Buffer) => {
    err += chunk.toString();
    if (!err.includes("ramdisk 0") || isInterrupted) return;
    isInterrupted = true;
    expect(readdirSync(join(out, "..")).some((name) => name.startsWith(".cloister-eif-"))).toBe(true);
    child.kill("SIGINT");
    child.kill("SIGINT");
  });
  const [status] = (await once(child, "close")) as [number | null];
  expect([status, err.includes("interrupted by SIGINT; nothing was written")]).toEqual([130, true]);
  expect(readdirSync(join(out, ".."))).toEqual([]);
});
