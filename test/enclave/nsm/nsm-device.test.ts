import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readdir, readFile, readlink } from "node:fs/promises";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { nsmDevice, openNsmDevice } from "../../../enclave/nsm/nsm-device.ts";
import { buildNative, hostArchitecture } from "../../../scripts/build-native.ts";
import { loadNative } from "../../../vsock/index.ts";
import { compiler, nativeFolder } from "../../support/native.ts";

const { EINTR, EMSGSIZE, ETIMEDOUT } = constants.errno;

const REQUESTS = {
  GetRandom: "6947657452616e646f6d",
  DescribeNSM: "6b44657363726962654e534d",
  DescribePCR: "a16b4465736372696265504352a165696e64657800",
  Attestation: "a16b4174746573746174696f6ea369757365725f64617461f6656e6f6e6365f66a7075626c69635f6b6579f6",
  ExtendPCR: "a169457874656e64504352a265696e64657810646461746143010203",
  LockPCR: "a1674c6f636b504352a165696e64657810",
  LockPCRs: "a1684c6f636b50435273a16572616e676511",
} as const;
const bytes = (name: keyof typeof REQUESTS) => Buffer.from(REQUESTS[name], "hex");

/** A device that answers as the test says. */
function device(answer: (request: Uint8Array, call: number) => Uint8Array | number | Promise<Uint8Array | number>) {
  const requests: Uint8Array[] = [];
  let released = 0;
  const opened = nsmDevice(
    async (request) => {
      requests.push(request);
      return answer(request, requests.length);
    },
    async () => {
      released += 1;
    },
  );
  return { opened, requests, released: () => released };
}

test.each(["GetRandom", "DescribeNSM", "DescribePCR", "Attestation"] as const)(
  "an interrupted %s is asked again, since it changes nothing",
  async (name) => {
    const { opened, requests } = device((_request, call) => (call < 3 ? -EINTR : Uint8Array.of(7)));
    expect(await opened.process(bytes(name))).toEqual(Uint8Array.of(7));
    expect(requests).toHaveLength(3);
  },
);

test.each(["ExtendPCR", "LockPCR", "LockPCRs"] as const)("an interrupted %s is not asked again", async (name) => {
  const { opened, requests } = device(() => -EINTR);
  await expect(opened.process(bytes(name))).rejects.toMatchObject({
    name: "StartError",
    code: "NSM_FAILED",
    message: expect.stringContaining("EINTR"),
    cause: { code: "EINTR", syscall: "ioctl" },
  });
  expect(requests).toHaveLength(1);
});

test.each([
  "69476574", // GetRandom, cut
  "78094765745261", // another head for the same length
  "a26947657452616e646f6d00", // a map of two
  "aa6947657452616e646f6d",
  "",
])("what is not surely a question is not asked again: %s", async (hex) => {
  const { opened, requests } = device(() => -EINTR);
  await expect(opened.process(Buffer.from(hex, "hex"))).rejects.toMatchObject({ code: "NSM_FAILED" });
  expect(requests).toHaveLength(1);
});

test("an interruption that goes on for ever is a failure", async () => {
  const { opened, requests } = device(() => -EINTR);
  await expect(opened.process(bytes("GetRandom"))).rejects.toMatchObject({ cause: { code: "EINTR" } });
  expect(requests).toHaveLength(5);
});

test.each([
  [EMSGSIZE, "EMSGSIZE"],
  [ETIMEDOUT, "ETIMEDOUT"],
])("errno %i is named", async (errno, name) => {
  const { opened } = device(() => -errno);
  await expect(opened.process(bytes("GetRandom"))).rejects.toThrow(name);
});

test("requests are made one after another, in order, and one that fails does not stop the next", async () => {
  let [running, most] = [0, 0];
  const order: number[] = [];
  const { opened } = device(async (request) => {
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setTimeout(resolve, request[0] === 1 ? 10 : 0));
    running -= 1;
    order.push(request[0] ?? -1);
    return request[0] === 2 ? -EMSGSIZE : request;
  });
  const results = await Promise.allSettled([1, 2, 3].map((byte) => opened.process(Uint8Array.of(byte))));
  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(order).toEqual([1, 2, 3]);
  expect(most).toBe(1);
});

test("closing waits for what is under way, releases once, and refuses what comes later", async () => {
  const gate = Promise.withResolvers<Uint8Array>();
  const { opened, released } = device(() => gate.promise);
  const answer = opened.process(bytes("GetRandom"));
  const closing = opened.close();
  await expect(opened.process(bytes("GetRandom"))).rejects.toMatchObject({ code: "NSM_FAILED" });
  expect(released()).toBe(0);
  gate.resolve(Uint8Array.of(1));
  expect(await answer).toEqual(Uint8Array.of(1));
  await closing;
  await opened.close();
  expect(released()).toBe(1);
});

describe.skipIf(compiler === undefined)("the addon", () => {
  const folder = nativeFolder();
  const load = () => loadNative("nsm", [`file://${folder}/`]);
  beforeAll(() => {
    buildNative({ architecture: hostArchitecture(), outFolder: folder, targets: ["nsm.node"] });
  }, 60_000);

  test("a device that is not there is a clear refusal", async () => {
    await expect(openNsmDevice(join(folder, "nsm"), load)).rejects.toMatchObject({
      name: "StartError",
      code: "NSM_FAILED",
      message: expect.stringContaining("ENOENT: not in a Nitro enclave"),
      cause: { code: "ENOENT" },
    });
  });

  test("a file that is no NSM is refused by the kernel, and the errno is named", async () => {
    const opened = await openNsmDevice("/dev/null", load);
    await expect(opened.process(bytes("GetRandom"))).rejects.toThrow("ENOTTY");
    await opened.close();
  });

  test("its descriptor is closed on exec, and closed when the device is", async () => {
    const path = join(mkdtempSync(join(tmpdir(), "nsm-")), "nsm");
    onTestFinished(() => rmSync(path, { force: true }));
    writeFileSync(path, "");
    const open = async () => {
      const links = await Promise.all(
        (await readdir("/proc/self/fd")).map(async (fd) => [fd, await readlink(`/proc/self/fd/${fd}`).catch(() => "")]),
      );
      return links.filter(([, target]) => target === path).map(([fd]) => fd ?? "");
    };
    const opened = await openNsmDevice(path, load);
    const [fd, ...others] = await open();
    expect(others).toEqual([]);
    const flags = /flags:\s+([0-7]+)/.exec(await readFile(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1] ?? "";
    expect(Number.parseInt(flags, 8) & 0o2000000).toBe(0o2000000);
    await opened.close();
    expect(await open()).toEqual([]);
  });

  test("arguments of another kind are refused, and none of them crashes", () => {
    const { request } = load() as { request: (...args: unknown[]) => unknown };
    const wrong = [[], [0], ["0", Uint8Array.of(1)], [0, "text"], [0, new Uint8Array(0)], [0, new Uint8Array(4097)]];
    for (const args of [...wrong, [0, new Uint16Array(4)], [0, new DataView(new ArrayBuffer(4))], [0, null]]) {
      expect(() => request(...args)).toThrow(TypeError);
    }
  });

  test("a worker that ends with requests under way ends cleanly", () => {
    const script = `
      const { Worker, isMainThread, workerData } = require("node:worker_threads");
      const inWorker = \`const { request } = require(require("node:worker_threads").workerData);
        for (let i = 0; i < 64; i += 1) request(0, new Uint8Array(10));
        require("node:worker_threads").parentPort.postMessage(1); setInterval(() => {}, 1000);\`;
      (async () => {
        for (let round = 0; round < 20; round += 1) {
          const worker = new Worker(inWorker, { eval: true, workerData: process.argv[1] });
          await new Promise((resolve) => worker.once("message", resolve));
          await worker.terminate();
        }
        console.log("done");
      })();
    `;
    const { status, stdout, stderr } = spawnSync(process.execPath, ["-e", script, join(folder, "nsm.node")], {
      encoding: "utf8",
    });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "done\n", stderr: "" });
  });
});

test("init starts Node with the simulator's flags, in the simulator's order", async () => {
  const read = (path: string) => readFile(fileURLToPath(new URL(`../../../${path}`, import.meta.url)), "utf8");
  const flagsIn = (text: string | undefined) => [...(text ?? "").matchAll(/"(--[^"]+)"/g)].map(([, flag]) => flag);
  const inInit = flagsIn(/#define NODE_FLAGS (.*)/.exec(await read("enclave/init/node.c"))?.[1]);
  const inSimulator = flagsIn(
    /ENCLAVE_NODE_FLAGS = \[([^\]]*)\]/.exec(await read("simulator/enclave-as-process.ts"))?.[1],
  );
  expect(inInit.length).toBeGreaterThan(0);
  expect(inInit).toEqual(inSimulator);
});
