/** Which file goes where, and what is refused because the kernel would make something else of it. */
import { describe, expect, test } from "vitest";
import { bytesSource } from "../../../eif/byte-source.ts";
import { FileTree, type Leaf, namesOf } from "../../../eif/image/file-tree.ts";
import { cpioSource } from "../../../eif/ramdisk/cpio.ts";
import { cloisterLayout, commandOf, nitroCliLayout } from "../../../eif/ramdisk/layout.ts";
import { contentOf } from "../image/tar-fixture.ts";

const file = (content: string, mode = 0o644, uid = 0): Leaf => ({
  kind: "file",
  mode,
  uid,
  gid: 0,
  content: bytesSource(Buffer.from(content)),
});
const symlink = (target: string): Leaf => ({ kind: "symlink", mode: 0o777, uid: 0, gid: 0, target });
const bytes = (text: string): Uint8Array => Buffer.from(text);

function image(files: Readonly<Record<string, Leaf>> = {}): FileTree {
  const tree = new FileTree();
  tree.place("init", file("#!init", 0o755));
  tree.place("app/main", file("main"));
  for (const [name, leaf] of Object.entries(files)) tree.place(name, leaf);
  return tree;
}

const names = (ramdisk: ReturnType<typeof cloisterLayout>[number] | undefined): string[] =>
  (ramdisk ?? []).map(([name]) => name);

describe("Cloister's layout", () => {
  test("boot, application, and configuration where there is one", () => {
    const [boot, application, ...none] = cloisterLayout(image(), {});
    expect([names(boot), names(application), none]).toEqual([["dev", "init"], ["app", "app/main"], []]);
    const [, , configuration] = cloisterLayout(image(), { manifest: bytes("m"), tlsRoots: bytes("t") });
    expect(names(configuration)).toEqual([
      "etc",
      "etc/cloister",
      "etc/cloister/cloister.yaml",
      "etc/cloister/tls-roots.pem",
    ]);
    expect(names(cloisterLayout(image(), { tlsRoots: bytes("t") })[2]).at(-1)).toBe("etc/cloister/tls-roots.pem");
  });

  test("the boot ramdisk depends on the bytes of /init and on nothing else", async () => {
    const bootOf = async (tree: FileTree): Promise<string> =>
      (await contentOf({ content: cpioSource(cloisterLayout(tree, {})[0] ?? [], 0) })).toString("latin1");
    const expected = await bootOf(image());
    const other = image({ "etc/x": file("x"), "dev/null": { ...file(""), kind: "fifo" } as Leaf });
    other.place("init", file("#!init", 0o4711, 7));
    const linked = image();
    linked.root.children.set("also", linked.find("init") as Leaf);
    expect(await bootOf(other)).toBe(expected);
    expect(await bootOf(linked)).toBe(expected);
    expect(await bootOf(image({ init: file("#!other", 0o755) }))).not.toBe(expected);
  });

  test("devices of the image go with the application, their folder with them", () => {
    const device: Leaf = { kind: "character-device", mode: 0o666, uid: 0, gid: 0, device: { major: 1, minor: 3 } };
    expect(names(cloisterLayout(image({ "dev/null": device }), {})[1])).toEqual(["app", "app/main", "dev", "dev/null"]);
  });

  const refused = (code: string, message: string) =>
    expect.objectContaining({ name: "BuildError", code, message: expect.stringContaining(message) });

  test("NO_INIT says what to do", () => {
    const without = image();
    without.remove("init");
    expect(() => cloisterLayout(without, {})).toThrow(refused("NO_INIT", "--nitro-cli-blobs"));
    // A link would put another file than PCR1 covers in the kernel's hands.
    expect(() => cloisterLayout(image({ init: symlink("app/main") }), {})).toThrow(refused("NO_INIT", "no executable"));
    expect(() => cloisterLayout(image({ init: file("x", 0o644) }), {})).toThrow(refused("NO_INIT", "no executable"));
  });

  test("DEV_NOT_DIRECTORY", () => {
    expect(() => cloisterLayout(image({ dev: symlink("etc") }), {})).toThrow(refused("DEV_NOT_DIRECTORY", "symlink"));
  });

  test("CONFIGURATION_CONFLICT: what would not end at its place, or in another file as well", () => {
    const put = (files: Readonly<Record<string, Leaf>>) => () => cloisterLayout(image(files), { manifest: bytes("m") });
    expect(put({ etc: symlink("usr/etc") })).toThrow(refused("CONFIGURATION_CONFLICT", "/etc is a symlink"));
    expect(put({ "etc/cloister": file("x") })).toThrow(refused("CONFIGURATION_CONFLICT", "/etc/cloister is a file"));
    expect(put({ "etc/cloister/cloister.yaml": symlink("/app/main") })).toThrow(
      refused("CONFIGURATION_CONFLICT", "a symlink"),
    );
    expect(put({ "etc/cloister/cloister.yaml/x": file("x") })).toThrow(
      refused("CONFIGURATION_CONFLICT", "a directory"),
    );
    const shared = file("x");
    const links = { "etc/cloister/cloister.yaml": shared, "app/main": shared };
    expect(put(links)).toThrow(refused("CONFIGURATION_CONFLICT", "hard links"));
    // None of that matters to an image that is not configured here.
    expect(cloisterLayout(image(links), {})).toHaveLength(2);
    expect(put({ "etc/cloister/cloister.yaml": file("old") })()).toHaveLength(3);
  });
});

describe("nitro-cli's layout", () => {
  const blobs = { init: bytesSource(bytes("aws init")), nsm: bytesSource(bytes("module")) };
  const process = { command: ["/bin/sh", "-c", "echo hi"], environment: ["PATH=/bin", "HOME=/"] };

  test("is as linuxkit lays it out for AWS's init", async () => {
    const tree = new FileTree();
    tree.place("tmp/x", file("x"));
    tree.place("bin/sh", file("sh", 0o755));
    const [boot, customer, ...rest] = nitroCliLayout(tree, blobs, process, {});
    expect(rest).toEqual([]);
    expect(boot?.map(([name, node]) => [name, node.kind, node.mode])).toEqual([
      ["dev", "directory", 0o755],
      ["init", "file", 0o755],
      ["nsm.ko", "file", 0o755],
    ]);
    expect(names(customer)).toEqual([
      "cmd",
      "env",
      "rootfs",
      "rootfs/bin",
      "rootfs/bin/sh",
      "rootfs/dev",
      "rootfs/proc",
      "rootfs/run",
      "rootfs/sys",
      "rootfs/tmp",
      "rootfs/tmp/x",
      "rootfs/var",
    ]);
    const [cmd, env] = (customer ?? []).map(([, node]) => node) as [Leaf & { kind: "file" }, Leaf & { kind: "file" }];
    expect([cmd.mode, (await contentOf(cmd)).toString()]).toEqual([0o644, "/bin/sh\n-c\necho hi\n"]);
    expect((await contentOf(env)).toString()).toBe("PATH=/bin\nHOME=/\n");
    // The image's own tree stays as it was.
    expect(namesOf(tree.root)).toHaveLength(4);
  });

  test("takes a configuration below rootfs, and an environment of nothing", () => {
    const [, customer, configuration] = nitroCliLayout(
      new FileTree(),
      blobs,
      { command: ["x"], environment: [] },
      { manifest: bytes("m") },
    );
    expect(names(configuration).at(-1)).toBe("rootfs/etc/cloister/cloister.yaml");
    expect(names(customer)).toContain("env");
  });

  test("COMMAND_NEWLINE: what one line cannot hold", () => {
    for (const bad of [
      { ...process, command: ["a\nb"] },
      { ...process, environment: ["A=1\nB=2"] },
      { ...process, command: ["a\0"] },
    ]) {
      expect(() => nitroCliLayout(new FileTree(), blobs, bad, {})).toThrow(
        expect.objectContaining({ name: "BuildError", code: "COMMAND_NEWLINE" }),
      );
    }
  });

  test("runs CMD, ENTRYPOINT where there is none, and both for docker", () => {
    const both = { command: ["c"], entrypoint: ["e"] };
    expect(commandOf(both, "nitro-cli")).toEqual(["c"]);
    expect(commandOf({ ...both, command: [] }, "nitro-cli")).toEqual(["e"]);
    expect(commandOf(both, "docker")).toEqual(["e", "c"]);
    expect(() => commandOf({ command: [], entrypoint: [] }, "docker")).toThrow(
      expect.objectContaining({ name: "BuildError", code: "NO_COMMAND" }),
    );
  });
});
