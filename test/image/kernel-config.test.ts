/** The fragment and the check that nothing of it was dropped. */
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const FRAGMENT = "eif/kernel/x86_64.config";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cl-config-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** The very lines of the build, on files of ours. */
async function check(fragment: string, config: string): Promise<{ status: number | null; stdout: string }> {
  const [lines] = /^dropped=0\n.*?\|\| exit 1\n/ms.exec(await readFile("eif/kernel/build.sh", "utf8")) ?? [];
  if (lines === undefined) throw new Error("the check is not where it was");
  await writeFile(join(folder, "fragment"), fragment);
  await writeFile(join(folder, ".config"), config);
  const script = `set -eu\n${lines.replace("/build/fragment", "fragment")}`;
  const { status, stdout } = spawnSync("sh", ["-c", script], { encoding: "utf8", cwd: folder });
  return { status, stdout };
}

describe("the check of the final configuration", () => {
  const fragment = '# why\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="-x"\n';

  test("passes what has every line", async () => {
    const config = '# made by Kconfig\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="-x"\nCONFIG_D=y\n';
    expect(await check(fragment, config)).toEqual({ status: 0, stdout: "" });
  });

  test("passes an option that is off because Kconfig does not even ask", async () => {
    expect((await check(fragment, 'CONFIG_A=y\nCONFIG_C="-x"\n')).status).toBe(0);
  });

  test.each([
    ["a dropped option", 'CONFIG_C="-x"\n', "not in the final configuration: CONFIG_A=y"],
    ["another value", 'CONFIG_A=m\nCONFIG_C="-x"\n', "not in the final configuration: CONFIG_A=y"],
    ["a longer name", 'CONFIG_A=yes\nCONFIG_C="-x"\n', "not in the final configuration: CONFIG_A=y"],
    ["another text", 'CONFIG_A=y\nCONFIG_C="-y"\n', 'not in the final configuration: CONFIG_C="-x"'],
    ["what was to be off", 'CONFIG_A=y\nCONFIG_B=y\nCONFIG_C="-x"\n', "set in the final configuration: CONFIG_B"],
  ])("refuses %s", async (_name, config, message) => {
    expect(await check(fragment, config)).toEqual({ status: 1, stdout: `${message}\n` });
  });
});

describe("the fragment", () => {
  test("turns off what an attacker inside the enclave would want", async () => {
    const lines = new Set((await readFile(FRAGMENT, "utf8")).split("\n"));
    const off = ["MODULES", "KEXEC", "DEVMEM", "PROC_KCORE", "BPF_SYSCALL", "USERFAULTFD", "IO_URING", "COREDUMP"];
    for (const name of [...off, "DEBUG_FS", "KPROBES", "PCI", "BLOCK", "IKCONFIG", "IA32_EMULATION"])
      expect(lines).toContain(`# CONFIG_${name} is not set`);
  });

  test("says each option once", async () => {
    const names = (await readFile(FRAGMENT, "utf8"))
      .match(/^(?:# )?CONFIG_[A-Z0-9_]+/gm)
      ?.map((name) => name.replace("# ", ""));
    expect(names?.length).toBe(new Set(names).size);
  });
});
