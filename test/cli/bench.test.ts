import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseReport, SCENARIOS } from "../../bench/index.ts";
import { run } from "../../cli/bench.ts";
import { createKeyFile, publicKeyOfFile } from "../../client-node/index.ts";
import { type Simulator, startSimulator } from "../../simulator/index.ts";
import { createApp } from "../support/app.ts";
import { enclaveOptions } from "../support/cloister-process.ts";
import { called } from "../support/command-call.ts";

let folder: string;
let simulator: Simulator;
let deployment: string[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "cloister-test-"));
  simulator = await startSimulator();
  const keyFile = join(folder, "key.json");
  await createKeyFile(keyFile, "a passphrase");
  const publicKey = await publicKeyOfFile(keyFile);
  const operations = ["create_wallet", "list_wallets", "sign_transaction", "sign_message"] as const;
  const appId = await createApp(simulator, await simulator.connect(), {
    apiKeys: [
      {
        ...{ name: "bench", publicKey, scheme: "SIGNATURE_SCHEME_TK_API_P256", expiresAtMs: null },
        permissions: { operations: [...operations], wallets: null, chains: null },
      },
    ],
  });
  const passphrase = join(folder, "passphrase");
  await writeFile(passphrase, "a passphrase\n");
  deployment = [
    ...(await enclaveOptions(simulator, folder)),
    ...["--app", appId, "--key", keyFile, "--passphrase-file", passphrase],
  ];
});
afterAll(async () => {
  await simulator.stop();
  await rm(folder, { recursive: true, force: true });
});

function bench(...args: string[]) {
  return benchOn(true, ...args);
}

async function benchOn(isErrTerminal: boolean, ...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const read = async (path: string) => new Uint8Array(await readFile(path));
  const { status, ...said } = await called((says) => run(args, { ...says, read, nowMs: Date.now, isErrTerminal }));
  return { code: status, ...said };
}

const SHORT = ["--duration", "0.4", "--warm-up", "0.1", "--wallets", "3"];

test.each(SCENARIOS.map(({ name }) => name))("%s is measured on a deployment, by an app's key", async (scenario) => {
  const json = join(folder, `${scenario}.json`);
  // Its batches take longer than the others' requests, on a busy machine than all of their time.
  const longer = /batch|wallets$/.test(scenario) ? ["--duration", "3"] : [];
  const options = [...deployment, ...SHORT, ...longer, "--concurrency", "1,3", "--json", json];
  const { code, out, err } = await bench(scenario, ...options);
  expect({ code, out, err }).toMatchObject({ code: 0, out: expect.stringMatching(/3 in flight +[1-9]/) });
  const report = parseReport(await readFile(json, "utf8"));
  expect(report).toMatchObject({ scenario, target: simulator.url });
  for (const load of report.loads) expect(load.done).toBeGreaterThan(0);
});

test("a run is compared with the one before, and drawn", async () => {
  const [json, html] = [join(folder, "first.json"), join(folder, "second.html")];
  await bench("sign-message", ...deployment, ...SHORT, "--rate", "20", "--json", json);
  const second = await bench(
    ...["sign-message", ...deployment, ...SHORT, "--rate", "20", "--compare", json, "--html", html],
  );
  expect(second.out).toMatch(/after by before[\s\S]*20 a second, whatever the answers +× [0-9.]+/);
  expect(await readFile(html, "utf8")).toContain("against the run before");
  expect((await bench("compare", json, json)).out).toContain("× 1.00");
});

test("a run that is slower than was asked for fails, and so does one that cannot be compared", async () => {
  const [json, slower, other] = ["fast.json", "slow.json", "other.json"].map((name) => join(folder, name));
  if (json === undefined || slower === undefined || other === undefined) throw new Error("three names");
  await bench("sign-message", ...deployment, ...SHORT, "--rate", "20", "--json", json);
  const report = JSON.parse(await readFile(json, "utf8")) as { loads: { perSecond: number; pace: object }[] };
  const loads = report.loads.map((load) => ({ ...load, perSecond: load.perSecond / 2 }));
  await writeFile(slower, JSON.stringify({ ...report, loads }));
  await writeFile(other, JSON.stringify({ ...report, loads: [{ ...loads[0], pace: { kind: "closed", callers: 7 } }] }));
  expect((await bench("compare", json, slower)).code).toBe(0);
  expect((await bench("compare", json, slower, "--at-least", "0.5")).code).toBe(0);
  expect((await bench("compare", slower, json, "--at-least", "1.9")).code).toBe(0);
  expect(await bench("compare", json, slower, "--at-least", "0.51")).toMatchObject({
    code: 1,
    out: expect.stringContaining("× 0.50 answers a second, asked for at least × 0.51"),
  });
  const nothing = { out: expect.stringContaining("there is nothing to compare") };
  expect(await bench("compare", json, other)).toMatchObject({ code: 0, ...nothing });
  expect(await bench("compare", json, other, "--at-least", "0.1")).toMatchObject({ code: 1, ...nothing });
});

test("interrupted while its simulator starts, it stops that and says that nothing was written", async () => {
  const before = process.listenerCount("SIGINT");
  const running = bench("attestation", ...SHORT);
  await expect.poll(() => process.listenerCount("SIGINT")).toBe(before + 1);
  process.emit("SIGINT");
  expect(await running).toMatchObject({ code: 1, out: "", err: expect.stringContaining("interrupted") });
  expect(process.listenerCount("SIGINT")).toBe(before);
});

test("wallets beyond one batch are made before, and none where none is needed", async () => {
  const json = join(folder, "wallets.json");
  const walletsOf = async (scenario: string) => {
    await bench(scenario, ...deployment, ...SHORT, "--wallets", "130", "--json", json);
    return parseReport(await readFile(json, "utf8")).wallets;
  };
  expect(await walletsOf("sign-message")).toBe(130);
  expect(await walletsOf("attestation")).toBe(0);
});

test("requests that fail are told by their codes, and the status says so", async () => {
  const { code, out } = await bench("sign-transaction", ...deployment, ...SHORT, "--chain", "5");
  expect(code).toBe(1);
  expect(out).toMatch(/! .*POLICY_DENIED/);
});

test("a deployment that is not the expected one gets no request", async () => {
  const other = deployment.map((each) => (each.startsWith("0=") ? `0=${"ab".repeat(48)}` : each));
  expect(await bench(...other, ...SHORT)).toMatchObject({ code: 1, err: expect.stringContaining("PCR_MISMATCH") });
});

test("several users of a simulator ask in turn", async () => {
  const json = join(folder, "users.json");
  const { code } = await bench("create-wallet", ...SHORT, "--users", "3", "--json", json);
  expect(code).toBe(0);
  const report = parseReport(await readFile(json, "utf8"));
  expect(report.target).toBe("3 users of a simulator on this machine");
  expect(report.loads[0]?.done).toBeGreaterThan(0);
});

describe("wrong usage", () => {
  test.each([
    [["nothing"], "expected one of sign-transaction"],
    [["sign-message", "more"], "expected one of"],
    [["--nonsense"], "nonsense"],
    [["--concurrency", "0"], "--concurrency"],
    [["--concurrency", "1,,2"], "--concurrency"],
    [["--concurrency", "5000"], "--concurrency"],
    [["--rate", "-1"], "--rate"],
    [["--rate", "0"], "--rate"],
    [["--duration", "0"], "--duration"],
    [["--wallets", "1.5"], "--wallets"],
    [["--chain", "0x1"], "--chain"],
    [["sign-message", "--users", "2"], "--users"],
    [["create-wallet", "--users", "0"], "--users"],
    [["--app", "app_1"], "--url"],
    [["--url", "http://127.0.0.1:1"], "--deployment"],
    [["--compare", "/nowhere.json"], "cannot be read"],
    [["compare", "one.json"], "expected compare"],
    [["compare", "one.json", "two.json", "--at-least", "much"], "--at-least"],
    [["--at-least", "0.8"], "give --compare"],
    [["--html", "/nowhere/report.html"], "cannot be written"],
    [["--json", "/nowhere/report.json"], "cannot be written"],
  ])("%j", async (args, why) => {
    expect(await bench(...args)).toMatchObject({ code: 2, err: expect.stringContaining(why) });
  });

  test("a file that is no report is told from one that is not there", async () => {
    const file = join(folder, "other.json");
    await writeFile(file, "{}");
    expect(await bench("compare", file, file)).toMatchObject({ code: 2, err: expect.stringContaining("not a report") });
  });
});

test("where nobody watches, a line says what takes its time, and no bar is drawn", async () => {
  const { err } = await benchOn(false, "sign-message", ...deployment, ...SHORT, "--rate", "20", "--concurrency", "2");
  expect(err).toBe("making wallets: 3\n2 in flight: 0.5 s\n20 a second, whatever the answers: 0.5 s\n");
});

test("help is there for compare too", async () => {
  expect(await bench("compare", "--help")).toMatchObject({ code: 0, out: expect.stringContaining("bench compare") });
});

test("help names every scenario", async () => {
  const { code, out } = await bench("--help");
  expect(code).toBe(0);
  for (const { name } of SCENARIOS) expect(out).toContain(name);
});
