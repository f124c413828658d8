/**
 * deploy/haproxy.cfg, run by HAProxy itself before three enclaves over one database: only addresses are put in. Where HAProxy is not
 * installed this is skipped; `.ci/run` installs it from Debian.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Client } from "../../client/index.ts";
import { BOOT_HEADER } from "../../protocol/index.ts";
import { isPostgresAbsent } from "../../simulator/local-postgres.ts";
import { type Cluster, startCluster } from "../../simulator/start-cluster.ts";
import { createApp, logIn } from "../support/app.ts";
import { recordingFetch } from "../support/cluster.ts";
import { usdcTransfer } from "../support/transactions.ts";

const FILE = "deploy/haproxy.cfg";
const ENCLAVES = 3;
const PATIENCE_MS = 15_000;

function isHaproxyAbsent(): boolean {
  try {
    execFileSync("haproxy", ["-v"], { stdio: "ignore" });
    return false;
  } catch {
    return true;
  }
}

const isAbsent = isPostgresAbsent || isHaproxyAbsent();

describe.skipIf(isAbsent)(`${FILE}${isAbsent ? " (HAProxy or PostgreSQL is not installed)" : ""}`, () => {
  let cluster: Cluster;
  let client: Client;
  let url: string;
  let recorder: Recorder;
  let appId: string;
  const folder = mkdtempSync(join(tmpdir(), "cl-ha-"));
  let haproxy: ChildProcess | undefined;
  beforeAll(async () => {
    cluster = await startCluster({ enclaves: ENCLAVES, database: "local" });
    recorder = await startRecorder(Number(new URL(member(2).url).port));
    const port = await freePort();
    const addresses: [string, string][] = [
      ["0.0.0.0:8080", `127.0.0.1:${port}`],
      ["10.0.1.11:8080", new URL(member(0).url).host],
      ["10.0.1.12:8080", new URL(member(1).url).host],
      ["10.0.1.13:8080", `127.0.0.1:${recorder.port}`],
    ];
    let config = readFileSync(FILE, "utf8");
    for (const [from, to] of addresses) {
      expect(config.split(from), from).toHaveLength(2);
      config = config.replace(from, to);
    }
    const file = join(folder, "haproxy.cfg");
    writeFileSync(file, config);
    // Neither warnings nor faults.
    execFileSync("haproxy", ["-c", "-dW", "-f", file]);
    haproxy = spawn("haproxy", ["-db", "-f", file], { stdio: "ignore" });
    url = `http://127.0.0.1:${port}`;
    await until(async () => (await bootsSeen()).size === ENCLAVES);
    client = await cluster.connect({ url });
    appId = await createApp(cluster, client);
  }, 90_000);
  afterAll(async () => {
    if (haproxy !== undefined && haproxy.exitCode === null) {
      const ended = new Promise((resolve) => haproxy?.once("exit", resolve));
      haproxy.kill("SIGKILL");
      await ended;
    }
    await recorder?.close();
    await cluster?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const member = (at: number) => {
    const found = cluster.members[at];
    if (found === undefined) throw new Error("no such member");
    return found;
  };
  /** Which boot answers a question of no particular one; null where none does. */
  const bootAt = async (to: string, hint?: string): Promise<string | null> => {
    const asked = `${to}/v1/attestation?nonce=${"00".repeat(16)}`;
    const response = await fetch(asked, hint === undefined ? {} : { headers: { [BOOT_HEADER]: hint } });
    await response.arrayBuffer();
    return response.status === 200 ? response.headers.get(BOOT_HEADER) : null;
  };
  const bootsSeen = async () => {
    const seen = new Set<string | null>();
    for (let asked = 0; asked < 2 * ENCLAVES; asked += 1) seen.add(await bootAt(url).catch(() => null));
    return seen;
  };

  test("spreads requests over all enclaves, and hands over which boot answered", async () => {
    const each = await Promise.all(cluster.members.map((one) => bootAt(one.url)));
    expect([...(await bootsSeen())].sort()).toEqual([...each].sort());
  });

  test("takes a question for one boot's document to that boot", async () => {
    for (const one of cluster.members) {
      const boot = await bootAt(one.url);
      for (let asked = 0; asked < 4; asked += 1) expect(await bootAt(url, boot ?? "")).toBe(boot);
    }
  });

  test("takes what is sealed to the boot that it is sealed for, at the first try", async () => {
    const { fetch, sent } = recordingFetch();
    const through = await cluster.connect({ url, fetch });
    for (let at = 0; at < 6; at += 1) await logIn(cluster, through, appId, `sealed-${at}`);
    expect(sent.map(({ path }) => path)).toEqual(Array(6).fill("/v1/sealed"));
  });

  test("takes an import to the enclave that has its key, whichever others answer in between", async () => {
    const { fetch, sent } = recordingFetch();
    const { session } = await logIn(cluster, await cluster.connect({ url, fetch }), appId, "importer");
    for (let fill = 1; fill <= 6; fill += 1) {
      const before = sent.length;
      await session.importWallet({ kind: "single-key", curve: "secp256k1", secret: new Uint8Array(32).fill(fill) });
      expect(sent.slice(before).filter(({ path }) => path === "/v1/import_wallet").length).toBeLessThanOrEqual(1);
      await session.listWallets();
    }
    expect((await session.listWallets()).wallets).toHaveLength(6);
  });

  test("tells a parent who called, and not what the caller says of itself", async () => {
    const asked = await Promise.all(
      Array.from({ length: 2 * ENCLAVES }, () =>
        fetch(`${url}/v1/attestation?nonce=${"11".repeat(16)}`, { headers: { "x-forwarded-for": "203.0.113.7" } }),
      ),
    );
    for (const response of asked) expect(response.status).toBe(200);
    const seen = recorder.text().split("\r\n");
    expect(seen.some((line) => line.includes("11".repeat(16)))).toBe(true);
    const forwarded = seen.filter((line) => /^x-forwarded-for:/i.test(line));
    expect(new Set(forwarded)).toEqual(new Set(["x-forwarded-for: 127.0.0.1"]));
  });

  test("an enclave that dies is asked no more, and callers do not notice; its next boot is found", {
    timeout: 90_000,
  }, async () => {
    const { session } = await logIn(cluster, client, appId, "failover");
    const { walletId } = await session.createWallet({ kind: "single-key" });
    const params = { walletId, chainId: "1", unsignedTransaction: usdcTransfer() };
    const signed = await session.signTransaction(params);
    const gone = await bootAt(member(0).url);
    await member(0).killEnclave();
    for (let at = 0; at < 20; at += 1) expect(await session.signTransaction(params)).toEqual(signed);
    await until(async () => !(await bootsSeen()).has(null));
    const left = await bootsSeen();
    expect(left.size).toBe(ENCLAVES - 1);
    expect(left).not.toContain(gone);
    // Whoever still asks for that boot is answered by another, and told which.
    expect(left).toContain(await bootAt(url, gone ?? ""));
    await member(0).startEnclave();
    await until(async () => (await bootsSeen()).size === ENCLAVES);
    const boot = await bootAt(member(0).url);
    expect(boot).not.toBe(gone);
    expect(await bootAt(url, boot ?? "")).toBe(boot);
    expect(await session.signTransaction(params)).toEqual(signed);
  });

  test("a parent that dies is asked no more, and callers do not notice", { timeout: 90_000 }, async () => {
    const { session } = await logIn(cluster, client, appId, "parent-gone");
    await member(1).killParent();
    for (let at = 0; at < 20; at += 1) await session.listWallets();
    await until(async () => {
      const seen = await bootsSeen();
      return !seen.has(null) && seen.size === ENCLAVES - 1;
    });
    await member(1).startParent();
    await until(async () => (await bootsSeen()).size === ENCLAVES);
  });
});

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error("it did not come about");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

interface Recorder {
  readonly port: number;
  /** What was sent through it, without the answers. */
  readonly text: () => string;
  readonly close: () => Promise<void>;
}

/** Passes on what comes, and keeps it. */
async function startRecorder(to: number): Promise<Recorder> {
  const parts: Buffer[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(to, "127.0.0.1");
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on("error", () => {}).once("close", () => other.destroy());
    }
    near.on("data", (part: Buffer) => parts.push(part));
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as { port: number }).port,
    text: () => Buffer.concat(parts).toString("latin1"),
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
