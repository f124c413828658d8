import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { decodeUnverified } from "../../attestation/index.ts";
import { secp256k1Binding } from "../../enclave/signing/secp256k1.ts";
import { isPostgresAbsent } from "../../simulator/local-postgres.ts";
import { type CloisterProcess, killCloisters, startCloister } from "../support/cloister-process.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "cloister-test-"));
});
afterEach(async () => {
  killCloisters();
  await rm(folder, { recursive: true, force: true });
});

const cloister = (...args: string[]) => startCloister(args);

const cloisterIn = (environment: Readonly<Record<string, string>>, ...args: string[]) =>
  startCloister(args, environment);

async function simulate(): Promise<CloisterProcess & { readonly url: string }> {
  const command = cloister("simulate", "--port", "0", "--state", folder);
  await expect.poll(command.output, { timeout: 20_000 }).toContain("Ctrl-C stops everything.");
  const url = /ready in [0-9]+ ms: (http:\/\/127\.0\.0\.1:[0-9]+)/.exec(command.output())?.[1] ?? "";
  return { ...command, url };
}

function childrenOf(pid: number | undefined): number[] {
  const { stdout } = spawnSync("ps", ["-o", "pid=", "--ppid", String(pid)], { encoding: "utf8" });
  return stdout.split("\n").map(Number).filter(Boolean);
}

function isRunning(pid: number): boolean {
  try {
    // A zombie is ended, though it still has a number.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

test("runs until Ctrl-C, which stops every process that it started", async () => {
  const { process: child, url, exitCode, output } = await simulate();
  expect(await (await fetch(`${url}/readyz`)).json()).toMatchObject({
    enclave: "ready",
    secp256k1: secp256k1Binding,
  });
  const document = await (await fetch(`${url}/v1/attestation?nonce=${"ab".repeat(16)}`)).arrayBuffer();
  expect(decodeUnverified(new Uint8Array(document)).nonce).toEqual(new Uint8Array(16).fill(0xab));
  expect(output()).toContain("BEGIN CERTIFICATE");
  const children = childrenOf(child.pid);
  expect(children).toHaveLength(2);
  const connection = join(folder, "connection.json");
  expect(JSON.parse(readFileSync(connection, "utf8"))).toMatchObject({ url });

  child.kill("SIGINT");
  expect(await exitCode).toBe(0);
  // There while the simulator is.
  expect(existsSync(connection)).toBe(false);
  expect(children.filter(isRunning)).toEqual([]);
});

test("killed without a chance to tidy up, it takes its processes along", async () => {
  const { process: child, exitCode } = await simulate();
  const children = childrenOf(child.pid);
  child.kill("SIGKILL");
  await exitCode;
  await expect.poll(() => children.filter(isRunning), { timeout: 15_000 }).toEqual([]);
});

test("the calls that it prints work as they are printed", async () => {
  const { process: child, output, exitCode } = await simulate();
  const [verify] = /curl -s "[^"]+" \|\n\s+npx cloister attestation verify[^\n]+/.exec(output()) ?? [];
  if (verify === undefined) throw new Error("no example");
  const shell = spawnSync("sh", ["-c", verify.replace("npx cloister", `${process.execPath} bin/cloister.js`)], {
    encoding: "utf8",
    timeout: 20_000,
  });
  expect(shell.status).toBe(0);

  const [token] = /http:\/\/127\.0\.0\.1:[0-9]+\/token/.exec(output()) ?? [];
  const minted = await fetch(token ?? "", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ subject: "alice", audience: "my-app", nonce: "00".repeat(32) }),
  });
  expect(((await minted.json()) as { token: string }).token.split(".")).toHaveLength(3);
  child.kill("SIGINT");
  await exitCode;
});

test("two on one port, or on one folder: the second says why it cannot start", async () => {
  const { process: child, url, exitCode } = await simulate();
  const second = cloister("simulate", "--port", new URL(url).port, "--state", join(folder, "second"));
  expect(await second.exitCode).toBe(1);
  expect(second.output()).toMatch(
    /^cloister simulate: PARENT_FAILED: HTTP_UNAVAILABLE: cannot listen on 127\.0\.0\.1:[0-9]+: another process does; .*\n$/,
  );
  const third = cloister("simulate", "--port", "0", "--state", folder);
  expect(await third.exitCode).toBe(1);
  expect(third.output()).toMatch(/^cloister simulate: STATE_UNUSABLE: .* in use by process [0-9]+/);
  expect(third.output()).not.toContain("    at ");
  child.kill("SIGINT");
  expect(await exitCode).toBe(0);
});

test.skipIf(isPostgresAbsent)(
  "several on a port that is taken: BALANCER_FAILED, before anything else starts",
  async () => {
    const { process: child, url, exitCode } = await simulate();
    const several = ["--enclaves", "2", "--database", "local", "--state", join(folder, "second")];
    const second = cloister("simulate", "--port", new URL(url).port, ...several);
    expect(await second.exitCode).toBe(1);
    expect(second.output()).toMatch(/^cloister simulate: BALANCER_FAILED: .*EADDRINUSE/);
    child.kill("SIGINT");
    await exitCode;
  },
);

test("Ctrl-C while it starts stops what was started, and leaves no folder", async () => {
  const runs = join(folder, "tmp");
  await mkdir(runs);
  const command = cloisterIn(
    { TMPDIR: runs },
    "simulate",
    "--port",
    "0",
    "--state",
    join(folder, "state"),
    "--verbose",
  );
  await expect.poll(() => readdirSync(runs).length, { timeout: 20_000 }).toBe(1);
  await expect.poll(() => childrenOf(command.process.pid).length, { timeout: 20_000 }).toBeGreaterThan(0);
  const children = childrenOf(command.process.pid);
  command.process.kill("SIGINT");
  expect(await command.exitCode).toBe(0);
  expect(children.filter(isRunning)).toEqual([]);
  expect(readdirSync(runs)).toEqual([]);
});

test.each([
  ["cloister.yaml", "version: [", "cloister.yaml: not YAML"],
  ["administrator-key.jwk.json", "{}", "administrator-key.jwk.json is no P-256 key in a JWK"],
])("a state folder whose %s somebody has changed: STATE_UNUSABLE, and which file", async (file, content, why) => {
  await writeFile(join(folder, file), content);
  const { exitCode, output } = cloister("simulate", "--port", "0", "--state", folder);
  expect(await exitCode).toBe(1);
  expect(output()).toMatch(/^cloister simulate: STATE_UNUSABLE: /);
  expect(output()).toContain(why);
});

test.each([
  [["simulate", "--port", "many"], 2, "--port"],
  [["simulate", "-h"], 0, "Usage: cloister simulate"],
  [["help", "simulate"], 0, "Usage: cloister simulate"],
  [["-h"], 0, "Usage: cloister"],
  [["-v"], 0, "0."],
  [["simulate", "--no-such-flag"], 2, "no-such-flag"],
  [["simulate", "--help"], 0, "Usage: cloister simulate"],
  [["--help"], 0, "Usage: cloister"],
  [["--version"], 0, "0."],
  [["sign-everything"], 2, "there is no command"],
  [[], 2, "Usage: cloister"],
])("cloister %j exits with %i", async (args, status, words) => {
  const { exitCode, output } = cloister(...args);
  expect(await exitCode).toBe(status);
  expect(output()).toContain(words);
});

test.skipIf(isPostgresAbsent)(
  "several enclaves over a database of their own serve behind one address, and all end with it",
  async () => {
    const command = cloister("simulate", "--port", "0", "--state", folder, "--enclaves", "2", "--database", "local");
    await expect.poll(command.output, { timeout: 25_000 }).toContain("Ctrl-C stops everything.");
    const url = /ready in [0-9]+ ms: (http:\/\/127\.0\.0\.1:[0-9]+)/.exec(command.output())?.[1] ?? "";
    const boots = new Set<string | null>();
    for (let asked = 0; asked < 8; asked += 1) {
      const response = await fetch(`${url}/v1/attestation?nonce=${"ab".repeat(16)}`);
      expect(response.status).toBe(200);
      boots.add(response.headers.get("x-enclave-boot"));
    }
    expect(boots.size).toBe(2);
    // Each by itself, past the balancer.
    const { parents } = JSON.parse(readFileSync(join(folder, "connection.json"), "utf8")) as { parents: string[] };
    expect(parents).toHaveLength(2);
    for (const parent of parents) {
      expect(command.output()).toContain(parent);
      expect((await fetch(`${parent}/metrics`)).status).toBe(200);
    }
    const children = childrenOf(command.process.pid);
    // Two enclaves, two parents, one database and the guard that ends it.
    expect(children).toHaveLength(6);
    command.process.kill("SIGTERM");
    expect(await command.exitCode).toBe(0);
    for (const child of children) expect(isRunning(child)).toBe(false);
  },
);

test.each([
  [["--enclaves", "0"], "--enclaves: expected 1 to 99"],
  [["--enclaves", "3"], "several need a --database"],
  [["--workers", "65"], "expected 0 to 64"],
])("wrong usage is said: %s", async (args, why) => {
  const command = cloister("simulate", "--state", folder, ...args);
  expect(await command.exitCode).toBe(2);
  expect(command.output()).toContain(why);
});

test("a database that is none is wrong usage: DATABASE_INVALID", async () => {
  const command = cloister("simulate", "--port", "0", "--state", folder, "--database", "mysql://a@b/c");
  expect(await command.exitCode).toBe(2);
  expect(command.output()).toContain("--database: expected postgres://user@host/database, or local");
});
