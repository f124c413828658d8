/**
 * How a condition can turn out, in an order in which `all` is the least and `any` the greatest of what is inside.
 *
 * `ABSENT`: this kind has no such fact, which is as good as no, save that its contrary is not certain: what is said of
 * other things' recipients must not let a transaction pass that has none. A rule that allows wants `YES`; one that denies
 * holds from `UNSURE` on.
 */
export const NO = 0;
export const ABSENT = 1;
export const UNSURE = 2;
export const YES = 3;
export type Tri = typeof NO | typeof ABSENT | typeof UNSURE | typeof YES;

export function contraryOf(value: Tri): Tri {
  if (value === YES) return NO;
  return value === NO ? YES : UNSURE;
}

export function least(first: Tri, second: Tri): Tri {
  return first < second ? first : second;
}

export function greatest(first: Tri, second: Tri): Tri {
  return first > second ? first : second;
}

export function triOf(holds: boolean): Tri {
  return holds ? YES : NO;
}
