/** How much is asked of a soak, by how long it is. */
import type { SoakOptions } from "./run.ts";

/** Caches are at their caps after a fifth, and a minute's window passes every million requests: not much less than is remembered. */
export const LONG: SoakOptions = {
  requests: 10_000_000,
  samples: 50,
  population: 10_000,
  apps: 4,
  msPerRequest: 0.06,
  walletsPerBatch: 50,
  fills: true,
  strangers: 50_000,
  recipients: 1_000_000,
};

/** For the tests: a minute's window passes every two thousand requests, and no more than that fits into what is remembered. */
export const SHORT: SoakOptions = {
  requests: 20_000,
  samples: 40,
  population: 300,
  apps: 4,
  msPerRequest: 30,
  walletsPerBatch: 5,
  fills: false,
  strangers: 50,
  recipients: 100,
};
