/** What the tests of key policies have in common. */
import fc from "fast-check";
import type { KeyPolicyParameters, PcrValues } from "../../kms-policy/index.ts";

export const ACCOUNT = "111122223333";
export const ROLE = `arn:aws:iam::${ACCOUNT}:role/cloister-parent`;
export const BREAK_GLASS = `arn:aws:iam::${ACCOUNT}:role/cloister-break-glass`;
export const ADMINISTRATOR = `arn:aws:iam::${ACCOUNT}:role/operations`;
export const STRANGER = `arn:aws:iam::${ACCOUNT}:role/stranger`;
export const ROOT = `arn:aws:iam::${ACCOUNT}:root`;
export const KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab";

export const PRINCIPALS = {
  accountId: ACCOUNT,
  roleArn: ROLE,
  administratorArns: [ADMINISTRATOR],
  breakGlassRoleArn: BREAK_GLASS,
} as const;

/** 96 hex digits of one value. */
export const hex = (byte: number): string => byte.toString(16).padStart(2, "0").repeat(48);

export function pcrs(values: Readonly<Record<number, number>>): PcrValues {
  return new Map(Object.entries(values).map(([index, byte]) => [Number(index), hex(byte)]));
}

export function bytesOf(values: PcrValues): ReadonlyMap<number, Uint8Array> {
  return new Map([...values].map(([index, value]) => [index, new Uint8Array(Buffer.from(value, "hex"))]));
}

export const ONE_IMAGE: KeyPolicyParameters = { ...PRINCIPALS, pcrSets: [pcrs({ 0: 0xaa })] };

const VALUE = fc.integer({ min: 1, max: 3 });

/** Few values, so that sets and documents meet often. */
const anySet: fc.Arbitrary<PcrValues> = fc
  .tuple(
    fc.oneof(fc.record({ 0: VALUE }), fc.record({ 8: VALUE, 3: VALUE })),
    fc.dictionary(fc.constantFrom("1", "3", "4"), VALUE, { maxKeys: 1 }),
  )
  .map(([identity, more]) => pcrs({ ...more, ...identity }));

export const anySets = fc.array(anySet, { minLength: 1, maxLength: 3 });

/** What a real document shows: values, zeros (a debug enclave) or, where KMS knows no such key, nothing. */
export const anyDocument: fc.Arbitrary<PcrValues | null> = fc.option(
  fc.dictionary(fc.constantFrom("0", "1", "3", "4", "8"), fc.integer({ min: 0, max: 4 })).map(pcrs),
  { freq: 10 },
);

/** The rule that policies must come to. */
export function matchesSome(document: PcrValues | null, sets: readonly PcrValues[]): boolean {
  if (document === null) return false;
  return sets.some((set) => [...set].every(([index, value]) => document.get(index) === value));
}
