/**
 * The credentials that the enclave calls KMS with are the parent's to give. Bad ones, old ones and none at all keep the
 * enclave waiting and open nothing; good ones let it go on, without anybody's help.
 */
import { afterEach, describe, expect, test, vi } from "vitest";
import { CREDENTIALS_PORT, type CredentialsAnswer } from "../../protocol/index.ts";
import { type Simulator, type SimulatorOptions, startSimulator } from "../../simulator/index.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

type Credentials = Extract<CredentialsAnswer, { kind: "credentials" }>;

let simulator: Simulator | undefined;
let lines: Record<string, unknown>[] = [];
afterEach(async () => {
  vi.unstubAllEnvs();
  await simulator?.stop();
  simulator = undefined;
});

async function start(options: SimulatorOptions = {}): Promise<Simulator> {
  lines = [];
  simulator = await startSimulator({
    hostileParent: {},
    ...options,
    log: (line) => {
      // AWS's SDK writes warnings of its own to the parent's standard error.
      if (line.startsWith("{")) lines.push(JSON.parse(line) as Record<string, unknown>);
    },
  });
  return simulator;
}

/** What KMS answered so far: `ok`, or the names of its errors. */
const kmsOutcomes = () => new Set(lines.filter(({ from }) => from === "kms").map(({ outcome }) => outcome));

function given({ hostileParent }: Simulator): Credentials[] {
  return (hostileParent?.record ?? []).flatMap((seen) =>
    seen.port === CREDENTIALS_PORT && seen.direction === "to-enclave" && "message" in seen
      ? [seen.message as unknown as Credentials]
      : [],
  );
}

/** The parent gives out what `change` makes of the credentials; undefined: the credentials as they are. */
function tamper({ hostileParent }: Simulator, change: ((good: Credentials) => Credentials) | undefined): void {
  if (hostileParent === null) throw new Error("no hostile parent was asked for");
  if (change === undefined) delete hostileParent.hooks.message;
  else {
    hostileParent.hooks.message = (port, direction, message) => {
      if (port !== CREDENTIALS_PORT || direction !== "to-enclave") return message;
      const good = message as unknown as Credentials;
      return { ...change(good), id: good.id };
    };
  }
}

async function waitsForCredentials({ url }: Simulator, message: string): Promise<void> {
  const readiness = async () => {
    const response = await fetch(`${url}/readyz`);
    return { status: response.status, body: await response.json() };
  };
  await expect.poll(readiness, { timeout: 10_000 }).toMatchObject({
    status: 503,
    body: {
      enclave: "attested",
      reason: { code: "CREDENTIALS_UNAVAILABLE", message: expect.stringContaining(message) },
    },
  });
}

async function restart(running: Simulator): Promise<void> {
  await running.killEnclave();
  await running.startEnclave();
}

test("before the credentials expire the enclave gets new ones, and KMS never sees old ones", async () => {
  const running = await start();
  await running.advanceClock(6 * HOUR_MS - 4 * MINUTE_MS);
  await restart(running);
  await running.advanceClock(DAY_MS);
  await restart(running);
  const all = given(running);
  expect(new Set(all.map(({ accessKeyId }) => accessKeyId)).size).toBe(3);
  expect(all.at(-1)?.expiresAtMs).toBeGreaterThan(running.nowMs());
  expect(kmsOutcomes()).toEqual(new Set(["ok"]));
});

describe("the metadata service is away", () => {
  test("at the start: the enclave waits, says for what, and goes on when it is back", async () => {
    const running = await start({ imdsTrouble: { kind: "unreachable" }, waitForReady: false });
    await waitsForCredentials(running, "the parent has no AWS credentials");
    expect(kmsOutcomes()).toEqual(new Set());
    await running.imds.setTrouble({ kind: "error", status: 500 });
    await waitsForCredentials(running, "the parent has no AWS credentials");
    await running.imds.setTrouble({ kind: "none" });
    expect(await running.enclaveOutcome()).toMatchObject({ event: "ready" });
  });

  test("later: the old credentials serve until they expire, and new ones when it is back", async () => {
    const running = await start();
    await running.imds.setTrouble({ kind: "unreachable" });
    await restart(running);
    expect(new Set(given(running).map(({ accessKeyId }) => accessKeyId)).size).toBe(1);
    expect(kmsOutcomes()).toEqual(new Set(["ok"]));

    await running.advanceClock(7 * HOUR_MS);
    await running.killEnclave();
    const starting = running.startEnclave();
    // The parent's clock is behind, and its credentials look good to it: it is KMS that tells.
    await waitsForCredentials(running, "ExpiredTokenException");
    await running.imds.setTrouble({ kind: "none" });
    await starting;
  });

  test("in part: what it still hands out has expired", async () => {
    const running = await start();
    await running.imds.setTrouble({ kind: "stale" });
    await running.advanceClock(7 * HOUR_MS);
    await running.killEnclave();
    const starting = running.startEnclave();
    await waitsForCredentials(running, "ExpiredTokenException");
    await running.imds.setTrouble({ kind: "none" });
    await starting;
  });
});

describe("the parent gives credentials that open nothing", () => {
  test.each<[string, (good: Credentials) => Credentials, string]>([
    [
      "that KMS does not know",
      (good) => ({ ...good, accessKeyId: "ASIAUNKNOWN000000000" }),
      "UnrecognizedClientException",
    ],
    ["with another token", (good) => ({ ...good, sessionToken: "another" }), "UnrecognizedClientException"],
    ["with a wrong secret", (good) => ({ ...good, secretAccessKey: "wrong" }), "InvalidSignatureException"],
    [
      "that never expire, it says",
      (good) => ({ ...good, secretAccessKey: "wrong", expiresAtMs: null }),
      "InvalidSignatureException",
    ],
  ])("%s: the enclave waits, and takes good ones when they come", async (_what, change, error) => {
    const running = await start({ waitForReady: false, imdsTrouble: { kind: "unreachable" } });
    tamper(running, change);
    await running.imds.setTrouble({ kind: "none" });
    await waitsForCredentials(running, error);
    tamper(running, undefined);
    expect(await running.enclaveOutcome()).toMatchObject({ event: "ready" });
  });

  test.each<[string, (old: Credentials, nowMs: number) => Credentials]>([
    ["", (old) => old],
    [", and says that they are good for a day", (old, nowMs) => ({ ...old, expiresAtMs: nowMs + DAY_MS })],
    [", and says that they never do", (old) => ({ ...old, expiresAtMs: null })],
  ])("that have expired%s: the enclave waits, and takes good ones when they come", async (_what, change) => {
    const running = await start();
    const [old] = given(running);
    if (old === undefined) throw new Error("no credentials were given");
    await running.advanceClock(7 * HOUR_MS);
    tamper(running, () => change(old, running.nowMs()));
    await running.killEnclave();
    const starting = running.startEnclave();
    await waitsForCredentials(running, "ExpiredTokenException");
    tamper(running, undefined);
    await starting;
  });
});

describe("clocks", () => {
  test.each([
    ["a day behind", -DAY_MS],
    ["a day ahead", DAY_MS],
  ])("a parent whose clock is %s changes nothing: the enclave signs by its own", async (_what, skewMs) => {
    const shift = `if (process.argv[1]?.includes("parent-proxy")) {
      const now = Date.now;
      Date.now = () => now() + ${skewMs};
    }`;
    vi.stubEnv("NODE_OPTIONS", `--import=data:text/javascript,${encodeURIComponent(shift)}`);
    const running = await start();
    await running.imds.setTrouble({ kind: "unreachable" });
    await restart(running);
    // The control: by the parent's own log its clock is wrong.
    const logged = lines.find(({ msg }) => msg === "AWS credentials cannot be had");
    expect(Math.abs(Number(logged?.["time"]) - Date.now() - skewMs)).toBeLessThan(HOUR_MS);
    await running.imds.setTrouble({ kind: "none" });
    await running.advanceClock(7 * HOUR_MS);
    await restart(running);
    expect(kmsOutcomes()).toEqual(new Set(["ok"]));
  });

  test("a metadata service whose clock is wrong changes nothing", async () => {
    const running = await start({ imdsTrouble: { kind: "wrong-clock", skewMs: -DAY_MS } });
    await running.imds.setTrouble({ kind: "wrong-clock", skewMs: DAY_MS });
    await restart(running);
    expect(kmsOutcomes()).toEqual(new Set(["ok"]));
  });

  test("where KMS finds the signature expired, the enclave waits and signs anew", async () => {
    let isLate = true;
    const running = await start({
      waitForReady: false,
      kmsFaults: { fail: () => (isLate ? "InvalidSignatureException" : undefined) },
    });
    await waitsForCredentials(running, "InvalidSignatureException");
    isLate = false;
    expect(await running.enclaveOutcome()).toMatchObject({ event: "ready" });
  });
});
