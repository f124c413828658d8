/**
 * When requests are made. A closed loop has so many callers, each of which waits for its answer before it asks again: a
 * service that stalls is asked less, and its stall hides from the figures (coordinated omission). An open loop asks at
 * moments fixed beforehand, as a crowd does that knows nothing of one another, and counts from that moment.
 */
export type Pace =
  | { readonly kind: "closed"; readonly callers: number }
  | { readonly kind: "open"; readonly perSecond: number };

/**
 * The moments of an open loop: a Poisson process, milliseconds from its beginning.
 *
 * @param random - In [0, 1).
 */
export function* arrivals(perSecond: number, random: () => number): Generator<number, never> {
  for (let atMs = 0; ; ) {
    atMs += (-Math.log(1 - random()) / perSecond) * 1000;
    yield atMs;
  }
}

export function describePace(pace: Pace): string {
  return pace.kind === "closed" ? `${pace.callers} in flight` : `${pace.perSecond} a second, whatever the answers`;
}
