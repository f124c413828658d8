/** How much is asked of a soak over HTTP, by how long it is. */
import type { HttpSoakOptions } from "./run.ts";

/** Some minutes, or hours. */
export const LONG: HttpSoakOptions = {
  requests: 1_000_000,
  samples: 50,
  population: 400,
  apps: 4,
  inFlight: 32,
  walletsPerBatch: 20,
  strangers: 1_000,
  recipients: 1_000,
  creations: 1_000,
  warmUp: 2_000,
  crowds: 20,
  neverReading: { times: 50, callers: 4 },
  restLooks: 180,
};

/** For the tests. */
export const SHORT: HttpSoakOptions = {
  requests: 4_000,
  samples: 11,
  population: 32,
  apps: 2,
  inFlight: 16,
  walletsPerBatch: 5,
  strangers: 20,
  recipients: 50,
  creations: 40,
  warmUp: 300,
  crowds: 1,
  neverReading: { times: 1, callers: 2 },
  restLooks: 60,
};
