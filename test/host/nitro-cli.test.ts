/** What is read of nitro-cli's files and output. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runCommand } from "../../host/command.ts";
import { parseMeasurements } from "../../host/index.ts";
import { parseAllocator, parseCpuList } from "../../host/nitro-cli/allocator.ts";
import { parseDescribeEnclaves, parseRunEnclave } from "../../host/nitro-cli/describe-enclaves.ts";
import { explainNitroCli } from "../../host/nitro-cli/explain.ts";
import { neededMemoryMib, startTimeoutMs } from "../../host/nitro-cli/sizing.ts";
import { hex } from "../kms-policy/policies.ts";
import { DESCRIBED } from "./host-world.ts";

describe("lists of CPUs", () => {
  test.each([
    ["", []],
    ["1,3", [1, 3]],
    ["1,17-19\n", [1, 17, 18, 19]],
    ["3,1,3", [1, 3]],
    ["3-1", null],
    ["a", null],
    ["1,,2", null],
    ["1-", null],
  ])("%j", (text, cpus) => {
    expect(parseCpuList(text)).toEqual(cpus);
  });

  test("any list is read as it was written", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 500 })), (cpus) => {
        expect(parseCpuList(cpus.join(","))).toEqual([...cpus].sort((a, b) => a - b));
      }),
    );
  });
});

test("any text is an allocator's file or has problems, and never throws", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const { memoryMib, problems } = parseAllocator(text);
      expect(memoryMib !== null || problems.length > 0).toBe(true);
    }),
  );
});

describe("describe-enclaves", () => {
  test("reads what 1.5.0 prints", () => {
    expect(parseDescribeEnclaves(JSON.stringify([DESCRIBED]))).toEqual([
      {
        name: "cloister",
        id: DESCRIBED.EnclaveID,
        cid: 16,
        cpuIds: [1, 3],
        memoryMib: 2048,
        state: "RUNNING",
        isDebug: false,
        measurements: { PCR0: hex(0xaa), PCR1: hex(0x11), PCR2: hex(0x22) },
      },
    ]);
  });

  test("a flag that is not known counts as debug", () => {
    expect(parseDescribeEnclaves(JSON.stringify([{ ...DESCRIBED, Flags: "NEW_MODE" }]))[0]?.isDebug).toBe(true);
  });

  test.each(["", "[", "{}", '[{"EnclaveID": 1}]', "null"])("refuses %j", (text) => {
    expect(() => parseDescribeEnclaves(text)).toThrow(expect.objectContaining({ code: "NITRO_CLI_FAILED" }));
    expect(() => parseRunEnclave(text)).toThrow(expect.objectContaining({ code: "NITRO_CLI_FAILED" }));
  });
});

test.each([
  "",
  "{}",
  '{"Measurements": {"PCR0": "aa"}}',
  JSON.stringify({ Measurements: { PCR0: hex(1), PCR1: hex(1), PCR2: "zz".repeat(48) } }),
])("refuses measurements %j", (text) => {
  expect(() => parseMeasurements(Buffer.from(text))).toThrow(expect.objectContaining({ code: "MEASUREMENTS_INVALID" }));
});

test("upper-case hex is the same", () => {
  const upper = { Measurements: { PCR0: hex(0xaa).toUpperCase(), PCR1: hex(1), PCR2: hex(2), PCR8: hex(8) } };
  expect(parseMeasurements(Buffer.from(JSON.stringify(upper)))).toEqual({ ...upper.Measurements, PCR0: hex(0xaa) });
});

test("the memory rule and the start's time", () => {
  const GIB = 1024 ** 3;
  expect([1, 16 * 2 ** 20, 16 * 2 ** 20 + 1, GIB].map(neededMemoryMib)).toEqual([64, 64, 65, 4096]);
  expect(startTimeoutMs(6 * GIB, 100 * 1024)).toBe(180_000);
  expect(startTimeoutMs(6 * GIB + 1, 100 * 1024)).toBe(270_000);
  expect(startTimeoutMs(6 * GIB, 100 * 1024 + 1)).toBe(270_000);
});

test("an exit status is explained, or the command that explains it", () => {
  expect(explainNitroCli(26)).toBe("E26: memory_mib is under four times the image");
  expect(explainNitroCli(5)).toBe("E05; nitro-cli explain --error-code E05");
});

describe("running a program", () => {
  const bounded = { timeoutMs: 10_000 };

  test("gives its output and status", async () => {
    expect(await runCommand("sh", ["-c", "echo out; echo err >&2; exit 3"], bounded)).toEqual({
      status: 3,
      stdout: "out\n",
      stderr: "err\n",
    });
  });

  test("does not wait for what it leaves behind", async () => {
    const { stdout } = await runCommand("sh", ["-c", "sleep 5 & echo started"], { timeoutMs: 2_000 });
    expect(stdout).toBe("started\n");
  });

  test("ends it when its time is over", async () => {
    await expect(runCommand("sleep", ["5"], { timeoutMs: 50 })).rejects.toMatchObject({ code: "TIMED_OUT" });
  });

  test.each([
    ["/nowhere/program", "ABSENT"],
    [import.meta.filename, "DENIED"],
  ])("says of %s that it is %s", async (command, code) => {
    await expect(runCommand(command, [], bounded)).rejects.toMatchObject({ name: "CommandError", code });
  });
});
