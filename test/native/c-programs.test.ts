/** C that needs no Node: compiled with AddressSanitizer and UBSan, and run. */
import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { buildSanitized, compiler } from "../support/native.ts";

const REQUEST = "enclave/native/nsm-request.c";
const PARSE = "enclave/init/parse.c";
/** Some seconds. `make fuzz-native` runs as long as it is told. */
const ROUNDS = "300000";

const run = (program: string, ...args: string[]) => spawnSync(program, args, { encoding: "utf8" });

test.skipIf(compiler === undefined)("a request to the NSM: hostile lengths, errnos, every size", () => {
  const { status, stdout, stderr } = run(buildSanitized(["test/native/nsm-request.c", REQUEST]));
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "passed\n", stderr: "" });
});

test.skipIf(compiler === undefined)(
  "init's parsers: the NSM's answer cut and flipped everywhere, meminfo, heap limits",
  () => {
    const { status, stdout, stderr } = run(buildSanitized(["test/native/parse.c", PARSE]));
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "passed\n", stderr: "" });
  },
);

test.skipIf(compiler === undefined)("a read one byte too far would be found", () => {
  const { status, stderr } = run(buildSanitized(["test/native/parse.c", PARSE], ["-DCLOISTER_PLANTED"]));
  expect(status).not.toBe(0);
  expect(stderr).toContain("heap-buffer-overflow");
});

test.skipIf(compiler === undefined)("random and changed inputs break nothing", () => {
  const { status, stdout, stderr } = run(buildSanitized(["test/native/fuzz.c", PARSE, REQUEST]), "1", ROUNDS);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(stdout).toMatch(/^300000 inputs, [1-9][0-9]* taken for random bytes\n$/);
});
