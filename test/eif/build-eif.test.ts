/** Whole builds: what goes in comes out, the same bytes every time, and nothing else is left behind. */
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type BuildEifOptions, type BuildStep, buildEif } from "../../eif/build-eif.ts";
import { bytesSource } from "../../eif/byte-source.ts";
import { ramdiskFiles } from "../../eif/ramdisk-files.ts";
import { type InspectedEif, readEif } from "../../eif/read-eif.ts";
import { asFile, asFolder, asTar, configOf, dockerFiles, ociFiles, sha256 } from "./image/image-fixture.ts";
import { archive, entry, gnuLong, pax, temporaryFolder } from "./image/tar-fixture.ts";
import { arm64Kernel, x86Kernel } from "./kernel-fixture.ts";

type Overrides = Partial<BuildEifOptions> & {
  readonly signal?: AbortSignal;
  readonly onStep?: (step: BuildStep) => void;
};

interface Built {
  readonly bytes: Buffer;
  readonly eif: InspectedEif;
  readonly steps: readonly BuildStep[];
}

async function build(path: string, { signal, onStep, ...overrides }: Overrides = {}): Promise<Built> {
  const folder = temporaryFolder();
  const steps: BuildStep[] = [];
  const options: BuildEifOptions = {
    source: { kind: "image", path },
    out: join(folder, "out.eif"),
    kernel: bytesSource(x86Kernel("6.12.57")),
    cmdline: "quiet",
    epochSeconds: 0,
    compression: "none",
    configuration: {},
    toolVersion: "1.2.3",
    ...overrides,
  };
  try {
    await buildEif(options, {
      signal: signal ?? new AbortController().signal,
      onStep: (step) => {
        steps.push(step);
        onStep?.(step);
      },
    });
    expect(readdirSync(folder)).toEqual(["out.eif"]);
  } catch (error) {
    // Whatever went wrong, there is nothing to clean up.
    expect(readdirSync(folder)).toEqual([]);
    throw error;
  }
  return { bytes: await readFile(options.out), eif: await readEif(options.out), steps };
}

/** What the reader, which was written without a look at the writer, finds in each ramdisk. */
async function drawn(eif: InspectedEif): Promise<string[][]> {
  const ramdisks: string[][] = [];
  for (const section of eif.sections.filter(({ type }) => type === "ramdisk")) {
    const files = await ramdiskFiles(eif.source(section));
    ramdisks.push(
      [...files].map(([name, { kind, permissions, uid, gid, contentSha256 }]) =>
        [name, kind, permissions.toString(8), uid, gid, kind === "directory" ? "" : contentSha256.slice(0, 8)].join(
          " ",
        ),
      ),
    );
  }
  return ramdisks;
}

const digest8 = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 8);

describe("one image, many forms", () => {
  test("every form, and every compression of its layers, gives the same file", async () => {
    const expected = (await build(asFolder(ociFiles()))).bytes;
    const forms = [
      asFile(asTar(ociFiles({ compression: "zstd" }))),
      asFile(asTar(dockerFiles())),
      asFile(gzipSync(asTar(dockerFiles({ compression: "gzip" })))),
    ];
    for (const form of forms) expect((await build(form)).bytes.equals(expected)).toBe(true);
  });

  test("compressed or not, the files are the same, with the same PCR-relevant content", async () => {
    const plain = await build(asFolder(ociFiles()));
    const compressed = await build(asFolder(ociFiles()), { compression: "zstd" });
    expect(await drawn(compressed.eif)).toEqual(await drawn(plain.eif));
    expect(compressed.eif.measurements).not.toEqual(plain.eif.measurements);
    const again = await build(asFolder(ociFiles()), { compression: "zstd" });
    expect(again.bytes.equals(compressed.bytes)).toBe(true);
  });
});

test("the sections are the parts, in the order that PCRs count on", async () => {
  const configuration = { manifest: Buffer.from("manifest"), tlsRoots: Buffer.from("roots") };
  const { eif, steps } = await build(asFolder(ociFiles()), { configuration });
  expect(eif.sections.map(({ type }) => type)).toEqual([
    "kernel",
    "cmdline",
    "metadata",
    "ramdisk",
    "ramdisk",
    "ramdisk",
  ]);
  expect(await drawn(eif)).toEqual([
    ["dev directory 755 0 0 ", `init file 755 0 0 ${digest8("#!init")}`],
    ["app directory 755 0 0 ", `app/main file 644 0 0 ${digest8("main")}`],
    [
      "etc directory 755 0 0 ",
      "etc/cloister directory 755 0 0 ",
      `etc/cloister/cloister.yaml file 644 0 0 ${digest8("manifest")}`,
      `etc/cloister/tls-roots.pem file 644 0 0 ${digest8("roots")}`,
    ],
  ]);
  expect(steps.map(({ kind }) => kind)).toEqual(["kernel", "layer", "ramdisk", "ramdisk", "ramdisk"]);
});

test("an arm64 kernel that AWS's loader may not take is noted, and built with", async () => {
  const image = asFolder(ociFiles({ architecture: "arm64" }));
  const { steps } = await build(image, { kernel: bytesSource(arm64Kernel("6.6.79", 0n)) });
  const text = expect.stringContaining("text_offset is 0x0");
  expect(steps.filter(({ kind }) => kind === "note")).toEqual([{ kind: "note", text }]);
});

test("what an image has in common with another keeps its PCR", async () => {
  const one = (await build(asFolder(ociFiles()))).eif.measurements;
  const configured = (await build(asFolder(ociFiles()), { configuration: { manifest: Buffer.from("m") } })).eif
    .measurements;
  expect(configured?.PCR1).toBe(one?.PCR1);
  expect(configured?.PCR2).not.toBe(one?.PCR2);
  const dated = (await build(asFolder(ociFiles()), { name: "x", version: "y", customMetadata: { z: 1 } })).eif
    .measurements;
  expect(dated).toEqual(one);
});

describe("metadata", () => {
  test("is made of what does not change from machine to machine", async () => {
    const { eif } = await build(asFolder(ociFiles()), { compression: "zstd", epochSeconds: 1_700_000_000 });
    expect(eif.metadata).toEqual({
      imageName: "cloister",
      imageVersion: sha256(configOf({})).slice(7),
      build: {
        time: "2023-11-14T22:13:20+00:00",
        tool: "cloister",
        toolVersion: "1.2.3",
        operatingSystem: "Linux",
        kernelVersion: "6.12.57",
      },
      dockerInfo: {
        Id: sha256(configOf({})),
        RootFS: { Type: "layers", Layers: [(JSON.parse(configOf({}).toString()) as Config).rootfs.diff_ids[0]] },
      },
      customMetadata: { Cloister: { RamdiskCompression: "zstd", ZstdVersion: "1.5.7", ZstdLevel: 19 } },
    });
  });

  interface Config {
    readonly rootfs: { readonly diff_ids: readonly string[] };
  }

  test("takes names and keys of the user's, and keeps its own key", async () => {
    const { eif } = await build(asFolder(ociFiles()), { name: "app", version: "7", customMetadata: { commit: "abc" } });
    expect(eif.metadata).toMatchObject({
      imageName: "app",
      imageVersion: "7",
      customMetadata: { commit: "abc", Cloister: { RamdiskCompression: "none" } },
    });
    await expect(build(asFolder(ociFiles()), { customMetadata: { Cloister: {} } })).rejects.toMatchObject({
      name: "BuildError",
      code: "METADATA_CONFLICT",
    });
  });

  test("the epoch is the time of every file as well", async () => {
    const { eif } = await build(asFolder(ociFiles()), { epochSeconds: 4_294_967_295 });
    for (const section of eif.sections.filter(({ type }) => type === "ramdisk")) {
      for (const { mtimeSeconds } of (await ramdiskFiles(eif.source(section))).values()) {
        expect(mtimeSeconds).toBe(4_294_967_295);
      }
    }
  });
});

describe("architectures", () => {
  test("come from the kernel, and the image is chosen by it", async () => {
    const image = asFolder(ociFiles({ architecture: "arm64" }));
    const { eif } = await build(image, { kernel: bytesSource(arm64Kernel("6.6.79")) });
    expect([eif.architecture, eif.metadata?.build.kernelVersion]).toEqual(["aarch64", "6.6.79"]);
    await expect(build(image)).rejects.toMatchObject({ code: "NO_SUCH_PLATFORM" });
  });

  test("given and not the kernel's", async () => {
    await expect(build(asFolder(ociFiles()), { architecture: "aarch64" })).rejects.toMatchObject({
      code: "KERNEL_ARCHITECTURE",
    });
  });
});

describe("nitro-cli's layout", () => {
  const nitroCli = {
    init: bytesSource(Buffer.from("aws")),
    nsm: bytesSource(Buffer.from("nsm")),
    semantics: "nitro-cli" as const,
  };

  test("needs no /init of the image's, and is never compressed", async () => {
    const layer = archive(entry({ name: "bin/app", mode: 0o755 }, "app"));
    const { eif } = await build(asFolder(ociFiles({ layers: [layer] })), { nitroCli, compression: "zstd" });
    const [boot, customer] = await drawn(eif);
    expect(boot?.map((line) => line.split(" ")[0])).toEqual(["dev", "init", "nsm.ko"]);
    expect(customer?.slice(0, 2)).toEqual([
      `cmd file 644 0 0 ${digest8("/app/main\n")}`,
      `env file 644 0 0 ${digest8("PATH=/bin\n")}`,
    ]);
    expect(eif.metadata?.customMetadata).toEqual({ Cloister: { RamdiskCompression: "none" } });
  });

  test("a folder has no command", async () => {
    const rootfs = { kind: "rootfs", path: asFolder(new Map([["init", Buffer.from("x")]])) } as const;
    await expect(build("", { source: rootfs, nitroCli })).rejects.toMatchObject({ code: "NO_COMMAND" });
  });
});

describe("notes", () => {
  const withRoots = ociFiles({
    layers: [
      archive(
        entry({ name: "init", mode: 0o755 }, "i"),
        pax([["SCHILY.xattr.security.capability", "x"]]),
        entry({ name: "etc/cloister/tls-roots.pem" }, "roots"),
        entry({ name: "etc/cloister/cloister.yaml" }, "m"),
      ),
    ],
  });

  test("an image that brings its own TLS roots is told of, and so are attributes that are lost", async () => {
    const { steps } = await build(asFolder(withRoots));
    const notes = steps.flatMap((step) => (step.kind === "note" ? [step.text] : []));
    expect(notes).toEqual([
      expect.stringContaining('1 files had the extended attribute "security.capability"'),
      expect.stringContaining("the image brings TLS roots of its own"),
    ]);
  });

  test("what goes over the image's own is told of", async () => {
    const configuration = { manifest: Buffer.from("m"), tlsRoots: Buffer.from("t") };
    const { steps } = await build(asFolder(withRoots), { configuration });
    const notes = steps.flatMap((step) => (step.kind === "note" ? [step.text] : []));
    expect(notes.slice(1)).toEqual([
      "--manifest goes over the image's own /etc/cloister/cloister.yaml",
      "--tls-roots goes over the image's own /etc/cloister/tls-roots.pem",
    ]);
  });
});

describe("an interrupted build leaves nothing", () => {
  test.each(["kernel", "layer", "ramdisk"] as const)("after the %s", async (kind) => {
    for (const compression of ["zstd", "none"] as const) {
      const interrupt = new AbortController();
      const onStep = (step: BuildStep): void => {
        if (step.kind === kind) interrupt.abort(new Error("stop"));
      };
      await expect(build(asFolder(ociFiles()), { signal: interrupt.signal, onStep, compression })).rejects.toThrow();
    }
  });
});

test("interrupted while the image is being written", async () => {
  const interrupt = new AbortController();
  const kernel = bytesSource(x86Kernel("6.12.57"));
  let times = 0;
  const watched = {
    sizeBytes: kernel.sizeBytes,
    chunks: () => {
      times += 1;
      // First it is looked at; the second time it is copied.
      if (times === 2) interrupt.abort(new Error("stop"));
      return kernel.chunks();
    },
  };
  await expect(build(asFolder(ociFiles()), { kernel: watched, signal: interrupt.signal })).rejects.toThrow("stop");
  expect(times).toBe(2);
});

test("an output that cannot be written leaves nothing", async () => {
  const out = temporaryFolder();
  await expect(build(asFolder(ociFiles()), { out })).rejects.toThrow();
  expect(readdirSync(out)).toEqual([]);
});

describe("any tree", () => {
  type Leaf =
    | { readonly kind: "file"; readonly content: Uint8Array; readonly mode: number; readonly uid: number }
    | { readonly kind: "symlink"; readonly target: string };

  const component = fc.stringMatching(/^[a-zA-Z0-9_+@-]{1,12}$/).filter((text) => text !== "init" && text !== "dev");
  const longComponent = fc.stringMatching(/^[a-z]{90,120}$/);
  const name = fc.array(fc.oneof({ weight: 6, arbitrary: component }, { weight: 1, arbitrary: longComponent }), {
    minLength: 1,
    maxLength: 4,
  });
  const leaf: fc.Arbitrary<Leaf> = fc.oneof(
    fc.record({
      kind: fc.constant("file" as const),
      content: fc.uint8Array({ maxLength: 700 }),
      mode: fc.integer({ min: 0, max: 0o7777 }),
      uid: fc.nat(0xffff_ffff),
    }),
    fc.record({ kind: fc.constant("symlink" as const), target: fc.stringMatching(/^[a-z./]{1,150}$/) }),
  );
  const tree = fc
    .dictionary(
      name.map((parts) => parts.join("/")),
      leaf,
      { maxKeys: 12 },
    )
    .map((files) => {
      // A name below a file's is no tree.
      const names = Object.keys(files).sort();
      return names
        .filter((one) => !names.some((other) => one.startsWith(`${other}/`)))
        .map((one) => [one, files[one]] as const);
    });

  /** One entry in one of the dialects that can hold it. */
  function tarOf([path, node]: readonly [string, Leaf | undefined], dialect: "gnu" | "pax"): Buffer {
    if (node === undefined) return Buffer.alloc(0);
    const target = node.kind === "symlink" ? node.target : "";
    const before: Buffer[] = [];
    const uid = node.kind === "file" ? node.uid : 0;
    if (dialect === "gnu") {
      if (path.length > 100) before.push(gnuLong("L", path));
      if (target.length > 100) before.push(gnuLong("K", target));
    } else {
      before.push(
        pax([
          ["path", path],
          ["linkpath", target],
          ["uid", String(uid)],
        ]),
      );
    }
    const binary = Buffer.alloc(8);
    binary.writeUInt8(0x80, 0);
    binary.writeUInt32BE(uid, 4);
    const fields = { name: path.slice(0, 100), dialect: dialect === "gnu" ? ("gnu" as const) : ("posix" as const) };
    const body =
      node.kind === "file"
        ? entry({ ...fields, mode: node.mode, ...(dialect === "gnu" ? { over: [[108, binary]] } : {}) }, node.content)
        : entry({ ...fields, type: "2", linkName: target.slice(0, 100) });
    return Buffer.concat([...before, body]);
  }

  function expectedLines(files: readonly (readonly [string, Leaf | undefined])[]): string[] {
    const lines = new Map<string, string>();
    for (const [path, node] of files) {
      const parts = path.split("/");
      for (let depth = 1; depth < parts.length; depth++) {
        const folder = parts.slice(0, depth).join("/");
        lines.set(folder, `${folder} directory 755 0 0 `);
      }
      if (node?.kind === "symlink") lines.set(path, `${path} symlink 777 0 0 ${digest8(node.target)}`);
      else if (node !== undefined) {
        const content = createHash("sha256").update(node.content).digest("hex").slice(0, 8);
        lines.set(path, `${path} file ${node.mode.toString(8)} ${node.uid} 0 ${content}`);
      }
    }
    return [...lines].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, line]) => line);
  }

  test("in any order, any dialect and any number of layers gives the same EIF, and the reader finds the tree", async () => {
    const order = fc.infiniteStream(fc.nat());
    await fc.assert(
      fc.asyncProperty(tree, order, fc.nat(3), async (files, random, cut) => {
        const init = entry({ name: "init", mode: 0o755 }, "#!init");
        const layersOf = (shuffle: boolean): Buffer[] => {
          const sorted = shuffle
            ? files
                .map((file) => [random.next().value, file] as const)
                .sort(([a], [b]) => a - b)
                .map(([, file]) => file)
            : files;
          const parts = sorted.map((file, index) => tarOf(file, shuffle && index % 2 === 0 ? "gnu" : "pax"));
          return shuffle
            ? [archive(...parts.slice(0, cut), init), archive(...parts.slice(cut))]
            : [archive(init, ...parts)];
        };
        const options = { name: "same", version: "same" };
        const one = await build(asFolder(ociFiles({ layers: layersOf(false) })), options);
        const two = await build(asFolder(ociFiles({ layers: layersOf(true), compression: "none" })), options);
        expect(two.eif.measurements).toEqual(one.eif.measurements);
        expect((await drawn(one.eif))[1]).toEqual(expectedLines(files));
      }),
      { numRuns: 40 },
    );
  });
});
