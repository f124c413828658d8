import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { loadNative, NativeError } from "../../vsock/load-native.ts";

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "nat-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const urlOf = (path: string) => `${pathToFileURL(path).href}/`;

test("what is not built says how to build it", () => {
  expect(() => loadNative("vsock", [urlOf(folder())])).toThrow(NativeError);
  expect(() => loadNative("vsock", [urlOf(folder())])).toThrow(/vsock\.node is not built: run `make native`/);
  try {
    loadNative("nsm", []);
    expect.unreachable();
  } catch (error) {
    expect(error).toMatchObject({ name: "NativeError", code: "NATIVE_MISSING" });
  }
});

test("what was built for another machine is named, with the loader's reason", () => {
  const path = folder();
  writeFileSync(join(path, "vsock.node"), "no ELF file");
  try {
    loadNative("vsock", [urlOf(folder()), urlOf(path)]);
    expect.unreachable();
  } catch (error) {
    expect(error).toMatchObject({ code: "NATIVE_MISSING", message: expect.stringContaining(path) });
    expect((error as Error).cause).toBeInstanceOf(Error);
  }
});

test("nothing is loaded before it is needed: the simulator's streams and the parent's run without it", () => {
  const script = `
    const { dlopen } = process;
    process.dlopen = (module, path, flags) => {
      if (/(vsock|nsm)\\.node$/.test(path)) throw new Error("loaded " + path);
      return flags === undefined ? dlopen(module, path) : dlopen(module, path, flags);
    };
    const { guestVsock, hostVsock } = await import("./vsock/index.ts");
    const host = hostVsock("/tmp/none"), guest = guestVsock("/tmp/none");
    await host.close(); await guest.close();
    await import("./parent-proxy/index.ts"); await import("./simulator/index.ts");
  `;
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
});
