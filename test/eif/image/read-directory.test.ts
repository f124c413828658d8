/** A folder as root file system: what of it counts, and what is refused. */
import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { ByteSource } from "../../../eif/byte-source.ts";
import { namesOf } from "../../../eif/image/file-tree.ts";
import type { ImageLimits } from "../../../eif/image/limits.ts";
import { type ReadDirectory, readDirectory } from "../../../eif/image/read-directory.ts";
import { cpioSource } from "../../../eif/ramdisk/cpio.ts";
import { budgetOf, contentOf, temporaryFolder } from "./tar-fixture.ts";

const read = (folder: string, limits: Partial<ImageLimits> = {}): Promise<ReadDirectory> =>
  readDirectory(folder, budgetOf(limits), new AbortController().signal);

async function cpioOf(folder: string): Promise<string> {
  const { tree } = await read(folder);
  return (await contentOf({ content: cpioSource(namesOf(tree.root), 0) })).toString("latin1");
}

function folder(order: readonly string[], mode: { readonly file: number; readonly folder: number }): string {
  const root = temporaryFolder();
  mkdirSync(join(root, "d"));
  for (const name of order) {
    writeFileSync(join(root, name), `content of ${name}`);
    chmodSync(join(root, name), name === "d/run" ? mode.file | 0o100 : mode.file & ~0o100);
    utimesSync(join(root, name), order.indexOf(name), 1e9 * order.indexOf(name));
  }
  symlinkSync("../run", join(root, "d/link"));
  chmodSync(join(root, "d"), mode.folder);
  return root;
}

test("order, times, umask and other bits do not matter", async () => {
  const expected = await cpioOf(folder(["a", "d/run", "d/b"], { file: 0o644, folder: 0o755 }));
  expect(await cpioOf(folder(["d/b", "d/run", "a"], { file: 0o600, folder: 0o700 }))).toBe(expected);
  expect(await cpioOf(folder(["d/run", "a", "d/b"], { file: 0o4666, folder: 0o1777 }))).toBe(expected);
});

test("files belong to root, 0644 or 0755 by the owner's execute bit; hard links become files", async () => {
  const root = folder(["a", "d/run"], { file: 0o666, folder: 0o777 });
  linkSync(join(root, "a"), join(root, "a2"));
  const { tree, foreignNames } = await read(root);
  expect(tree.find("a")).toMatchObject({ mode: 0o644, uid: 0, gid: 0 });
  expect(tree.find("d/run")).toMatchObject({ mode: 0o755, uid: 0, gid: 0 });
  expect(tree.find("d")).toMatchObject({ mode: 0o755 });
  expect(tree.find("d/link")).toMatchObject({ kind: "symlink", target: "../run" });
  expect(tree.find("a2")).not.toBe(tree.find("a"));
  expect(foreignNames).toEqual([]);
});

// APFS takes no name that is not UTF-8.
test.skipIf(process.platform === "darwin")(
  "names are the bytes that the file system gives; those that it might give otherwise are told",
  async () => {
    const root = temporaryFolder();
    writeFileSync(join(root, "ä"), "");
    writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0x66, 0xff])]), "bytes");
    const { tree, foreignNames } = await read(root);
    expect(foreignNames).toEqual(["f\xff", "\xc3\xa4"]);
    expect((await contentOf(tree.find("f\xff") as never)).toString()).toBe("bytes");
  },
);

describe("refusals", () => {
  test("UNREADABLE: no folder, and a file that went or shrank meanwhile", async () => {
    await expect(read("/nonexistent")).rejects.toMatchObject({ name: "ImageError", code: "UNREADABLE" });
    await expect(read("/dev/null")).rejects.toMatchObject({ code: "UNREADABLE" });
    const root = temporaryFolder();
    writeFileSync(join(root, "a"), "content");
    const { tree } = await read(root);
    writeFileSync(join(root, "a"), "c");
    await expect(contentOf(tree.find("a") as never)).rejects.toMatchObject({ code: "UNREADABLE" });
    rmSync(join(root, "a"));
    symlinkSync("/etc/passwd", join(root, "a"));
    await expect(contentOf(tree.find("a") as never)).rejects.toMatchObject({ code: "UNREADABLE" });
  });

  describe("UNREADABLE: a file that is another than the one that was found", () => {
    const found = async (content = "content") => {
      const root = temporaryFolder();
      const path = join(root, "a");
      writeFileSync(path, content);
      utimesSync(path, 1, 1);
      const source = (await read(root)).tree.find("a") as never;
      return { path, content: () => contentOf(source) };
    };
    const refused = expect.objectContaining({ name: "ImageError", code: "UNREADABLE" });

    test("left alone it is read, more than once", async () => {
      const { content } = await found();
      for (let round = 0; round < 2; round += 1) expect((await content()).toString()).toBe("content");
    });

    test.each<[string, (path: string) => void]>([
      ["grown", (path) => appendFileSync(path, "more")],
      ["written over, in the same size", (path) => writeFileSync(path, "CONTENT")],
      [
        "replaced, in the same size and time",
        (path) => {
          writeFileSync(`${path}.new`, "CONTENT");
          utimesSync(`${path}.new`, 1, 1);
          renameSync(`${path}.new`, path);
        },
      ],
      ["made executable", (path) => chmodSync(path, 0o755)],
      [
        "replaced by a FIFO",
        (path) => {
          rmSync(path);
          expect(spawnSync("mkfifo", [path]).status).toBe(0);
        },
      ],
    ])("%s before it is read", async (_, change) => {
      const { path, content } = await found();
      change(path);
      await expect(content()).rejects.toEqual(refused);
    });

    test("written to while it is read", async () => {
      const root = temporaryFolder();
      const path = join(root, "a");
      writeFileSync(path, Buffer.alloc(2 ** 20));
      utimesSync(path, 1, 1);
      const { content } = (await read(root)).tree.find("a") as { readonly content: ByteSource };
      const work = async () => {
        for await (const _ of content.chunks()) appendFileSync(path, "more");
      };
      await expect(work()).rejects.toEqual(refused);
    });
  });

  test("FILE_KIND_UNSUPPORTED: fifos and sockets", async () => {
    const withFifo = temporaryFolder();
    expect(spawnSync("mkfifo", [join(withFifo, "pipe")]).status).toBe(0);
    await expect(read(withFifo)).rejects.toMatchObject({ name: "ImageError", code: "FILE_KIND_UNSUPPORTED" });
    const withSocket = temporaryFolder();
    const server = createServer().listen(join(withSocket, "s"));
    await new Promise((resolve) => server.once("listening", resolve));
    await expect(read(withSocket)).rejects.toMatchObject({ code: "FILE_KIND_UNSUPPORTED" });
    server.close();
  });

  test("limits count here as well", async () => {
    const root = folder(["a", "d/run"], { file: 0o644, folder: 0o755 });
    await expect(read(root, { maxBytes: 10 })).rejects.toMatchObject({ code: "IMAGE_TOO_LARGE" });
    await expect(read(root, { maxEntries: 2 })).rejects.toMatchObject({ code: "TOO_MANY_ENTRIES" });
  });
});
