/**
 * Policies: what may be signed. A document is a set of rules, whose order says nothing. Any rule that denies wins; beyond
 * that, every level that has a document (app, user, wallet) must have a rule that allows. Integers are decimal strings.
 */
import { decimal } from "./decimal.ts";
import {
  COLLECTIONS,
  type Collection,
  collectionOf,
  FIELDS,
  type FieldName,
  type FieldOf,
  fieldsOf,
} from "./policy-fields.ts";
import { z } from "./zod.ts";

/** Of a document as JSON: it lies in parts in the records, and fits into a request beside the rest of an app. */
export const MAX_POLICY_BYTES = 192 * 1024;
const MAX_POLICY_RULES = 1000;
/** Conditions in all of a document's rules. */
export const MAX_POLICY_CONDITIONS = 10_000;
/** Functions that conditions name: the selector of each is a hash, taken whenever a document is made ready. */
const MAX_POLICY_CALLS = 1000;
/** A condition inside a condition inside a condition; a body nests 16 deep at most, and this must fit in there. */
const MAX_CONDITION_DEPTH = 4;
/** What a value is held against. */
export const MAX_POLICY_TEXT = 256;
const MAX_LISTED = 1000;
const MAX_WINDOW_S = 366 * 86_400;

const text = z.string().check(z.maxLength(MAX_POLICY_TEXT));
const list = z.array(text).check(z.minLength(1), z.maxLength(MAX_LISTED));
const decimals = z.array(decimal).check(z.minLength(1), z.maxLength(MAX_LISTED));

/** What a value is held against; all that is there must be so. */
export interface ValueTest {
  /** Any of these: addresses in any case, where their chain's form has none of its own. */
  readonly in?: readonly string[];
  readonly startsWith?: string;
  readonly atLeast?: string;
  readonly atMost?: string;
  readonly is?: boolean;
}
export interface UintTest extends Pick<ValueTest, "in" | "atLeast" | "atMost"> {
  readonly field: FieldOf<"uint">;
}
export interface TextTest extends Pick<ValueTest, "in" | "startsWith"> {
  readonly field: FieldOf<"text">;
}
export interface BoolTest {
  readonly field: FieldOf<"bool">;
  readonly is: boolean;
}
/** Of one argument: `0` is the first, `0.1` the second member of a tuple, `2[]` each element of an array. */
export interface ArgTest extends ValueTest {
  readonly arg: string;
  /** Bytes that are a call themselves, such as an account's `execute(address,uint256,bytes)`. */
  readonly call?: CallTest;
}
/** The data is a call of this function: its name with the types of its arguments, such as `transfer(address,uint256)`. */
export interface CallTest {
  readonly call: string;
  readonly args?: readonly ArgTest[];
}
/** A field of an EIP-712 message: `order.maker`, `orders[].amount` for each element. */
export interface TypedTest extends ValueTest {
  readonly typed: string;
}
export type Weekday = (typeof WEEKDAYS)[number];
export type TimeTest =
  /** From the first moment to before the second, by the enclave's clock. */
  | { readonly between: readonly [string, string] }
  /** UTC, from the first to before the second; over midnight where the first is the later. */
  | { readonly timeOfDay: readonly [string, string]; readonly days?: readonly Weekday[] };

export type Condition =
  | UintTest
  | TextTest
  | BoolTest
  | CallTest
  | TypedTest
  | TimeTest
  | { readonly all: readonly Condition[] }
  | { readonly any: readonly Condition[] }
  | { readonly not: Condition }
  /** At least one element of a list. */
  | { readonly some: Collection; readonly is: readonly Condition[] }
  /** All of its elements, and there is one. */
  | { readonly every: Collection; readonly is: readonly Condition[] };

/** As `Date.getUTCDay` counts. */
export const WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] as const;

const isTested = (test: ValueTest) =>
  [test.in, test.startsWith, test.atLeast, test.atMost, test.is].some((each) => each !== undefined);
const tested = z.refine((test) => isTested(test as ValueTest), "holds its value against nothing");
const valueTest = {
  in: z.exactOptional(list),
  startsWith: z.exactOptional(text.check(z.minLength(1))),
  atLeast: z.exactOptional(decimal),
  atMost: z.exactOptional(decimal),
  is: z.exactOptional(z.boolean()),
};

const uintTest = z
  .strictObject({
    ...{ field: z.enum(fieldsOf("uint")), in: z.exactOptional(decimals) },
    ...{ atLeast: valueTest.atLeast, atMost: valueTest.atMost },
  })
  .check(tested);
const textTest = z
  .strictObject({ field: z.enum(fieldsOf("text")), in: valueTest.in, startsWith: valueTest.startsWith })
  .check(tested);
const boolTest = z.strictObject({ field: z.enum(fieldsOf("bool")), is: z.boolean() });

const signature = z
  .string()
  .check(
    z.maxLength(256),
    z.regex(/^[A-Za-z_$][\w$]*\([a-z0-9,()[\]]*\)$/, "expected a signature such as transfer(address,uint256)"),
  );
const argPath = z
  .string()
  .check(
    z.maxLength(64),
    z.regex(/^[0-9]{1,2}(?:\[\])*(?:\.[0-9]{1,2}(?:\[\])*)*$/, "expected a place such as 0 or 1[].0"),
  );
const callTest: z.ZodMiniType<CallTest> = z.lazy(() =>
  z.strictObject({ call: signature, args: z.exactOptional(z.array(argTest).check(z.minLength(1), z.maxLength(32))) }),
) as z.ZodMiniType<CallTest>;
const argTest: z.ZodMiniType<ArgTest> = z
  .strictObject({ arg: argPath, ...valueTest, call: z.exactOptional(callTest) })
  .check(z.refine((test) => isTested(test) || test.call !== undefined, "holds its value against nothing"));
const typedTest = z
  .strictObject({
    typed: z
      .string()
      .check(
        z.maxLength(128),
        z.regex(/^[A-Za-z_$][\w$]*(?:\[\])*(?:\.[A-Za-z_$][\w$]*(?:\[\])*)*$/, "expected a path such as order.maker"),
      ),
    ...valueTest,
  })
  .check(tested);

const moment = z.string().check(
  z.regex(/^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$/, "expected a time such as 2026-01-31T00:00:00Z"),
  z.refine((iso) => isoOf(Date.parse(iso)) === iso, "no such time"),
);
const timeOfDay = z.string().check(z.regex(/^(?:[01][0-9]|2[0-3]):[0-5][0-9]$/, "expected a time such as 08:30"));
const between = z.strictObject({ between: z.tuple([moment, moment]) });
const daily = z.strictObject({
  timeOfDay: z.tuple([timeOfDay, timeOfDay]),
  days: z.exactOptional(z.array(z.enum(WEEKDAYS)).check(z.minLength(1), z.maxLength(7))),
});

const collection = z.enum(Object.keys(COLLECTIONS) as [Collection, ...Collection[]]);
const FIELD_TESTS = { uint: uintTest, text: textTest, bool: boolTest } as const;
/** By the member that no other has. Tried one after another, nested lists would be looked through again at each level. */
const SHAPES: ReadonlyMap<string, z.ZodMiniType> = new Map<string, z.ZodMiniType>([
  ["call", callTest],
  ["typed", typedTest],
  ["between", between],
  ["timeOfDay", daily],
  ["all", z.strictObject({ all: z.lazy(() => conditions) })],
  ["any", z.strictObject({ any: z.lazy(() => conditions) })],
  ["not", z.strictObject({ not: z.lazy(() => condition) })],
  ["some", z.strictObject({ some: collection, is: z.lazy(() => conditions) })],
  ["every", z.strictObject({ every: collection, is: z.lazy(() => conditions) })],
]);

function shapeOf(value: object): z.ZodMiniType | undefined {
  if ("field" in value) {
    const { field } = value;
    return typeof field === "string" && Object.hasOwn(FIELDS, field)
      ? FIELD_TESTS[FIELDS[field as FieldName].type]
      : undefined;
  }
  const [name] = Object.keys(value).filter((each) => SHAPES.has(each));
  return name === undefined ? undefined : SHAPES.get(name);
}

type Issues = z.core.$ZodRawIssue[];

/** @param at - Its place in a list. */
function checkCondition(value: unknown, issues: Issues, at: readonly number[]): void {
  const shape = typeof value === "object" && value !== null ? shapeOf(value) : undefined;
  const found = shape?.safeParse(value).error?.issues ?? [];
  const wrong = shape === undefined ? [{ code: "custom", path: [], message: "no such condition" } as const] : found;
  issues.push(...wrong.map((issue) => ({ ...issue, input: value, path: [...at, ...issue.path] }) as Issues[number]));
}

const condition = z
  .unknown()
  .check(({ value, issues }) => checkCondition(value, issues, [])) as z.ZodMiniType<Condition>;
/** No further than the first that is wrong: whoever is refused has not been read to the end. */
const listed = z.array(z.unknown()).check(z.maxLength(64), ({ value, issues }) => {
  for (const [at, each] of value.entries()) {
    if (issues.length > 0) return;
    checkCondition(each, issues, [at]);
  }
}) as unknown as z.ZodMiniType<Condition[]>;
const conditions = listed.check(z.refine((list) => list.length > 0, "no conditions"));

const LIMIT_ASSETS = ["requests", "value", "fee", "token"] as const;
const limit = z
  .strictObject({
    /** `requests` counts; `value` and `fee` are of the chain's own coin; `token` is of one contract or mint. */
    asset: z.enum(LIMIT_ASSETS),
    token: z.exactOptional(text),
    /** In the smallest unit, over the window: this much, and no more. */
    amount: decimal,
    windowS: z.int().check(z.minimum(1), z.maximum(MAX_WINDOW_S)),
    /** What the rule lets through is counted for each wallet by itself, each user, or all of the app together. */
    per: z.enum(["wallet", "user", "app"]),
  })
  .check(
    z.refine(({ asset, token }) => (asset === "token") === (token !== undefined), "a token where none is counted"),
  );
export type Limit = z.output<typeof limit>;

/**
 * `usr_…`, by any of the user's sessions or passkeys; `psk_…`, by that passkey alone; a public key in hex, by the API key
 * that has it; `own-passkey`, by a passkey of the user who asks.
 */
const approver = z
  .string()
  .check(z.regex(/^(?:usr_[0-9a-f]{32}|psk_[0-9a-f]{32}|(?:[0-9a-f]{2}){32,33}|own-passkey)$/, "expected an approver"));
const approvals = z
  .strictObject({
    of: z.array(approver).check(
      z.minLength(1),
      z.maxLength(32),
      z.refine((of) => new Set(of).size === of.length, "an approver twice"),
    ),
    threshold: z.int().check(z.minimum(1)),
    /** How long the request waits. */
    expiresS: z.int().check(z.minimum(1), z.maximum(30 * 86_400)),
  })
  .check(z.refine(({ of, threshold }) => threshold <= of.length, "asks for more approvals than there are approvers"));
export type Approvals = z.output<typeof approvals>;

const ruleId = z
  .string()
  .check(
    z.regex(/^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$/, "expected a name of lower-case letters, digits and hyphens"),
  );
const common = {
  id: ruleId,
  /** For people. */
  note: z.exactOptional(z.string().check(z.maxLength(256))),
  /** All of these; an empty list is always so. */
  when: listed,
};
const rule = z.discriminatedUnion("effect", [
  z.strictObject({ ...common, effect: z.literal("deny") }),
  z.strictObject({
    ...common,
    effect: z.literal("allow"),
    limits: z.exactOptional(z.array(limit).check(z.minLength(1), z.maxLength(8))),
    approvals: z.exactOptional(approvals),
  }),
]);
export type Rule =
  | { readonly id: string; readonly note?: string; readonly when: readonly Condition[]; readonly effect: "deny" }
  | AllowRule;
export interface AllowRule {
  readonly id: string;
  readonly note?: string;
  readonly when: readonly Condition[];
  readonly effect: "allow";
  readonly limits?: readonly Limit[];
  readonly approvals?: Approvals;
}

export interface Policy {
  readonly v: 1;
  readonly rules: readonly Rule[];
}

export const policy = z
  .strictObject({ v: z.literal(1), rules: z.array(rule).check(z.maxLength(MAX_POLICY_RULES)) })
  .check(
    z.refine(({ rules }) => new Set(rules.map(({ id }) => id)).size === rules.length, "two rules of one id"),
    z.refine((document) => encodePolicy(document as Policy).length <= MAX_POLICY_BYTES, "a document of over 192 KiB"),
    z.refine((document) => {
      const { depth, count, calls } = sizeOf((document as Policy).rules.flatMap(({ when }) => when));
      return depth <= MAX_CONDITION_DEPTH && count <= MAX_POLICY_CONDITIONS && calls <= MAX_POLICY_CALLS;
    }, `conditions nested over ${MAX_CONDITION_DEPTH} deep, over ${MAX_POLICY_CONDITIONS} of them, or over ${MAX_POLICY_CALLS} calls`),
    z.refine(
      (document) => (document as Policy).rules.every(({ when }) => when.every((each) => isInPlace(each, null))),
      "a field of a list's elements outside of some or every of that list",
    ),
  ) as unknown as z.ZodMiniType<Policy>;

/** The bytes that are stored and digested. */
export function encodePolicy({ v, rules }: Policy): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify({ v, rules }));
}

/** Conditions directly inside a condition. */
function insideOf(each: Condition): readonly Condition[] {
  if ("all" in each) return each.all;
  if ("any" in each) return each.any;
  if ("not" in each) return [each.not];
  return "some" in each || "every" in each ? each.is : [];
}

interface Size {
  readonly depth: number;
  readonly count: number;
  readonly calls: number;
}

function sizeOf(list: readonly Condition[]): Size {
  let [depth, count, calls] = [0, list.length, 0];
  for (const each of list) {
    const inner = "call" in each ? sizeOfCall(each) : sizeOf(insideOf(each));
    count += inner.count;
    calls += inner.calls;
    depth = Math.max(depth, 1 + inner.depth);
  }
  return { depth, count, calls };
}

/** Its arguments count as conditions, and are no deeper than it. */
function sizeOfCall({ args = [] }: CallTest): Size {
  let [count, calls] = [args.length, 1];
  for (const { call } of args) {
    if (call === undefined) continue;
    const inner = sizeOfCall(call);
    count += inner.count;
    calls += inner.calls;
  }
  return { depth: 0, count, calls };
}

function isInPlace(each: Condition, within: Collection | null): boolean {
  if ("field" in each) return collectionOf(each.field) === within;
  if ("some" in each || "every" in each) {
    const list = "some" in each ? each.some : each.every;
    return within === null && each.is.every((inner) => isInPlace(inner, list));
  }
  const isOfTheWhole = "call" in each || "typed" in each || "between" in each || "timeOfDay" in each;
  return isOfTheWhole ? within === null : insideOf(each).every((inner) => isInPlace(inner, within));
}

function isoOf(ms: number): string {
  return Number.isNaN(ms) ? "" : `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
