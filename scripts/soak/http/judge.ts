/** Whether what was held is flat, by the rule of `flat.ts`, and whether all that callers had opened is closed again. */
import { type Flatness, flatnessOf } from "../flat.ts";
import type { Outcomes } from "./outcomes.ts";
import type { AtRest, Held, HttpSoakReport, HttpSoakSample } from "./run.ts";

const HELD_ALLOWED = { share: 0.03, bytes: 2 ** 20 };
const RESIDENT_ALLOWED = { share: 0.1, bytes: 16 * 2 ** 20 };
/** Of file descriptors while callers are there, who are not always as many. */
const DESCRIPTORS_ALLOWED = { share: 0.2, bytes: 10 };
/** Below it the allocator's own habits are most of what the resident set shows. */
const RESIDENT_FROM = 1_000_000;
/** Of a process's own: such as of a connection to KMS, which may be there or not. What callers leave behind comes by hundreds. */
const SPARE: Readonly<Record<string, number>> = { "objects: timers": 2 };
/** Of all requests: over it nobody can tell what the run shows. */
const MAX_EXCUSED = 0.1;

interface Seen {
  readonly samples: readonly HttpSoakSample[];
  readonly outcomes: Outcomes;
  readonly atRest: { readonly before: AtRest; readonly after: AtRest };
}

export function judged(
  { samples, outcomes, atRest }: Seen,
  requests: number,
): Pick<HttpSoakReport, "flatness" | "problems"> {
  const flatness: Record<string, Flatness> = {};
  const problems: string[] = [];
  const judge = (name: string, of: (sample: HttpSoakSample) => number, allowed: Parameters<typeof flatnessOf>[1]) => {
    const flat = flatnessOf(
      samples.map((sample) => ({ requests: sample.requests, bytes: of(sample) })),
      allowed,
    );
    flatness[name] = flat;
    if (!flat.isFlat) problems.push(`${name} grows`);
  };
  for (const name of ["parent", "enclave", "caller"] as const) {
    judge(
      `${name}: what is held after collection`,
      (sample) => sample[name].heapUsed + sample[name].external,
      HELD_ALLOWED,
    );
    if (requests >= RESIDENT_FROM) judge(`${name}: the resident set`, (sample) => sample[name].rss, RESIDENT_ALLOWED);
  }
  for (const name of ["parent", "enclave"] as const) {
    if (samples.some((sample) => sample[name].descriptors === null)) continue;
    judge(
      `${name}: the number of file descriptors`,
      (sample) => sum(sample[name].descriptors ?? {}),
      DESCRIPTORS_ALLOWED,
    );
  }
  problems.push(...leftOpen(atRest.before, atRest.after));
  if (outcomes.excused > outcomes.total * MAX_EXCUSED) {
    problems.push(`${outcomes.excused} of ${outcomes.total} requests found no room or no answer: too many to tell`);
  }
  return { flatness, problems };
}

/** What there is more of than before, with nobody there. */
export function leftOpen(before: AtRest, after: AtRest): readonly string[] {
  return (["parent", "enclave"] as const).flatMap((name) => {
    const [then, now] = [openOf(before[name]), openOf(after[name])];
    return Object.entries(now)
      .filter(([what, count]) => count > (then[what] ?? 0) + (SPARE[what] ?? 0))
      .map(([what, count]) => `${name}: ${count} ${what}, ${then[what] ?? 0} before anybody came`);
  });
}

function openOf({ objects, resources, descriptors }: Held): Readonly<Record<string, number>> {
  return Object.fromEntries([
    ...Object.entries(objects).map(([kind, count]) => [`objects: ${kind}`, count] as const),
    ...Object.entries(resources).map(([kind, count]) => [`of ${kind}`, count] as const),
    ...Object.entries(descriptors ?? {}).map(([kind, count]) => [`file descriptors on ${kind}`, count] as const),
  ]);
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
