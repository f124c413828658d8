/** How the parent of a random run misbehaves: everything, everywhere, now and then. */
import { CREDENTIALS_PORT, EGRESS_PORT, LOG_PORT, RECORDS_PORT, REQUEST_PORT } from "../../../protocol/index.ts";
import type { Misdeed, Rule, Script } from "../../../simulator/hostile-parent/script.ts";

/** What only disturbs: bytes come late, twice, in another order, in pieces, or not at all, and none is changed. */
const DISTURBING: readonly Misdeed[] = [
  { kind: "drop" },
  { kind: "delay", ms: [1, 150] },
  { kind: "duplicate", copies: 1 },
  { kind: "reorder", past: 3 },
  { kind: "truncate", by: "end" },
  { kind: "truncate", by: "cut" },
  { kind: "split", size: "one-byte" },
  { kind: "split", size: "31-to-33-KiB" },
  { kind: "split", size: "random" },
  { kind: "silence", ms: 700 },
  { kind: "cut" },
];

/** What changes and invents. */
const LYING: readonly Misdeed[] = [
  { kind: "flip", bits: 1, where: "payload" },
  { kind: "flip", bits: 3, where: "payload" },
  { kind: "flip", bits: 2, where: "anywhere" },
  { kind: "replace", with: "garbage" },
  { kind: "replace", with: "huge-length" },
  { kind: "replace", with: "zero-length" },
  { kind: "replace", with: { message: { id: 1, kind: "failed" } } },
  { kind: "replay", place: "instead", id: "own" },
  { kind: "replay", place: "instead", id: "adopted" },
  { kind: "replay", place: "before", id: "own" },
  { kind: "replay", place: "before", id: "adopted" },
  { kind: "answer-twice" },
  { kind: "swap-ids" },
];

const READS = ["get", "list"];
const ANSWERS_TO_READS = ["record", "records"];

/** About this part of all units meets a misdeed. */
const PART = 0.1;

function each(where: Omit<Rule, "misdeed" | "probability">, misdeeds: readonly Misdeed[], part = PART): Rule[] {
  return misdeeds.map((misdeed) => ({ ...where, misdeed, probability: part / misdeeds.length }));
}

/**
 * The parent lies about all that it says and does, save one thing: what it acknowledges as written it has written. One
 * that destroys its own store destroys the service, which nothing inside can prevent ({@link vandalScript}).
 */
export function randomScript(seed: string): Script {
  return {
    seed,
    rules: [
      ...each({ port: [REQUEST_PORT, CREDENTIALS_PORT, LOG_PORT] }, [...DISTURBING, ...LYING]),
      // Little passes there in a run: an issuer's keys, once in a while.
      ...each({ port: EGRESS_PORT }, [...DISTURBING, ...LYING], 4 * PART),
      ...each({ port: RECORDS_PORT, of: [...READS, ...ANSWERS_TO_READS] }, [...DISTURBING, ...LYING]),
      ...each({ port: RECORDS_PORT }, DISTURBING),
    ],
  };
}

/** The same, and it destroys: writes change on their way, and are acknowledged whether or not they were made. */
export function vandalScript(seed: string): Script {
  return { seed, rules: each({}, [...DISTURBING, ...LYING], 2 * PART) };
}
