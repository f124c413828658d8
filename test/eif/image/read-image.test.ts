/** Images in every form in which they are stored, and what is refused of them. */
import { mkdirSync, readdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { namesOf } from "../../../eif/image/file-tree.ts";
import type { ImageLimits } from "../../../eif/image/limits.ts";
import { type ReadImage, readImage } from "../../../eif/image/read-image.ts";
import {
  addBlob,
  addImage,
  addIndex,
  asFile,
  asFolder,
  asTar,
  configOf,
  damaged,
  dockerFiles,
  type Files,
  INDEX_TYPE,
  json,
  LAYER,
  ociFiles,
  sha256,
} from "./image-fixture.ts";
import { archive, budgetOf, contentOf, entry, temporaryFolder } from "./tar-fixture.ts";

async function read(path: string, limits: Partial<ImageLimits> = {}, folder = temporaryFolder()): Promise<ReadImage> {
  return readImage(path, "x86_64", { folder, budget: budgetOf(limits), signal: new AbortController().signal });
}

async function expectRead(path: string): Promise<void> {
  const { tree, config } = await read(path);
  expect(namesOf(tree.root).map(([name]) => name)).toEqual(["app", "app/main", "init"]);
  expect((await contentOf(tree.find("app/main") as never)).toString()).toBe("main");
  expect(config).toMatchObject({ digest: sha256(configOf({})), command: ["/app/main"], diffIds: [sha256(LAYER)] });
}

const refusal = (code: string) => ({ name: "ImageError", code });

describe("forms", () => {
  test.each(["none", "gzip", "zstd"] as const)("an OCI layout with layers compressed by %s", async (compression) => {
    await expectRead(asFolder(ociFiles({ compression })));
    await expectRead(asFile(asTar(ociFiles({ compression }))));
  });

  test.each(["none", "gzip", "zstd"] as const)("a docker archive with layers compressed by %s", async (compression) => {
    await expectRead(asFile(asTar(dockerFiles({ compression }))));
    await expectRead(asFolder(dockerFiles({ compression })));
  });

  test("an archive that is compressed as a whole", async () => {
    await expectRead(asFile(gzipSync(asTar(dockerFiles()))));
    await expectRead(asFile(zstdCompressSync(asTar(ociFiles()))));
  });

  test("both in one archive, as docker 25 writes it", async () => {
    const files = ociFiles({ compression: "none" });
    const config = `blobs/sha256/${sha256(configOf({})).slice(7)}`;
    files.set("manifest.json", json([{ Config: config, Layers: [`blobs/sha256/${sha256(LAYER).slice(7)}`] }]));
    await expectRead(asFile(asTar(files)));
    files.delete("index.json");
    await expectRead(asFile(asTar(files)));
  });

  test("a layer that stands elsewhere in the archive, behind a symbolic link", async () => {
    const config = configOf({ layers: [LAYER, LAYER] });
    const tar = archive(
      entry({ name: "one/layer.tar" }, LAYER),
      entry({ name: "two/layer.tar", type: "2", linkName: "../one/layer.tar" }),
      entry({ name: "config.json" }, config),
      entry({ name: "manifest.json" }, json([{ Config: "config.json", Layers: ["one/layer.tar", "two/layer.tar"] }])),
    );
    expect((await read(asFile(tar))).config.diffIds).toHaveLength(2);
  });

  test("an index in an index, beside attestations and other platforms", async () => {
    const files: Files = new Map();
    const wanted = { ...addImage(files), platform: { os: "linux", architecture: "amd64" } };
    const other = { ...addImage(files, { architecture: "arm64" }), platform: { os: "linux", architecture: "arm64" } };
    const provenance = {
      ...addBlob(files, "application/vnd.oci.image.manifest.v1+json", json({ not: "an image" })),
      platform: { os: "unknown", architecture: "unknown" },
      annotations: { "vnd.docker.reference.type": "attestation-manifest" },
    };
    const absent = { mediaType: INDEX_TYPE, digest: sha256(Buffer.from("absent")), size: 6 };
    const inner = addIndex(files, [wanted, other, provenance]);
    addIndex(files, [addBlob(files, INDEX_TYPE, inner), absent]);
    await expectRead(asFolder(files));
    const arm = { folder: temporaryFolder(), budget: budgetOf(), signal: new AbortController().signal };
    expect((await readImage(asFolder(files), "aarch64", arm)).config.platform).toBe("linux/arm64");
  });

  test("indexes that name each other ten thousand times are walked once", async () => {
    const files: Files = new Map();
    let inner: object = addImage(files);
    for (let depth = 0; depth < 4; depth++) {
      inner = addBlob(files, INDEX_TYPE, addIndex(files, Array(10_000).fill(inner), `unused-${depth}`));
    }
    addIndex(files, Array(10_000).fill(inner));
    await expectRead(asFolder(files));
  });

  test("one image under two tags", async () => {
    const files: Files = new Map();
    const image = addImage(files);
    addIndex(files, [
      { ...image, annotations: { "org.opencontainers.image.ref.name": "a" } },
      { ...image, annotations: { "org.opencontainers.image.ref.name": "b" } },
    ]);
    await expectRead(asFolder(files));
  });

  test("zstd:chunked: many frames, and some that hold no data", async () => {
    const skippable = Buffer.concat([Buffer.from("502a4d1804000000", "hex"), Buffer.from("toc!")]);
    const empty = Buffer.from("5f2a4d1800000000", "hex");
    const cuts = [0, 1, 700, 1500, LAYER.length];
    const frames = cuts.slice(1).map((cut, index) => zstdCompressSync(LAYER.subarray(cuts[index], cut)));
    const stored = Buffer.concat([empty, ...frames.flatMap((frame) => [frame, skippable]), empty]);
    await expectRead(imageWithLayer(stored));
  });

  test("gzip of several members", async () => {
    await expectRead(imageWithLayer(Buffer.concat([gzipSync(LAYER.subarray(0, 99)), gzipSync(LAYER.subarray(99))])));
  });

  test("layers that are not compressed are read where they are, and nothing is left but what is", async () => {
    const folder = temporaryFolder();
    await read(asFile(asTar(ociFiles({ compression: "none" }))), {}, folder);
    expect(readdirSync(folder)).toEqual([]);
    await read(asFile(asTar(ociFiles({ compression: "gzip" }))), {}, folder);
    expect(readdirSync(folder)).toEqual(["layer-0.tar"]);
  });
});

/** An image whose only layer is stored so, and says that it unpacks to the usual one. */
function imageWithLayer(stored: Uint8Array): string {
  const files: Files = new Map();
  const layer = addBlob(files, "application/vnd.oci.image.layer.v1.tar+zstd", stored);
  addIndex(files, [addImage(files, { manifest: { layers: [layer] } })]);
  return asFolder(files);
}

function withBlobs(change: (name: string, bytes: Uint8Array) => Uint8Array | undefined): string {
  const files = ociFiles();
  for (const [name, bytes] of [...files]) {
    const changed = change(name, bytes);
    if (changed === undefined) files.delete(name);
    else files.set(name, changed);
  }
  return asFolder(files);
}

const isGzip = (bytes: Uint8Array): boolean => bytes[0] === 0x1f;
const holds = (bytes: Uint8Array, text: string): boolean => Buffer.from(bytes).includes(text);

describe("refusals", () => {
  const bad: readonly [string, string, () => string][] = [
    ["UNREADABLE", "no such file", () => "/nonexistent/image.tar"],
    ["UNREADABLE", "a device", () => "/dev/null"],
    ["UNKNOWN_FORMAT", "an archive of a file system", () => asFile(LAYER)],
    ["UNKNOWN_FORMAT", "an empty folder", () => temporaryFolder()],
    [
      "UNKNOWN_FORMAT",
      "an index that is a folder in the archive",
      () => asFile(archive(entry({ name: "index.json", type: "6" }))),
    ],
    ["TAR_CHECKSUM", "no archive", () => asFile(Buffer.alloc(4096, "x"))],
    [
      "NAME_DUPLICATE",
      "two manifests in one archive",
      () => asFile(archive(entry({ name: "manifest.json" }, "[]"), entry({ name: "./manifest.json" }, "[]"))),
    ],
    ["BLOB_MISSING", "no layer", () => withBlobs((_, bytes) => (isGzip(bytes) ? undefined : bytes))],
    ["BLOB_MISSING", "no configuration", () => withBlobs((_, bytes) => (holds(bytes, "diff_ids") ? undefined : bytes))],
    ["BLOB_MISSING", "no manifest", () => withBlobs((_, bytes) => (holds(bytes, '"layers":') ? undefined : bytes))],
    [
      "DIGEST_MISMATCH",
      "another layer",
      () => withBlobs((_, bytes) => (isGzip(bytes) ? gzipSync(LAYER, { level: 0 }) : bytes)),
    ],
    [
      "DIGEST_MISMATCH",
      "a manifest with a byte changed",
      () =>
        withBlobs((_, bytes) =>
          Buffer.from(
            Buffer.from(bytes).toString("latin1").replace("vnd.oci.image.config", "vnd.oci.image.c0nfig"),
            "latin1",
          ),
        ),
    ],
    [
      "DIGEST_MISMATCH",
      "a configuration with a byte changed",
      () =>
        withBlobs((_, bytes) =>
          Buffer.from(Buffer.from(bytes).toString("latin1").replace("PATH=/bin", "PATH=/b1n"), "latin1"),
        ),
    ],
    ["DIGEST_MISMATCH", "a layer that is another when unpacked", () => imageWithLayer(gzipSync(damaged(LAYER)))],
    ["DIGEST_MISMATCH", "a layer, not compressed, that is another", () => imageWithLayer(damaged(LAYER))],
    [
      "DIGEST_MISMATCH",
      "a layer with more after the frame",
      () => imageWithLayer(zstdCompressSync(Buffer.concat([LAYER, LAYER]))),
    ],
    ["COMPRESSED_DATA_MALFORMED", "gzip cut off", () => imageWithLayer(gzipSync(LAYER).subarray(0, -9))],
    [
      "COMPRESSED_DATA_MALFORMED",
      "gzip with another header behind",
      () => imageWithLayer(Buffer.concat([gzipSync(LAYER), Buffer.from("1f8bff", "hex")])),
    ],
    ["COMPRESSED_DATA_MALFORMED", "zstd cut off", () => imageWithLayer(zstdCompressSync(LAYER).subarray(0, -1))],
    [
      "COMPRESSED_DATA_MALFORMED",
      "zstd cut in the header",
      () => imageWithLayer(zstdCompressSync(LAYER).subarray(0, 5)),
    ],
    [
      "COMPRESSED_DATA_MALFORMED",
      "zstd cut between a frame and the next",
      () => imageWithLayer(Buffer.concat([zstdCompressSync(LAYER), Buffer.from("28b5", "hex")])),
    ],
    [
      "COMPRESSED_DATA_MALFORMED",
      "zstd cut in a second frame",
      () => imageWithLayer(Buffer.concat([zstdCompressSync(LAYER), zstdCompressSync(LAYER).subarray(0, 40)])),
    ],
    [
      "COMPRESSED_DATA_MALFORMED",
      "zstd and then something else",
      () => imageWithLayer(Buffer.concat([zstdCompressSync(LAYER), Buffer.from("more")])),
    ],
    [
      "COMPRESSED_DATA_MALFORMED",
      "a block of the reserved type",
      () => imageWithLayer(Buffer.from("28b52ffd0058070000", "hex")),
    ],
    [
      "COMPRESSED_DATA_MALFORMED",
      "a skippable frame cut off",
      () => imageWithLayer(Buffer.from("502a4d1804000000aa", "hex")),
    ],
    ["LAYER_COUNT_MISMATCH", "a layer less", () => asFolder(ociFiles({ manifest: { layers: [] } }))],
    [
      "LAYER_COUNT_MISMATCH",
      "a layer less in a docker archive",
      () => asFolder(dockerFiles({ manifest: { Layers: [] } })),
    ],
    [
      "LAYER_COUNT_MISMATCH",
      "501 layers",
      () => asFolder(ociFiles({ config: { rootfs: { diff_ids: Array(501).fill(sha256(LAYER)) } } })),
    ],
    [
      "LAYER_UNSUPPORTED",
      "an encrypted layer",
      () => asFolder(ociFiles({ mediaType: "application/vnd.oci.image.layer.v1.tar+gzip+encrypted" })),
    ],
    ["JSON_MALFORMED", "no JSON", () => asFolder(ociFiles().set("index.json", Buffer.from("{")))],
    ["JSON_MALFORMED", "no UTF-8", () => asFolder(ociFiles().set("index.json", Buffer.from('{"\xff":1}', "latin1")))],
    ["JSON_MALFORMED", "no manifests", () => asFolder(ociFiles().set("index.json", json({})))],
    ["JSON_MALFORMED", "a list for an object", () => asFolder(ociFiles().set("index.json", json([])))],
    [
      "JSON_MALFORMED",
      "SHA-512",
      () =>
        asFolder(
          ociFiles().set(
            "index.json",
            json({ manifests: [{ digest: `sha512:${"a".repeat(128)}`, size: 1, mediaType: "x" }] }),
          ),
        ),
    ],
    [
      "JSON_MALFORMED",
      "a digest that is a path",
      () =>
        asFolder(
          ociFiles().set(
            "index.json",
            json({ manifests: [{ digest: "sha256:../../etc/passwd", size: 1, mediaType: "x" }] }),
          ),
        ),
    ],
    ["JSON_MALFORMED", "a Cmd that is text", () => asFolder(ociFiles({ config: { config: { Cmd: "sh" } } }))],
    ["JSON_MALFORMED", "indexes in circles", circularIndexes],
    [
      "NAME_OUTSIDE_ROOT",
      "a docker layer outside of the archive",
      () => asFolder(dockerFiles({ manifest: { Layers: ["../layer.tar"] } })),
    ],
    ["IMAGE_TOO_LARGE", "a configuration of 5 MB", () => asFolder(ociFiles({ config: { x: "x".repeat(5_000_000) } }))],
    ["NO_SUCH_PLATFORM", "another architecture", () => asFolder(ociFiles({ architecture: "arm64" }))],
    [
      "NO_SUCH_PLATFORM",
      "another architecture in a docker archive",
      () => asFolder(dockerFiles({ architecture: "s390x" })),
    ],
    ["NO_SUCH_PLATFORM", "none at all", () => asFolder(ociFiles().set("index.json", json({ manifests: [] })))],
    ["AMBIGUOUS_IMAGE", "two images", () => asFolder(twoImages())],
    ["AMBIGUOUS_IMAGE", "two images in a docker archive", () => asFolder(twoDockerImages())],
    ["FORMATS_DISAGREE", "two images by two ways", () => asFolder(disagreeing())],
    [
      "BLOB_MISSING",
      "a docker archive without a layer",
      () => asFolder(dockerFiles({ manifest: { Layers: ["x/layer.tar"] } })),
    ],
  ];

  test.each(bad)("%s: %s", async (code, _what, make) => {
    await expect(read(make())).rejects.toMatchObject(refusal(code));
  });

  test("what there is instead is listed", async () => {
    const files: Files = new Map();
    const arm = { ...addImage(files, { architecture: "arm64" }), platform: { os: "linux", architecture: "arm64" } };
    addIndex(files, [arm, { ...arm, digest: sha256(LAYER), platform: { os: "windows", architecture: "amd64" } }]);
    await expect(read(asFolder(files))).rejects.toThrow("for linux/amd64; there is linux/arm64, windows/amd64");
  });

  test("a platform that the index says and the configuration does not", async () => {
    const files: Files = new Map();
    addIndex(files, [
      { ...addImage(files, { architecture: "arm64" }), platform: { os: "linux", architecture: "amd64" } },
    ]);
    await expect(read(asFolder(files))).rejects.toMatchObject(refusal("NO_SUCH_PLATFORM"));
  });

  test("a blob that is a symbolic link out of the layout is not followed", async () => {
    const folder = asFolder(ociFiles());
    const name = join(folder, "index.json");
    renameSync(name, join(folder, "elsewhere"));
    symlinkSync(join(folder, "elsewhere"), name);
    await expect(read(folder)).rejects.toMatchObject(refusal("UNREADABLE"));
  });

  test("a blob that is a folder", async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, "index.json"));
    writeFileSync(join(folder, "oci-layout"), "{}");
    await expect(read(folder)).rejects.toMatchObject(refusal("UNREADABLE"));
  });
});

describe("each digest by itself: everything else is as it should be", () => {
  const gzip = gzipSync(LAYER);
  const layerType = "application/vnd.oci.image.layer.v1.tar+gzip";

  /** The layer's blob stands under the digest of other bytes. */
  function misnamed(stored: Uint8Array, named: Uint8Array): string {
    const files: Files = new Map();
    const descriptor = { ...addBlob(files, layerType, named), size: stored.length };
    addIndex(files, [addImage(files, { manifest: { layers: [descriptor] } })]);
    files.set(`blobs/sha256/${descriptor.digest.slice(7)}`, stored);
    return asFolder(files);
  }

  test("a layer as it is stored, compressed: another time in gzip's header", async () => {
    const other = Buffer.from(gzip);
    other.writeUInt32LE(1, 4);
    await expect(read(misnamed(other, gzip))).rejects.toMatchObject(refusal("DIGEST_MISMATCH"));
    await expect(read(misnamed(gzip, gzip))).resolves.toBeDefined();
  });

  test("a layer as it is stored, not compressed", async () => {
    await expect(read(misnamed(LAYER, gzip))).rejects.toMatchObject(refusal("DIGEST_MISMATCH"));
  });

  test("a size that is not the blob's", async () => {
    const files: Files = new Map();
    const image = addImage(files);
    addIndex(files, [{ ...image, size: image.size + 1 }]);
    await expect(read(asFolder(files))).rejects.toMatchObject(refusal("DIGEST_MISMATCH"));
  });

  test("the name of a docker archive's configuration", async () => {
    for (const name of [`${"a".repeat(64)}.json`, `blobs/sha256/${"a".repeat(64)}`]) {
      const files = dockerFiles({ manifest: { Config: name } });
      files.set(name, configOf({}));
      await expect(read(asFolder(files))).rejects.toMatchObject(refusal("DIGEST_MISMATCH"));
    }
    const named = dockerFiles({ manifest: { Config: "config.json" } }).set("config.json", configOf({}));
    await expect(read(asFolder(named))).resolves.toBeDefined();
  });
});

function circularIndexes(): string {
  // Digests allow no circle; a chain that is longer than any that is meant takes its place.
  const files: Files = new Map();
  let inner: object = addImage(files);
  for (let depth = 0; depth < 6; depth++)
    inner = addBlob(files, INDEX_TYPE, addIndex(files, [inner], `unused-${depth}`));
  addIndex(files, [inner]);
  return asFolder(files);
}

function twoImages(): Files {
  const files: Files = new Map();
  addIndex(files, [addImage(files), addImage(files, { command: ["other"] })]);
  return files;
}

function twoDockerImages(): Files {
  const files = new Map([...dockerFiles(), ...dockerFiles({ command: ["other"] })]);
  const entries = [dockerFiles(), dockerFiles({ command: ["other"] })].flatMap(
    (image) => JSON.parse(Buffer.from(image.get("manifest.json") ?? []).toString()) as object[],
  );
  return files.set("manifest.json", json(entries));
}

function disagreeing(): Files {
  return new Map([...ociFiles(), ...dockerFiles({ command: ["other"] })]);
}

describe("bombs", () => {
  const zeros = Buffer.concat([entry({ name: "zeros" }, Buffer.alloc(4_000_000)), Buffer.alloc(1024)]);

  test.each(["gzip", "zstd"] as const)(
    "%s: a layer that unpacks to more than its ratio allows",
    async (compression) => {
      const image = asFolder(ociFiles({ layers: [zeros], compression }));
      await expect(read(image, { ratioFromBytes: 1_000_000 })).rejects.toMatchObject(refusal("COMPRESSION_RATIO"));
      await expect(read(image, { ratioFromBytes: 5_000_000 })).resolves.toBeDefined();
    },
  );

  test("more than an image may have, over all layers together", async () => {
    for (const compression of ["none", "gzip"] as const) {
      const image = asFolder(ociFiles({ layers: [zeros, archive(...[zeros.subarray(0, -1024)])], compression }));
      await expect(read(image, { maxBytes: 7_000_000 })).rejects.toMatchObject(refusal("IMAGE_TOO_LARGE"));
    }
  });

  test("an archive as a whole", async () => {
    const bomb = asFile(gzipSync(asTar(dockerFiles({ layers: [zeros] }))));
    await expect(read(bomb, { maxBytes: 1_000_000 })).rejects.toMatchObject(refusal("IMAGE_TOO_LARGE"));
  });
});

test("an interrupted reading ends with the signal's reason", async () => {
  const reason = new Error("stop");
  const workplace = { folder: temporaryFolder(), budget: budgetOf(), signal: AbortSignal.abort(reason) };
  await expect(readImage(asFolder(ociFiles()), "x86_64", workplace)).rejects.toThrow();
});
