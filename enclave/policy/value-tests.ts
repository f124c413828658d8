/** A value held against what a condition says of it. */
import { encodeHex, MAX_POLICY_TEXT, type ValueTest } from "../../protocol/index.ts";
import { UNKNOWN, type Value } from "./fields.ts";
import { ABSENT, greatest, least, NO, type Tri, triOf, UNSURE, YES } from "./tri.ts";

export type Matcher = (value: Value | Uint8Array) => Tri;

/** With everything in the test made ready once: it is asked for every signature. */
export function matcherOf(test: ValueTest): Matcher {
  const texts = test.in === undefined ? null : new Set(test.in.map(normalized));
  const integers = test.in === undefined ? null : new Set(test.in.filter(isInteger).map(BigInt));
  const atLeast = test.atLeast === undefined ? null : BigInt(test.atLeast);
  const atMost = test.atMost === undefined ? null : BigInt(test.atMost);
  const isBounded = atLeast !== null || atMost !== null;
  const { startsWith = null, is = null } = test;
  const caseless = startsWith?.toLowerCase() ?? null;

  const ofText = (value: string): Tri => {
    // A condition on another type than the value's cannot be judged.
    if (isBounded || is !== null) return UNSURE;
    // No condition is longer than that, and whoever asks chooses how long the value is.
    const head = value.slice(0, MAX_POLICY_TEXT);
    if (texts !== null && (value.length > head.length || !texts.has(normalized(head)))) return NO;
    if (startsWith === null || caseless === null) return YES;
    return triOf(isCaseless(head) ? head.toLowerCase().startsWith(caseless) : head.startsWith(startsWith));
  };
  const ofInteger = (value: bigint): Tri => {
    if (startsWith !== null || is !== null) return UNSURE;
    if (integers !== null && !integers.has(value)) return NO;
    return triOf((atLeast === null || value >= atLeast) && (atMost === null || value <= atMost));
  };
  const ofFlag = (value: boolean): Tri => {
    if (isBounded || startsWith !== null || texts !== null) return UNSURE;
    return triOf(value === is);
  };
  return (value) => {
    if (value === undefined) return ABSENT;
    if (value === null) return NO;
    if (value === UNKNOWN) return UNSURE;
    if (typeof value === "string") return ofText(value);
    if (typeof value === "bigint") return ofInteger(value);
    if (typeof value === "boolean") return ofFlag(value);
    if (value instanceof Uint8Array) return ofText(`0x${encodeHex(value.subarray(0, MAX_POLICY_TEXT / 2))}`);
    return oneOf(value.map(ofText));
  };
}

/** It is one of these, and cannot be told which; or it is all of them. */
export function oneOf(each: readonly Tri[]): Tri {
  const low = each.reduce(least, YES);
  const high = each.reduce(greatest, NO);
  return low === high ? low : UNSURE;
}

/** What has one spelling in any case: EIP-55's checksum, other hex and bech32's upper case say nothing more. */
export function normalized(text: string): string {
  return isCaseless(text) ? text.toLowerCase() : text;
}

function isCaseless(text: string): boolean {
  return /^(?:0x[0-9a-f]*$|(?:bc|tb)1)/i.test(text);
}

function isInteger(text: string): boolean {
  return /^[0-9]+$/.test(text);
}
