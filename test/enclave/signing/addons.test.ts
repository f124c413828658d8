/** The compiled code that signs, beneath its wrappers: no argument makes it read or write what it was not given. */
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import type { NativeTarget } from "../../../scripts/build-native.ts";
import { ADDON_FUNCTIONS, type tryArguments } from "../../support/addon-arguments.ts";
import { libsecp256k1, libsecp256k1IsAbsent } from "../../support/libsecp256k1.ts";
import { buildForTest, compiler, sanitizerEnvironment } from "../../support/native.ts";

const PROGRAM = fileURLToPath(new URL("../../support/addon-arguments.ts", import.meta.url));

describe.skipIf(compiler === undefined || libsecp256k1IsAbsent).each(["secp256k1", "p256"] as const)("%s", (name) => {
  const target: NativeTarget = `${name}.node`;

  test("has the functions that are tried here, and no others", () => {
    const addon = createRequire(import.meta.url)(buildForTest(target, "test", libsecp256k1));
    const functions = Object.keys(addon).filter((key) => typeof addon[key] === "function");
    expect(functions.sort()).toEqual(Object.keys(ADDON_FUNCTIONS[name] ?? {}).sort());
  }, 60_000);

  test.each([
    ["plain", "test", () => ({})],
    ["under AddressSanitizer and UBSan", "test-sanitized", sanitizerEnvironment],
  ] as const)(
    "takes bytes of the right lengths, and refuses all else by a TypeError, %s",
    (_name, variant, environment) => {
      const path = buildForTest(target, variant, libsecp256k1);
      const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, name, path], {
        encoding: "utf8",
        env: { ...process.env, ...environment() },
        timeout: 100_000,
      });
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      const { calls, wrong } = JSON.parse(stdout) as ReturnType<typeof tryArguments>;
      expect(wrong).toEqual([]);
      expect(calls).toBeGreaterThan(500);
    },
    200_000,
  );

  test("works in workers at the same time, and after they have ended", async () => {
    const path = buildForTest(target, "test", libsecp256k1);
    const script = `
      const { parentPort, workerData } = require("node:worker_threads");
      const addon = require(workerData);
      const out = new Uint8Array(33);
      for (let i = 1; i < 200; i++) addon.publicKey(new Uint8Array(32).fill(i), out);
      parentPort.postMessage(out);
    `;
    const addon = createRequire(import.meta.url)(path);
    const expected = new Uint8Array(33);
    addon.publicKey(new Uint8Array(32).fill(199), expected);
    const ends = Array.from({ length: 4 }, async () => {
      const worker = new Worker(script, { eval: true, workerData: path });
      const ended = new Promise((resolve) => worker.once("exit", resolve));
      const found = await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
      expect(await ended).toBe(0);
      return found;
    });
    expect(await Promise.all(ends)).toEqual(Array.from({ length: 4 }, () => expected));
    const again = new Uint8Array(33);
    addon.publicKey(new Uint8Array(32).fill(199), again);
    expect(again).toEqual(expected);
  }, 60_000);
});
