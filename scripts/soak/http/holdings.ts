/** What a process answers, as one line of JSON. */
export interface Holdings {
  /** After collection. */
  readonly heapUsed: number;
  readonly external: number;
  readonly arrayBuffers: number;
  readonly rss: number;
  /** Since it began, of all its threads. */
  readonly cpuUs: number;
  /** What keeps its event loop alive, by kind. */
  readonly resources: Readonly<Record<string, number>>;
  /** Objects on the heap, whoever holds them; only where they were asked for: it takes a walk through the heap for each. */
  readonly objects: Readonly<Record<string, number>>;
}

/** Environment variable: where the soak listens. */
export const PROBE_SOCKET = "CLOISTER_SOAK_PROBE";
