/**
 * What breaks under load, and what of it callers notice. `make test-faults` gives each fault the time that it takes to be
 * sure, and adds those that take long; here each is short. After each: nothing acknowledged is lost, no retry made a
 * second wallet, a limit that was being spent from has counted each acknowledged signature once, every answer verified, and every
 * enclave serves again.
 */
import { execFileSync } from "node:child_process";
import { appendFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { describe, expect, onTestFinished, test } from "vitest";
import { isPostgresAbsent, type PostgresServer, startLocalPostgres } from "../../simulator/local-postgres.ts";
import { type Cluster, type ClusterOptions, startCluster } from "../../simulator/start-cluster.ts";
import { createApp, logIn } from "../support/app.ts";
import { Load } from "../support/load.ts";
import { SPENDING_POLICY, Spending } from "../support/spending.ts";
import { startTcpRelay, type TcpRelay } from "../support/tcp-relay.ts";

/** How long a fault lasts, and how long it is quiet before and after. */
const SECONDS = Number(process.env["CLOISTER_FAULT_SECONDS"] ?? 0);
const isLong = SECONDS > 0;
const FAULT_MS = isLong ? SECONDS * 1000 : 1_500;
const QUIET_MS = isLong ? SECONDS * 500 : 1_000;
const ENCLAVES = 3;
const USERS = isLong ? 12 : 6;
const PASSWORD = "of-this-test";

interface Stage {
  readonly cluster: Cluster;
  readonly server: PostgresServer;
  readonly network: TcpRelay;
  readonly appId: string;
  readonly load: Load;
  readonly spending: Spending;
}

async function stage(options: Partial<ClusterOptions> = {}, under?: string): Promise<Stage> {
  const server = await startLocalPostgres({}, onTestFinished, {}, under);
  const admin = new pg.Client(server.admin);
  await admin.connect();
  await admin.query(`CREATE ROLE cloister LOGIN PASSWORD '${PASSWORD}'`);
  await admin.query("CREATE DATABASE cloister OWNER cloister");
  await admin.end();
  const network = await startTcpRelay(server.port);
  onTestFinished(() => network.close());
  const database = `postgres://cloister:${PASSWORD}@127.0.0.1:${network.port}/cloister`;
  const cluster = await startCluster({ enclaves: ENCLAVES, database, ...options });
  onTestFinished(() => cluster.stop());
  const appId = await createApp(cluster, await cluster.connect(), { policy: SPENDING_POLICY });
  const spending = new Spending();
  const load = await Load.start(cluster, appId, USERS, spending.work);
  return { cluster, server, network, appId, load, spending };
}

/** Breaks something, lets it be broken, mends it, and says how long it took until all was well. */
async function suffer(
  name: string,
  { cluster, appId, load, spending }: Stage,
  fault: { readonly happen: () => Promise<void>; readonly mend: () => Promise<void> },
): Promise<void> {
  await load.wait(QUIET_MS);
  const brokenAt = performance.now();
  await load.during(fault.happen);
  await load.wait(FAULT_MS);
  const mendedAt = performance.now();
  await load.during(fault.mend);
  await load.during(() => cluster.balancer.untilReady(ENCLAVES));
  const recoveredMs = Math.round(performance.now() - mendedAt);
  await load.wait(QUIET_MS);
  const silenceMs = load.longestSilenceMs(brokenAt);
  const { acknowledged, signatures, interrupted } = await load.settle();
  expect(acknowledged).toBeGreaterThan(USERS);
  expect(spending.spent).toBeGreaterThan(USERS);
  await spending.settle((await logIn(cluster, await cluster.connect(), appId, "last")).session);
  process.stdout.write(
    `${name}: all three serve ${recoveredMs} ms after it was mended; longest time without any answer ${silenceMs} ms; ` +
      `${acknowledged} wallets and ${signatures} signatures acknowledged, all there; ${spending.spent} spent from a limit, ` +
      `each counted once; ${interrupted} tries repeated\n`,
  );
}

const timeout = 60_000 + 6 * FAULT_MS;
const member = (cluster: Cluster, at: number) => {
  const found = cluster.members[at];
  if (found === undefined) throw new Error("no such member");
  return found;
};

describe.skipIf(isPostgresAbsent)("under load", () => {
  test("an enclave is killed, and started anew", { timeout }, async () => {
    const on = await stage();
    const one = member(on.cluster, 0);
    await suffer("enclave killed", on, { happen: () => one.killEnclave(), mend: () => one.startEnclave() });
  });

  test("a parent is killed, and started anew", { timeout }, async () => {
    const on = await stage();
    const one = member(on.cluster, 1);
    await suffer("parent killed", on, { happen: () => one.killParent(), mend: () => one.startParent() });
  });

  test("the database is killed, and started anew", { timeout }, async () => {
    const on = await stage();
    await suffer("database killed", on, { happen: () => on.server.kill(), mend: () => on.server.start() });
  });

  test("the network to the database is cut without a word", { timeout }, async () => {
    const on = await stage();
    await suffer("network cut", on, {
      happen: async () => on.network.cut(),
      mend: async () => on.network.mend(),
    });
  });

  test.skipIf(!isLong)("KMS throttles while an enclave boots", { timeout }, async () => {
    let isThrottled = false;
    const fail = () => (isThrottled ? ("ThrottlingException" as const) : undefined);
    const on = await stage({ kmsFaults: { fail } });
    const one = member(on.cluster, 2);
    let booting: Promise<void> | undefined;
    await suffer("KMS throttled", on, {
      async happen() {
        isThrottled = true;
        await one.killEnclave();
        booting = one.startEnclave();
        // Heard below, when it is waited for.
        booting.catch(() => {});
      },
      async mend() {
        isThrottled = false;
        await booting;
      },
    });
  });

  test.skipIf(!isLong)("the clock jumps by five minutes", { timeout }, async () => {
    const on = await stage();
    await suffer("clock jumped", on, {
      happen: () => on.cluster.advanceClock(5 * 60_000),
      mend: async () => {},
    });
  });

  test.skipIf(!isLong || !canMount())("the database's disk is full", { timeout }, async () => {
    const folder = await mkdtemp(join(tmpdir(), "cl-disk-"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=300m,mode=755", "tmpfs", folder]);
    onTestFinished(async () => {
      execFileSync("umount", ["-l", folder]);
      await rm(folder, { recursive: true, force: true });
    });
    const on = await stage({}, folder);
    const filler = join(folder, "filler");
    await suffer("disk full", on, {
      async happen() {
        await fill(filler);
      },
      async mend() {
        await rm(filler);
        // A server that could not write its log has ended itself.
        await on.server.kill();
        await on.server.start();
      },
    });
  });
});

/** To the last byte, while others write as well. */
async function fill(file: string): Promise<void> {
  for (let size = 1024 * 1024; size >= 4096; ) {
    try {
      await appendFile(file, new Uint8Array(size));
    } catch {
      size /= 2;
    }
  }
}

/** Root, in a place where it may. */
function canMount(): boolean {
  try {
    execFileSync("unshare", ["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], { stdio: "ignore" });
    return process.getuid?.() === 0;
  } catch {
    return false;
  }
}
