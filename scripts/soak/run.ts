/** A soak: an enclave's request handler under millions of requests, and what it holds in memory after each so many. */
import { EnclaveInProcess } from "../bench/enclave-in-process.ts";
import { AUDIENCE, ISSUER, SoakIssuer } from "./callers.ts";
import { censusOf } from "./census.ts";
import { collector } from "./collect.ts";
import { FILLING, type Flatness, flatnessOf } from "./flat.ts";
import { randomFrom } from "./random.ts";
import { openSoakRecords } from "./records.ts";
import { type Mix, Traffic } from "./traffic.ts";

export interface SoakOptions {
  readonly requests: number;
  readonly samples: number;
  readonly population: number;
  readonly apps: number;
  /** The enclave's clock moves by so much for each request: windows pass as fast as there are requests. */
  readonly msPerRequest: number;
  readonly walletsPerBatch: number;
  /** Whether caches are to be full once a fifth is done: takes millions of requests. */
  readonly fills: boolean;
  /** Keys that stamp and have no session. */
  readonly strangers: number;
  /** Whom transactions pay. */
  readonly recipients: number;
  readonly say?: (sample: SoakSample) => void;
  /** Entries of the enclave's collections once the first fifth is done. */
  readonly sayFilled?: (entries: ReadonlyMap<string, number>) => void;
  /** After each request; a test leaks here. */
  readonly afterEach?: () => void;
}

export interface SoakSample {
  readonly requests: number;
  readonly atS: number;
  /** After collection: of V8's heap, and of what stands outside of it. */
  readonly heapUsed: number;
  readonly external: number;
  readonly arrayBuffers: number;
  readonly rss: number;
  /** Of this process, stamping included, for each request since the sample before; collections that are asked for are left out. */
  readonly cpuUsPerRequest: number;
}

export interface SoakReport {
  readonly options: Omit<SoakOptions, "say" | "sayFilled" | "afterEach">;
  readonly seconds: number;
  readonly samples: readonly SoakSample[];
  readonly outcomes: Readonly<Record<string, number>>;
  /** Entries of each map, set and list of the enclave's: at the end of filling, and at the end. */
  readonly collections: Readonly<
    Record<string, { readonly filled: number; readonly end: number; readonly cap: number | null }>
  >;
  /** Of heap and external memory, and of the resident set; that one only of runs that are long enough. */
  readonly held: Flatness;
  readonly resident: Flatness | null;
  /** Why it is not flat; empty if it is. */
  readonly problems: readonly string[];
}

/** What the enclave's code bounds, as it bounds it. What is not named here must not grow at all. */
const CAPS: Readonly<Record<string, number>> = {
  "replays.#seen.#entries": 400_000,
  "replays.#countByAsker": 400_000,
  "sessions.#pointers.#entries": 100_000,
  "sessions.#derived.#entries": 10_000,
  "stamps.#keys.#entries": 10_000,
  "stamps.#points.#entries": 10_000,
  "wallets.#cache.#kept.#entries": 1_000,
  "wallets.#cache.#openedAtMs.#entries": 10_000,
  "onceForAll.#records.sealed.#seen.#entries": 1_000_000,
  "onceForAll.#records.sealed.#folders": 1_000_000,
};
/** Of a collection that is not named, over the part that is looked at. */
const MAX_GROWTH = 1_000;
/** Bounded by bytes: 64 MiB of users' records, of at least this size each. */
const MIN_USER_BYTES = 200;
const HELD_ALLOWED = { share: 0.03, bytes: 2 ** 20 };
const RESIDENT_ALLOWED = { share: 0.1, bytes: 16 * 2 ** 20 };
/** Below it the allocator's own habits are most of what the resident set shows. */
const RESIDENT_FROM = 1_000_000;
const IN_FLIGHT = 16;
const HOUR_S = 3_600;
/** As the enclave in process names itself. */
const BOOT = "00".repeat(8);
const FORGET_MS = 10_000;

/** Most of a service's day: signing, with everything else beside it. */
const DAILY: Mix = {
  ...{ sign: 30, signMessage: 2, signBatch: 0.3, list: 1, createWallet: 1, createWallets: 0.05 },
  ...{ logIn: 0.2, logInAgain: 0.1, revoke: 0.05 },
  ...{ replay: 22, outOfTime: 20, malformed: 10, badStamp: 10, stranger: 3 },
};
/** Many newcomers and many wallets: what fills the memory of records, sessions and users. */
const FILLING_UP: Mix = { ...DAILY, logIn: 24, createWallets: 1.2 };
/** Of all requests. After them a whole window passes with a day's mix before growth counts. */
const CROWDED = 0.08;
/** So much faster passes time meanwhile: else the replay guard had no room for so many who are let in. */
const CROWDED_PACE = 5;
/** Where caches have no time to fill: few records and keys that are new. */
const QUIET: Mix = { ...DAILY, createWallet: 0.2, createWallets: 0.05, logIn: 0.1, logInAgain: 0.05, revoke: 0.02 };

export async function runSoak(options: SoakOptions): Promise<SoakReport> {
  const { say, sayFilled, afterEach, ...asked } = options;
  const { requests, samples: wanted, apps, msPerRequest, fills } = asked;
  const collect = collector();
  const startedAt = performance.now();
  const bootedAtMs = Date.now();
  let handled = 0;
  let passedMs = 0;
  const isCrowded = () => fills && handled < requests * CROWDED;
  const nowMs = () => Math.floor(bootedAtMs + passedMs);
  const issuer = new SoakIssuer();
  await using records = await openSoakRecords();
  const enclave = await EnclaveInProcess.start({ vsock: records.vsock, nowMs, fetchJson: issuer.fetchJson });
  try {
    const issuers = [
      { issuer: ISSUER, audiences: [AUDIENCE], jwksUri: `${ISSUER}/jwks`, algorithms: ["ES256" as const] },
    ];
    const audiences: string[] = [];
    for (let at = 0; at < apps; at += 1) audiences.push(await enclave.makeApp({ name: `soak ${at}`, issuers }));
    const random = randomFrom(1);
    const onAnswer = () => {
      handled += 1;
      passedMs += isCrowded() ? CROWDED_PACE * msPerRequest : msPerRequest;
    };
    const traffic = new Traffic({
      ...{ ...asked, audiences, nowMs, onAnswer, random, boot: BOOT, sessionS: HOUR_S },
      answer: (request) => enclave.answer(request),
      isForLater,
      token: (subject, key, at) => issuer.token(subject, key, at),
    });
    await traffic.populate();
    const samples: SoakSample[] = [];
    let filled: ReadonlyMap<string, number> = new Map();
    let forgetAtMs = 0;
    const usual = fills ? DAILY : QUIET;
    for (let at = 1; at <= wanted; at += 1) {
      const until = Math.round((requests * at) / wanted);
      const [before, cpu] = [handled, process.cpuUsage()];
      const worker = async () => {
        while (handled < until) {
          await traffic.send(isCrowded() ? FILLING_UP : usual);
          afterEach?.();
          if (nowMs() < forgetAtMs) continue;
          forgetAtMs = nowMs() + FORGET_MS;
          enclave.forget();
        }
      };
      await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
      const { user, system } = process.cpuUsage(cpu);
      collect();
      const { heapUsed, external, arrayBuffers, rss } = process.memoryUsage();
      const sample = {
        requests: handled,
        atS: (performance.now() - startedAt) / 1000,
        ...{ heapUsed, external, arrayBuffers, rss },
        cpuUsPerRequest: (user + system) / Math.max(1, handled - before),
      };
      samples.push(sample);
      say?.(sample);
      if (until > requests * FILLING) continue;
      filled = censusOf(enclave.parts.handler);
      if (Math.round((requests * (at + 1)) / wanted) > requests * FILLING) sayFilled?.(filled);
    }
    const collections = compared(filled, censusOf(enclave.parts.handler));
    const held = flatnessOf(
      samples.map((each) => ({ requests: each.requests, bytes: each.heapUsed + each.external })),
      HELD_ALLOWED,
    );
    const resident =
      requests < RESIDENT_FROM
        ? null
        : flatnessOf(
            samples.map((each) => ({ requests: each.requests, bytes: each.rss })),
            RESIDENT_ALLOWED,
          );
    const problems = Object.keys(CAPS)
      .filter((name) => collections[name] === undefined)
      .map((name) => `${name} has a cap here and is not there: was it renamed?`);
    if (!held.isFlat) problems.push("what is held after collection grows");
    if (resident?.isFlat === false) problems.push("the resident set grows");
    for (const [name, { filled: before, end, cap }] of Object.entries(collections)) {
      if (cap !== null && end > cap) problems.push(`${name} has ${end} entries, its cap is ${cap}`);
      if (cap === null && end - before > MAX_GROWTH) problems.push(`${name} grew from ${before} to ${end} entries`);
    }
    return {
      options: asked,
      seconds: (performance.now() - startedAt) / 1000,
      samples,
      outcomes: Object.fromEntries([...traffic.outcomes].sort()),
      ...{ collections, held, resident, problems },
    };
  } finally {
    await enclave.close();
  }
}

function compared(filled: ReadonlyMap<string, number>, end: ReadonlyMap<string, number>): SoakReport["collections"] {
  const found = [...end].map(([name, size]) => {
    const isOfUsers = name.endsWith("users.#cache.#kept.#entries.#entries");
    const cap = isOfUsers ? Math.floor((64 * 2 ** 20) / MIN_USER_BYTES) : (CAPS[name] ?? null);
    return [name, { filled: filled.get(name) ?? 0, end: size, cap }] as const;
  });
  return Object.fromEntries(found.filter(([, { end: size, filled: before }]) => size > 0 || before > 0));
}

/** The memory of requests is full, or this process stood still for longer than the store has time to answer. */
function isForLater(code: string): boolean {
  return code === "BUSY" || code === "RECORDS_UNAVAILABLE";
}
