/** One value of a request against one value of a policy (IAM User Guide, "Condition operators"). */
import { BlockList, isIP } from "node:net";
import { matchesPieces, type PatternPiece } from "./wildcard.ts";

/** Null: the two cannot be compared, such as a date with what is none. */
type ValueTest = (value: string, wanted: readonly PatternPiece[]) => boolean | null;

export interface ConditionOperator {
  readonly matches: ValueTest;
  /** The condition is met where no value of the policy matches. */
  readonly negated: boolean;
  /** IAM User Guide: "You can use policy variables in string and ARN operators". */
  readonly takesVariables: boolean;
}

export function conditionOperator(name: string): ConditionOperator | undefined {
  return OPERATORS.get(name);
}

const OPERATORS: ReadonlyMap<string, ConditionOperator> = new Map([
  ...pair("StringEquals", "StringNotEquals", equal, true),
  ...pair("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", equalIgnoringCase, true),
  ...pair("StringLike", "StringNotLike", (value, wanted) => matchesPieces(wanted, value), true),
  // IAM User Guide: ArnEquals and ArnLike behave identically.
  ...pair("ArnEquals", "ArnNotEquals", arnLike, true),
  ...pair("ArnLike", "ArnNotLike", arnLike, true),
  ...pair(
    "NumericEquals",
    "NumericNotEquals",
    comparing(numberOf, (a, b) => a === b),
    false,
  ),
  ...one(
    "NumericLessThan",
    comparing(numberOf, (a, b) => a < b),
  ),
  ...one(
    "NumericLessThanEquals",
    comparing(numberOf, (a, b) => a <= b),
  ),
  ...one(
    "NumericGreaterThan",
    comparing(numberOf, (a, b) => a > b),
  ),
  ...one(
    "NumericGreaterThanEquals",
    comparing(numberOf, (a, b) => a >= b),
  ),
  ...pair(
    "DateEquals",
    "DateNotEquals",
    comparing(dateOf, (a, b) => a === b),
    false,
  ),
  ...one(
    "DateLessThan",
    comparing(dateOf, (a, b) => a < b),
  ),
  ...one(
    "DateLessThanEquals",
    comparing(dateOf, (a, b) => a <= b),
  ),
  ...one(
    "DateGreaterThan",
    comparing(dateOf, (a, b) => a > b),
  ),
  ...one(
    "DateGreaterThanEquals",
    comparing(dateOf, (a, b) => a >= b),
  ),
  ...one("Bool", equalIgnoringCase),
  ...pair("IpAddress", "NotIpAddress", inAddressRange, false),
]);

function pair(
  name: string,
  negatedName: string,
  matches: ValueTest,
  takesVariables: boolean,
): [string, ConditionOperator][] {
  return [
    [name, { matches, negated: false, takesVariables }],
    [negatedName, { matches, negated: true, takesVariables }],
  ];
}

function one(name: string, matches: ValueTest): [string, ConditionOperator][] {
  return [[name, { matches, negated: false, takesVariables: false }]];
}

function textOf(wanted: readonly PatternPiece[]): string {
  return wanted.map(({ text }) => text).join("");
}

function equal(value: string, wanted: readonly PatternPiece[]): boolean {
  return value === textOf(wanted);
}

function equalIgnoringCase(value: string, wanted: readonly PatternPiece[]): boolean {
  return value.toLowerCase() === textOf(wanted).toLowerCase();
}

/** IAM User Guide: each of the six colon-delimited parts is checked separately. */
function arnLike(value: string, wanted: readonly PatternPiece[]): boolean | null {
  const patterns = partsOf(wanted);
  if (patterns.length !== 6) return null;
  const parts = partsOf([{ text: value, literal: true }]);
  return parts.length === 6 && patterns.every((pattern, at) => matchesPieces(pattern, textOf(parts[at] ?? [])));
}

function partsOf(pieces: readonly PatternPiece[]): PatternPiece[][] {
  const parts: PatternPiece[][] = [[]];
  for (const { text, literal } of pieces) {
    for (const [index, part] of text.split(":").entries()) {
      // The sixth part, the resource, may hold colons.
      if (index > 0 && parts.length < 6) parts.push([]);
      else if (index > 0) parts.at(-1)?.push({ text: ":", literal: true });
      parts.at(-1)?.push({ text: part, literal });
    }
  }
  return parts;
}

function comparing<Value>(
  read: (text: string) => Value | null,
  compare: (value: Value, wanted: Value) => boolean,
): ValueTest {
  return (value, wanted) => {
    const [left, right] = [read(value), read(textOf(wanted))];
    return left === null || right === null ? null : compare(left, right);
  };
}

function numberOf(text: string): number | null {
  return /^-?[0-9]+(\.[0-9]+)?$/.test(text) ? Number(text) : null;
}

/** A W3C date with its time zone, or Unix time in seconds. */
function dateOf(text: string): number | null {
  if (/^[0-9]{1,12}$/.test(text) && text.length !== 4) return Number(text) * 1000;
  if (!/^[0-9]{4}(-[0-9]{2}(-[0-9]{2}(T[0-9:.]+(Z|[+-][0-9]{2}:?[0-9]{2}))?)?)?$/.test(text)) return null;
  const atMs = Date.parse(text);
  return Number.isNaN(atMs) ? null : atMs;
}

function inAddressRange(value: string, wanted: readonly PatternPiece[]): boolean | null {
  const [, address = "", bits] = /^([0-9A-Fa-f:.]+)(?:\/([0-9]{1,3}))?$/.exec(textOf(wanted)) ?? [];
  const version = isIP(address);
  const longest = version === 4 ? 32 : 128;
  const prefix = bits === undefined ? longest : Number(bits);
  const valueVersion = isIP(value);
  if (version === 0 || valueVersion === 0 || prefix > longest) return null;
  const range = new BlockList();
  range.addSubnet(address, prefix, version === 4 ? "ipv4" : "ipv6");
  return range.check(value, valueVersion === 4 ? "ipv4" : "ipv6");
}
