/** A value held against what a condition says of it. */
import { encodeHex, type ValueTest } from "../../protocol/index.ts";
import { UNKNOWN, type Value } from "./fields.ts";
import { ABSENT, greatest, least, NO, type Tri, triOf, UNSURE, YES } from "./tri.ts";

/** Longer than all hex and bech32 that is named: signatures. Of a message of many kilobytes no rule asks in any case. */
const MAX_ANY_CASE = 132;

export type Matcher = (value: Value | Uint8Array) => Tri;

/** With everything in the test made ready once: it is asked for every signature. */
export function matcherOf(test: ValueTest): Matcher {
  const texts = test.in === undefined ? null : new Set(test.in.map(normalized));
  const integers = test.in === undefined ? null : new Set(test.in.filter(isInteger).map(BigInt));
  const atLeast = test.atLeast === undefined ? null : BigInt(test.atLeast);
  const atMost = test.atMost === undefined ? null : BigInt(test.atMost);
  const isBounded = atLeast !== null || atMost !== null;
  const { startsWith = null, is = null } = test;
  const anyCaseStart = normalized(startsWith ?? "");
  const longest = Math.max(...[startsWith ?? "", ...(test.in ?? [])].map(({ length }) => length));

  const ofText = (value: string): Tri => {
    // A condition on another type than the value's cannot be judged.
    if (isBounded || is !== null) return UNSURE;
    if (texts !== null && !texts.has(normalized(value))) return NO;
    return triOf(startsWith === null || value.startsWith(startsWith) || normalized(value).startsWith(anyCaseStart));
  };
  /** As text in hex, of which no more is written than is asked for: of many kilobytes that would cost, for each condition. */
  const ofBytes = (value: Uint8Array): Tri => ofText(`0x${encodeHex(value.subarray(0, longest))}`);
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
    if (value instanceof Uint8Array) return ofBytes(value);
    return oneOf(value.map(ofText));
  };
}

/** It is one of these, and cannot be told which. */
function oneOf(each: readonly Tri[]): Tri {
  const low = each.reduce(least, YES);
  const high = each.reduce(greatest, NO);
  return low === high ? low : UNSURE;
}

/** What is one thing in any case: hex, in which EIP-55's checksum says nothing more, and bech32. */
export function normalized(text: string): string {
  if (text.length > MAX_ANY_CASE) return text;
  return /^0x[0-9a-f]*$/i.test(text) || /^(?:bc|tb)1[0-9a-z]*$/i.test(text) ? text.toLowerCase() : text;
}

function isInteger(text: string): boolean {
  return /^[0-9]+$/.test(text);
}
