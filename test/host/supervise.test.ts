/** The supervisor over time, without any. */
import { describe, expect, test } from "vitest";
import { CommandError, type CommandResult } from "../../host/command.ts";
import { type Measurements, NitroCli, parseEnclaveConfig, superviseEnclave } from "../../host/index.ts";
import { backoffMs } from "../../host/supervisor/backoff.ts";
import { hex } from "../kms-policy/policies.ts";
import { DESCRIBED, ENCLAVE_CONFIG } from "./host-world.ts";

const MIB = 1024 * 1024;
const EXPECTED: Measurements = { PCR0: hex(0xaa), PCR1: hex(0x11), PCR2: hex(0x22) };
const config = parseEnclaveConfig(Buffer.from(JSON.stringify(ENCLAVE_CONFIG)));
const done = (stdout: string): CommandResult => ({ status: 0, stdout, stderr: "" });

/** One enclave, whose lives last as long as the test says; nothing but the supervisor's sleeps takes time. */
class Scene {
  readonly log: string[] = [];
  readonly sleeps: number[] = [];
  readonly calls: string[] = [];
  readonly stopping = new AbortController();
  nowMs = 0;
  endsAtMs = -1;
  /** Of each life, in order; when they have run out, the supervisor is told to stop. */
  livesMs: number[] = [];
  describe: () => CommandResult = () => done(JSON.stringify(this.isRunning() ? [DESCRIBED] : []));
  image = { sizeBytes: 100 * MIB, measurements: EXPECTED };

  isRunning(): boolean {
    return this.nowMs < this.endsAtMs;
  }

  readonly #run = async (command: string, args: readonly string[]): Promise<CommandResult> => {
    this.calls.push([command, ...args].join(" "));
    const line = args.includes("run-enclave") ? "run" : args[0];
    if (line === "describe-enclaves") return this.describe();
    if (line === "terminate-enclave") {
      this.endsAtMs = -1;
      return done("{}");
    }
    const life = this.livesMs.shift();
    if (life === undefined) {
      this.stopping.abort();
      return { status: 27, stdout: "", stderr: "" };
    }
    if (life < 0) throw new CommandError("TIMED_OUT", "nitro-cli took too long");
    this.endsAtMs = this.nowMs + life;
    return done(JSON.stringify(DESCRIBED));
  };

  run(): Promise<void> {
    return superviseEnclave(
      {
        config,
        configFile: "/etc/cloister/enclave.json",
        expected: EXPECTED,
        nitroCli: new NitroCli(this.#run, "/run/lock"),
        measure: async () => this.image,
        log: (line) => this.log.push(line),
        nowMs: () => this.nowMs,
        sleep: async (ms) => {
          this.sleeps.push(ms);
          this.nowMs += ms;
        },
      },
      this.stopping.signal,
    );
  }

  /** What it waited between lives: all sleeps but those of the watch. */
  waits(): number[] {
    return this.log.flatMap((line) => /starting again in ([0-9.]+) s/.exec(line)?.[1] ?? []).map(Number);
  }
}

test("waits longer after each failure, up to five minutes", () => {
  expect([1, 2, 3, 9, 10, 11, 1000].map(backoffMs)).toEqual([1000, 2000, 4000, 256_000, 300_000, 300_000, 300_000]);
});

test("starts it again and again, waiting longer each time, and anew after a long life", async () => {
  const scene = new Scene();
  scene.livesMs = [1_000, 1_000, -1, 11 * 60_000, 1_000];
  await scene.run();
  expect(scene.waits()).toEqual([1, 2, 4, 1, 2, 4]);
  expect(scene.log).toContain("nitro-cli took too long");
});

test("launches by the configuration as it is, under the lock", async () => {
  const scene = new Scene();
  scene.livesMs = [1_000];
  await scene.run();
  expect(scene.calls[1]).toBe(
    "flock --close --timeout 600 /run/lock nitro-cli run-enclave --config /etc/cloister/enclave.json",
  );
});

test("bears with a nitro-cli that does not answer for a while", async () => {
  const scene = new Scene();
  scene.livesMs = [120_000];
  let silent = 5;
  const answer = scene.describe;
  scene.describe = () => {
    if (scene.isRunning() && scene.nowMs > 20_000 && silent > 0) {
      silent -= 1;
      return { status: 39, stdout: "", stderr: "no answer" };
    }
    return answer();
  };
  await scene.run();
  expect(silent).toBe(0);
  expect(scene.calls.filter((call) => call.includes("terminate"))).toEqual([]);
});

test("ends and starts anew what nitro-cli does not describe for long", async () => {
  const scene = new Scene();
  scene.livesMs = [600_000, 1_000];
  const answer = scene.describe;
  scene.describe = () =>
    scene.isRunning() && scene.nowMs > 20_000 && scene.nowMs < 53_000
      ? { status: 39, stdout: "", stderr: "" }
      : answer();
  await scene.run();
  expect(scene.log.filter((line) => line.includes("nitro-cli does not describe cloister"))).toHaveLength(5);
  expect(scene.calls.filter((call) => call.includes("terminate-enclave --enclave-name cloister"))).toHaveLength(1);
});

describe("gives up, and leaves no enclave, where another try would end the same", () => {
  test.each<[string, string, (scene: Scene) => void]>([
    [
      "another image",
      "MEASUREMENTS_DIFFER",
      (s) => (s.image = { ...s.image, measurements: { ...EXPECTED, PCR2: hex(1) } }),
    ],
    [
      "an image that is signed and was not to be",
      "MEASUREMENTS_DIFFER",
      (s) => (s.image = { ...s.image, measurements: { ...EXPECTED, PCR8: hex(1) } }),
    ],
    ["too little memory", "MEMORY_TOO_SMALL", (s) => (s.image = { ...s.image, sizeBytes: 513 * MIB })],
    [
      "a debug enclave",
      "DEBUG_MODE",
      (s) => {
        s.describe = () => done(JSON.stringify(s.isRunning() ? [{ ...DESCRIBED, Flags: "DEBUG_MODE" }] : []));
      },
    ],
    [
      "another enclave under its name, later on",
      "MEASUREMENTS_DIFFER",
      (s) => {
        const other = { ...DESCRIBED, Measurements: { ...DESCRIBED.Measurements, PCR0: hex(1) } };
        s.describe = () => done(JSON.stringify(s.isRunning() ? [s.nowMs > 60_000 ? other : DESCRIBED] : []));
      },
    ],
  ])("%s", async (_what, code, change) => {
    const scene = new Scene();
    scene.livesMs = [3_600_000];
    change(scene);
    await expect(scene.run()).rejects.toMatchObject({ name: "HostError", code });
    expect(scene.isRunning()).toBe(false);
  });
});

test("an image of exactly a quarter of the memory fits", async () => {
  const scene = new Scene();
  scene.image = { ...scene.image, sizeBytes: 512 * MIB };
  scene.livesMs = [1_000];
  await scene.run();
  expect(scene.log.some((line) => line.includes("has ended"))).toBe(true);
});
