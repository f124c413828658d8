/** `cloister enclave` as systemd runs it: a process, over a stand-in for nitro-cli. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { hex } from "../kms-policy/policies.ts";
import { killCloisters, startCloister } from "../support/cloister-process.ts";
import { FakeNitroCli } from "./fake-nitro-cli.ts";

// The supervisor looks every five seconds, and each process takes its time to start where others are busy.
vi.setConfig({ testTimeout: 90_000 });

let fake: FakeNitroCli;
beforeEach(() => {
  fake = new FakeNitroCli();
});
afterEach(() => {
  killCloisters();
  fake.remove();
});

function start(args: readonly string[]) {
  const { process: child, exitCode: ended, output: said } = startCloister(["enclave", ...args], { PATH: fake.path });
  return { child, ended, said };
}

async function call(args: readonly string[]) {
  const { ended, said } = start(args);
  return { status: await ended, said: said() };
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let tries = 0; tries < 1200; tries += 1) {
    if (isSo()) return;
    await sleep(50);
  }
  throw new Error(`it never came to this: ${what}`);
}

test("starts the enclave, starts it again when it ends, and ends it on SIGTERM", async () => {
  const { child, ended, said } = start(["run", ...fake.options("cloister", 16)]);
  await until("running", () => said().includes("is i-0-enc16, CID 16"));
  expect(fake.running()).toEqual(["cloister"]);
  fake.end("cloister");
  await until("noticed", () => said().includes("starting again in 1 s (failure 1 in a row)"));
  await until("running again", () => fake.running().length === 1 && fake.log().length === 4);
  child.kill("SIGTERM");
  expect(await ended).toBe(0);
  expect(fake.running()).toEqual([]);
  expect(fake.log().at(-1)).toBe("terminate cloister");
});

test("says why nitro-cli refuses, and tries again", async () => {
  fake.set("refuse");
  const { child, ended, said } = start(["run", ...fake.options("cloister", 16)]);
  await until("refused", () => said().includes("E27: too few free huge pages"));
  fake.unset("refuse");
  await until("running", () => fake.running().length === 1);
  child.kill("SIGTERM");
  expect(await ended).toBe(0);
});

test("launches of one host go one after the other", async () => {
  const all = ["one", "two", "three"].map((name, at) => start(["run", ...fake.options(name, 16 + at)]));
  await until("all running", () => fake.running().length === 3);
  await until("all launched", () => fake.log().length === 6);
  const log = fake.log();
  for (let at = 0; at < log.length; at += 2) {
    const name = log[at]?.split(" ")[1];
    expect(log.slice(at, at + 2)).toEqual([`begin ${name}`, `end ${name}`]);
  }
  for (const { child } of all) child.kill("SIGTERM");
  expect(await Promise.all(all.map(({ ended }) => ended))).toEqual([0, 0, 0]);
});

test("ends what a supervisor that was killed has left, before it starts its own", async () => {
  const first = start(["run", ...fake.options("cloister", 16)]);
  await until("running", () => first.said().includes("CID 16"));
  first.child.kill("SIGKILL");
  await first.ended;
  expect(fake.running()).toEqual(["cloister"]);
  const second = start(["run", ...fake.options("cloister", 16)]);
  await until("running", () => second.said().includes("CID 16"));
  expect(fake.log()).toEqual([
    "begin cloister",
    "end cloister",
    "terminate cloister",
    "begin cloister",
    "end cloister",
  ]);
  expect(await call(["stop", ...fake.options("cloister", 16)])).toMatchObject({ status: 0 });
  expect(fake.running()).toEqual([]);
  second.child.kill("SIGTERM");
  await second.ended;
});

test("a debug enclave is ended, and not tried again", async () => {
  fake.set("debug");
  const { status, said } = await call(["run", ...fake.options("cloister", 16)]);
  expect({ status, said }).toEqual({ status: 78, said: expect.stringContaining("DEBUG_MODE") });
  expect(fake.running()).toEqual([]);
});

test("check passes what fits, and stop has nothing to do", async () => {
  const options = fake.options("cloister", 16);
  expect(await call(["check", ...options])).toEqual({ status: 0, said: "" });
  expect(await call(["stop", ...options])).toEqual({ status: 0, said: "" });
});

test.each<[string, number, string, (fake: FakeNitroCli) => string[]]>([
  [
    "another image",
    78,
    "MEASUREMENTS_DIFFER",
    (it) => {
      it.writeMeasurements({ PCR0: hex(0xbb) });
      return it.options("cloister", 16);
    },
  ],
  [
    "too little memory",
    78,
    "MEMORY_TOO_SMALL: memory_mib is 64",
    (it) => {
      it.writeLargeImage();
      return it.options("cloister", 16, { memory_mib: 64 });
    },
  ],
  [
    "half an image",
    78,
    "IMAGE_UNREADABLE",
    (it) => {
      it.writeNoImage();
      return it.options("cloister", 16);
    },
  ],
  ["an image that is not there", 78, "IMAGE_UNREADABLE", (it) => it.options("cloister", 16, { eif_path: "/nowhere" })],
  ["debug mode", 78, "DEBUG_MODE", (it) => it.options("cloister", 16, { debug_mode: true })],
  ["the parent's own CID", 78, "cloister.json: enclave_cid: at least 4", (it) => it.options("cloister", 3)],
  ["no configuration", 78, "cannot read /nowhere", () => ["--config", "/nowhere"]],
  ["another option", 2, "Unknown option", () => ["--debug"]],
  ["a word too many", 2, 'unexpected "now"', () => ["now"]],
])("check and run refuse %s", async (_what, status, said, prepare) => {
  const options = prepare(fake);
  for (const command of ["check", "run"]) {
    expect(await call([command, ...options])).toEqual({ status, said: expect.stringContaining(said) });
  }
  expect(fake.log()).toEqual([]);
});

test("needs a command", async () => {
  const answer = await call(fake.options("cloister", 16));
  expect(answer).toEqual({ status: 2, said: expect.stringContaining("expected check, run or stop") });
});
