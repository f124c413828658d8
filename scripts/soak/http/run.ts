/**
 * A soak over HTTP: a simulator's parent with SQLite and its enclave, as processes, under a day's requests and rude callers; what
 * each holds in memory and open after so many, and once everybody has gone.
 */
import { startSimulator } from "../../../simulator/index.ts";
import { collector } from "../collect.ts";
import type { Flatness } from "../flat.ts";
import { randomFrom } from "../random.ts";
import { type Mix, Traffic } from "../traffic.ts";
import { deploymentOf, SESSION_S } from "./deployment.ts";
import type { Holdings } from "./holdings.ts";
import { judged, leftOpen } from "./judge.ts";
import { closeFetch, LibraryCallers } from "./library-callers.ts";
import { Outcomes } from "./outcomes.ts";
import { Pool } from "./pool.ts";
import { descriptorsOf, Probes } from "./probes.ts";
import { RudeCallers, sleep } from "./rude.ts";

export interface HttpSoakOptions {
  readonly requests: number;
  readonly samples: number;
  readonly population: number;
  readonly apps: number;
  readonly inFlight: number;
  /** What one create_wallets makes. */
  readonly walletsPerBatch: number;
  /** Keys that stamp and have no session. */
  readonly strangers: number;
  /** Whom transactions pay. */
  readonly recipients: number;
  /**
   * Wallets and logins over the whole run, about: each leaves records, whose versions the enclave remembers, up to a million.
   * `make soak` fills that; here it would be taken for growth.
   */
  readonly creations: number;
  /** Before the first request that counts. */
  readonly warmUp: number;
  /** How often some hundreds come at once, over the whole run. */
  readonly crowds: number;
  /** So often so many come who do not read their answers: every other one until it is cut, the others for a while. */
  readonly neverReading: { readonly times: number; readonly callers: number };
  /** How often it is looked, at most, whether all is closed again once everybody has gone: twice a second. */
  readonly restLooks: number;
  /** The requests that count begin, so many seconds after the start. */
  readonly begun?: (atS: number) => void;
  readonly say?: (sample: HttpSoakSample) => void;
  /** Preloaded into parent and enclave: a test leaks there. */
  readonly preload?: readonly URL[];
  /** Ends the run, which then says nothing. */
  readonly signal?: AbortSignal;
}

export type ProcessName = "parent" | "enclave";
export const PROCESSES = ["parent", "enclave"] as const;

/** What one process holds: of memory, and open. */
export interface Held extends Holdings {
  /** File descriptors by kind; null where there is no /proc. */
  readonly descriptors: Readonly<Record<string, number>> | null;
}

export interface HttpSoakSample {
  readonly requests: number;
  readonly atS: number;
  readonly parent: Held;
  readonly enclave: Held;
  /** This process: load generator, client library, and all that is AWS's. */
  readonly caller: Pick<Holdings, "heapUsed" | "external" | "rss" | "cpuUs">;
}

export type AtRest = Readonly<Record<ProcessName, Held>>;

export interface HttpSoakReport {
  readonly options: Omit<HttpSoakOptions, "begun" | "say" | "preload" | "signal">;
  readonly seconds: number;
  readonly connectionsOpened: number;
  readonly samples: readonly HttpSoakSample[];
  readonly outcomes: Readonly<Record<string, number>>;
  /** Before the first request that counts and after the last one, with no caller there. */
  readonly atRest: { readonly before: AtRest; readonly after: AtRest };
  readonly flatness: Readonly<Record<string, Flatness>>;
  /** Why it is not flat; empty if it is. */
  readonly problems: readonly string[];
}

/** Longer than the enclave remembers requests and opened wallets. */
const ADVANCE_MS = 75_000;
/** Requests from there to the sample: what a minute has brought is as much at each, however quick the machine is at the time. */
const SINCE_ADVANCE = 200;
/** Of all requests; a hundred times as many as of the rest of the mix. */
const RUDE = 0.02;
const BY_LIBRARY = 0.01;
const REST_MS = 500;
/** As many looks at rest must say the same. */
const STEADY = 2;

export async function runHttpSoak(options: HttpSoakOptions): Promise<HttpSoakReport> {
  const { begun, say, preload = [], signal, ...asked } = options;
  const { requests, samples: wanted, inFlight } = asked;
  const startedAt = performance.now();
  const collect = collector();
  await using cleanup = new AsyncDisposableStack();
  const probes = await Probes.listen();
  cleanup.defer(() => probes.close());
  const simulator = await probes.around(preload, () => startSimulator(signal === undefined ? {} : { signal }));
  cleanup.defer(() => simulator.stop());
  const pids = { parent: simulator.parentPid, enclave: simulator.enclavePid };
  const held = async (name: ProcessName, what: "memory" | "objects"): Promise<Held> => {
    const pid = pids[name];
    return { ...(await probes.ask(pid, what)), descriptors: await descriptorsOf(pid) };
  };

  let handled = 0;
  const sent = (requests: number) => {
    handled += requests;
  };
  const random = randomFrom(1);
  const port = Number(new URL(simulator.url).port);
  const outcomes = new Outcomes();
  const count = (outcome: string) => outcomes.add(outcome);
  const pool = new Pool({ port, random, endAfter: 300 });
  cleanup.defer(() => pool.close());
  const deployment = await deploymentOf(simulator, asked.apps, pool, outcomes);
  const traffic = new Traffic({
    ...{ ...asked, ...deployment, random, sessionS: SESSION_S },
    nowMs: () => simulator.nowMs(),
    onAnswer: () => sent(1),
  });
  const rude = new RudeCallers({ port, random, request: (unsigned) => traffic.signing(unsigned), count });
  cleanup.defer(() => rude.stop());
  signal?.addEventListener("abort", () => rude.stop(), { once: true });
  const library = new LibraryCallers(simulator, deployment.appIds[0] ?? "", count);
  const isStopped = () => signal?.aborted === true;

  const mix = mixOf(asked);
  const sendUntil = async (requestsSent: number): Promise<void> => {
    const worker = async () => {
      while (handled < requestsSent && !isStopped()) {
        const chance = random();
        if (chance < RUDE) sent(await rude.act());
        else if (chance < RUDE + BY_LIBRARY) sent(await library.act());
        else await traffic.send(mix);
      }
    };
    await Promise.all(Array.from({ length: inFlight }, worker));
  };
  const neverReading = async (): Promise<void> => {
    const callers = Array.from({ length: asked.neverReading.callers }, (_, at) => rude.neverReads(at % 2 === 1));
    await Promise.all(callers);
  };
  const everybodyGone = async () => {
    await pool.close();
    await closeFetch();
  };

  await traffic.populate();
  await library.populate();
  await sendUntil(handled + asked.warmUp);
  if (!isStopped()) await rude.crowd();
  await everybodyGone();
  signal?.throwIfAborted();
  const before = await atRest(held, asked.restLooks, undefined, signal);

  const samples: HttpSoakSample[] = [];
  const elapsedS = () => (performance.now() - startedAt) / 1000;
  handled = 0;
  begun?.(elapsedS());
  for (let at = 1; at <= wanted && !isStopped(); at += 1) {
    const until = Math.round((requests * at) / wanted);
    const isDue = (times: number) => Math.floor((at * times) / wanted) > Math.floor(((at - 1) * times) / wanted);
    if (isDue(asked.crowds)) handled += await rude.crowd();
    // Gone by the time of the sample: what is held for them is no growth.
    const slow = isDue(asked.neverReading.times) ? neverReading() : undefined;
    await sendUntil(until - SINCE_ADVANCE);
    await slow;
    if (!isStopped()) await simulator.advanceClock(ADVANCE_MS);
    await sendUntil(until);
    collect();
    const { heapUsed, external, rss } = process.memoryUsage();
    const { user, system } = process.cpuUsage();
    const sample = {
      ...{ requests: handled, atS: elapsedS() },
      ...{ parent: await held("parent", "memory"), enclave: await held("enclave", "memory") },
      caller: { heapUsed, external, rss, cpuUs: user + system },
    };
    samples.push(sample);
    say?.(sample);
  }
  await everybodyGone();
  signal?.throwIfAborted();
  const after = await atRest(held, asked.restLooks, before, signal);
  for (const [outcome, times] of traffic.outcomes) outcomes.add(outcome, times);
  for (const [reason, times] of await rude.cuts()) outcomes.add(`cut by the parent: ${reason}`, times);
  const seen = { samples, outcomes, atRest: { before, after } };
  return {
    options: asked,
    seconds: elapsedS(),
    connectionsOpened: pool.opened,
    ...{ samples, outcomes: outcomes.sorted(), atRest: seen.atRest },
    ...judged(seen, requests),
  };
}

/** Most of a service's day, and about a third that is refused. */
function mixOf({ creations, requests }: Pick<HttpSoakOptions, "creations" | "requests">): Mix {
  const rare = (share: number) => (100 * creations * share) / requests;
  return {
    ...{ sign: 58, signMessage: 4, signBatch: 1, list: 3 },
    ...{ createWallet: rare(0.5), createWallets: rare(0.02) },
    ...{ logIn: rare(0.1), logInAgain: rare(0.2), revoke: rare(0.02) },
    ...{ replay: 12, outOfTime: 6, malformed: 5, badStamp: 6, stranger: 3 },
  };
}

/** With nobody there: once it is no more than before, or, where there is no before, once it does not change any more. */
async function atRest(
  held: (name: ProcessName, what: "memory" | "objects") => Promise<Held>,
  maxLooks: number,
  before: AtRest | undefined,
  signal: AbortSignal | undefined,
): Promise<AtRest> {
  const look = async (what: "memory" | "objects"): Promise<AtRest> => {
    return { parent: await held("parent", what), enclave: await held("enclave", what) };
  };
  let [same, last] = [0, ""];
  let now = await look("objects");
  for (let looks = 0; looks < maxLooks; looks += 1) {
    // Counting objects takes long: only where all else is as it should be.
    const brief = await look("memory");
    const counts = JSON.stringify(PROCESSES.map((name) => [brief[name].descriptors, brief[name].resources]));
    same = counts === last ? same + 1 : 0;
    last = counts;
    const isQuiet = before === undefined ? same >= STEADY : leftOpen(before, brief).length === 0;
    if (isQuiet) now = await look("objects");
    if (isQuiet && (before === undefined || leftOpen(before, now).length === 0)) return now;
    await sleep(REST_MS);
    signal?.throwIfAborted();
  }
  return look("objects");
}
