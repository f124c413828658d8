/**
 * How signing grows with the wallets stored: filled through `create_wallets` as a backend would, then the enclave is booted
 * anew, and signs with wallets at random (opened from the store) and with a hundred again and again (kept open).
 */
import { statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { residentMib } from "../../../bench/index.ts";
import type { Session, StampKey } from "../../../client/index.ts";
import { type Deployment, type Measured, postAll, signingWith, startDeployment } from "../deployment.ts";
import type { Section } from "../figures.ts";
import type { PartContext } from "../part.ts";
import { perSecond } from "../rounds.ts";

const SIZES = [100, 10_000, 1_000_000];
const USERS = 16;
/** Of one request; fewer where so many would leave users without any. */
const A_BATCH = 100;
const FILLING = 8;
const HOT = 100;
const IN_FLIGHT = 32;
const REQUESTS = 3_000;

interface User {
  readonly session: Session;
  readonly key: StampKey;
  readonly walletIds: string[];
}

export async function wallets({ isQuick, sizes, say }: PartContext): Promise<readonly Section[]> {
  const rounds = isQuick ? 1 : 3;
  await using deployment = await startDeployment();
  const { simulator } = deployment;
  const users: User[] = [];
  for (let at = 0; at < USERS; at += 1) users.push({ ...(await deployment.logIn(`user-${at}`)), walletIds: [] });
  const rows: Section["rows"] = [];
  let stored = 0;
  for (const size of sizes ?? (isQuick ? [100, 1_000] : SIZES)) {
    const filled = await fill(users, size - stored, say);
    const beforeBoot = residentMib({ enclave: simulator.enclavePid });
    stored = size;
    await simulator.killEnclave();
    const killedAt = performance.now();
    await simulator.startEnclave();
    const bootMs = performance.now() - killedAt;
    // Requests are dated a little back, and none may be from before the boot.
    await sleep(500);
    const cold = new Best();
    const hot = new Best();
    for (let round = 0; round <= rounds; round += 1) {
      const count = isQuick ? 500 : REQUESTS;
      cold.note(round, await sign(deployment, count, () => chosen(users, size)));
      hot.note(round, await sign(deployment, count, () => chosen(users.slice(0, 1), HOT)));
    }
    const after = residentMib({ enclave: simulator.enclavePid });
    rows.push({
      name: size.toLocaleString("en"),
      cells: [
        ...[cold.perSecond, cold.p99Ms, hot.perSecond, hot.p99Ms, filled],
        ...[bootMs, beforeBoot["enclave"] ?? null, after["enclave"] ?? null, storeMib(simulator.recordsFile)],
      ],
    });
    say(`${size} wallets: ${cold.perSecond.toFixed(0)} a second at random, ${hot.perSecond.toFixed(0)} hot`);
  }
  return [
    {
      ...{ name: "wallets", title: "By wallets stored" },
      method:
        `Signed transactions over HTTP, ${IN_FLIGHT} in flight, SQLite, ${USERS} users' wallets: "at random" over all that are stored, ` +
        `and "hot" over ${HOT} of one user's; the best of ${rounds} rounds of ${REQUESTS.toLocaleString("en")} in turns after one of ` +
        `warm-up. Filled before by create_wallets of ${A_BATCH}, ${FILLING} in flight, ` +
        "through the client library. The enclave is booted anew between filling and signing.",
      columns: [
        { label: "at random, a second", digits: 0 },
        { label: "p99 ms", digits: 1 },
        { label: "hot, a second", digits: 0 },
        { label: "hot p99 ms", digits: 1 },
        { label: "filled, wallets a second", digits: 0 },
        { label: "boot ms", digits: 0 },
        { label: "enclave MiB after filling", digits: 0 },
        { label: "after signing", digits: 0 },
        { label: "store MiB", digits: 1 },
      ],
      rows,
    },
  ];
}

/** @returns Wallets a second. */
async function fill(users: readonly User[], count: number, say: (line: string) => void): Promise<number> {
  const size = Math.min(A_BATCH, Math.floor(count / USERS));
  const batches = Math.ceil(count / size);
  let made = 0;
  const rate = await perSecond(batches, FILLING, async (at) => {
    const user = users[at % USERS];
    if (user === undefined) throw new Error("no users");
    const batch = Array.from({ length: Math.min(size, count - at * size) }, () => ({
      kind: "single-key" as const,
    }));
    const { results } = await user.session.call("create_wallets", { wallets: batch });
    for (const each of results) {
      if ("error" in each) throw new Error(each.error.code);
      user.walletIds.push(each.wallet.walletId);
    }
    made += results.length;
    if (at % 500 === 499) say(`${made} of ${count} wallets made`);
  });
  return rate * size;
}

/** With what SQLite has not moved into the file itself yet. */
function storeMib(file: string): number {
  const bytes = [file, `${file}-wal`].map((each) => statSync(each, { throwIfNoEntry: false })?.size ?? 0);
  return bytes.reduce((sum, each) => sum + each, 0) / 2 ** 20;
}

/** One of the first so many of each. */
function chosen(users: readonly User[], among: number): { readonly key: StampKey; readonly walletId: string } {
  const user = users[Math.floor(Math.random() * users.length)];
  const walletId = user?.walletIds[Math.floor(Math.random() * Math.min(among, user.walletIds.length))];
  if (user === undefined || walletId === undefined) throw new Error("a user without wallets");
  return { key: user.key, walletId };
}

async function sign(
  { simulator, prepare }: Deployment,
  count: number,
  choose: () => { readonly key: StampKey; readonly walletId: string },
): Promise<Measured> {
  const prepared = await Promise.all(
    Array.from({ length: count }, () => {
      const { key, walletId } = choose();
      return prepare("sign_transaction", signingWith(walletId), key);
    }),
  );
  return postAll(simulator.url, prepared, IN_FLIGHT);
}

class Best {
  perSecond = 0;
  p99Ms = 0;

  note(round: number, measured: Measured): void {
    if (round > 0 && measured.perSecond > this.perSecond) Object.assign(this, measured);
  }
}
