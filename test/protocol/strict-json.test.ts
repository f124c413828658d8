import fc from "fast-check";
import { expect, test } from "vitest";
import { type JsonValue, MAX_JSON_DEPTH, parseStrictJson } from "../../protocol/index.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);
const parse = (text: string) => parseStrictJson(utf8(text));
const malformed = expect.objectContaining({ name: "ProtocolError", code: "MALFORMED_JSON" });
const nested = (depth: number, open: string, close: string, inner = "") =>
  open.repeat(depth) + inner + close.repeat(depth);

test.each<[string, JsonValue]>([
  ["null", null],
  ["true", true],
  [" \t\r\n false \n", false],
  ["0", 0],
  ["-7", -7],
  ["9007199254740991", Number.MAX_SAFE_INTEGER],
  ["-9007199254740991", Number.MIN_SAFE_INTEGER],
  ['""', ""],
  ['"\\u0041\\n\\"\\\\\\/é€😀"', 'A\n"\\/é€😀'],
  ['"\\ud83d\\ude00"', "😀"],
  ["[]", []],
  ["{}", {}],
  ["[ 1 , [ ] , { } ]", [1, [], {}]],
  ['{ "a" : { "b" : [ null ] } , "c" : "d" }', { a: { b: [null] }, c: "d" }],
  ['{"constructor":1,"toString":2}', { constructor: 1, toString: 2 } as unknown as JsonValue],
  ['{"":0}', { "": 0 }],
])("reads %s", (text, value) => expect(parse(text)).toEqual(value));

test.each([
  ["nothing", ""],
  ["space alone", "  "],
  ["two values", "1 2"],
  ["text after the value", "{} x"],
  ["a byte order mark", "\ufeff{}"],
  ["another kind of space", "\u00a0{}"],
  ["a form feed", "\f{}"],
  ["a comment", "/**/{}"],
  ["a trailing comma in an array", "[1,]"],
  ["a trailing comma in an object", '{"a":1,}'],
  ["a leading comma", "[,1]"],
  ["no comma", "[1 2]"],
  ["no colon", '{"a" 1}'],
  ["a key without quotes", "{a:1}"],
  ["a key that is a number", "{1:1}"],
  ["single quotes", "{'a':1}"],
  ["no value", '{"a":}'],
  ["an open object", '{"a":1'],
  ["an open array", "[1"],
  ["an open string", '"abc'],
  ["an open escape", '"abc\\'],
  ["the wrong bracket", "[1}"],
  ["a duplicate key", '{"a":1,"a":1}'],
  ["a duplicate key in another spelling", '{"a":1,"\\u0061":1}'],
  ["the key __proto__", '{"__proto__":null}'],
  ["the key __proto__ in another spelling", '{"\\u005f_proto__":null}'],
  ["the key __proto__ further down", '[{"a":{"__proto__":1}}]'],
  ["a high surrogate alone", '"\\ud83d"'],
  ["a low surrogate alone", '"\\ude00"'],
  ["surrogates in the wrong order", '"\\ude00\\ud83d"'],
  ["a surrogate alone in a key", '{"\\ud83d":1}'],
  ["a newline in a string", '"a\nb"'],
  ["a NUL in a string", '"a\u0000b"'],
  ["an unknown escape", '"\\x41"'],
  ["a short escape", '"\\u41"'],
  ["a fraction", "1.0"],
  ["an exponent", "1e3"],
  ["an exponent in upper case", "1E3"],
  ["minus zero", "-0"],
  ["a leading zero", "01"],
  ["a plus", "+1"],
  ["a minus alone", "-"],
  ["hex", "0x10"],
  ["2^53", "9007199254740992"],
  ["-2^53", "-9007199254740992"],
  ["more digits than are looked at", "1".repeat(400)],
  ["a fraction behind many digits", `${"1".repeat(30)}.5`],
  ["NaN", "NaN"],
  ["Infinity", "Infinity"],
  ["undefined", "undefined"],
  ["a word in upper case", "True"],
  ["half a word", "tru"],
  ["a word and more", "truex"],
])("refuses %s", (_name, text) => expect(() => parse(text)).toThrow(malformed));

test.each([
  ["a stray byte", [0x22, 0xff, 0x22]],
  ["an overlong slash", [0x22, 0xc0, 0xaf, 0x22]],
  ["an encoded surrogate", [0x22, 0xed, 0xa0, 0x80, 0x22]],
  ["a cut character", [0x22, 0xe2, 0x82, 0x22]],
  ["UTF-16", [0x7b, 0x00, 0x7d, 0x00]],
])("refuses bytes with %s", (_name, bytes) => expect(() => parseStrictJson(Uint8Array.from(bytes))).toThrow(malformed));

test.each([
  ["arrays", "[", "]", ""],
  ["arrays around a value", "[", "]", "1"],
  ["objects", '{"a":', "}", "{}"],
  ["both", '[{"a":', "}]", "1"],
])("nests %s as deep as the limit and no deeper", (_name, open, close, inner) => {
  const perLevel = open === '[{"a":' ? 2 : 1;
  const levels = (MAX_JSON_DEPTH - (inner === "{}" ? 1 : 0)) / perLevel;
  expect(() => parse(nested(levels, open, close, inner))).not.toThrow();
  expect(() => parse(nested(levels + 1, open, close, inner))).toThrow(malformed);
});

test("refuses a body of nothing but brackets without running out of stack", () => {
  for (const text of ["[".repeat(262_144), '{"a":'.repeat(50_000)]) expect(() => parse(text)).toThrow(malformed);
});

test("an error names the place and never the content", () => {
  expect(() => parse('{"password":"hunter2" x')).toThrow(/^expected a comma or the object's end at offset 22$/);
});

/** JSON as JSON.parse takes it, often just off what is taken here. */
const nearlyJson = fc.oneof(
  fc.json({ maxDepth: 4 }),
  fc.json({ maxDepth: 3, noUnicodeString: false }).map((text) => text.replace(/[,:]/g, " $& ")),
  fc
    .tuple(fc.json({ maxDepth: 3 }), fc.nat(), fc.constantFrom(...'{}[]",:\\019-.eE tn\u0000\ud800'))
    .map(([text, at, unit]) => text.slice(0, at % (text.length + 1)) + unit + text.slice(at % (text.length + 1))),
  fc
    .array(fc.constantFrom("{", "}", "[", "]", ",", ":", '"a"', '"b"', "0", "1", "-", "true", "null", " "))
    .map((all) => all.join("")),
);

test("whatever it takes, JSON.parse takes too and reads the same", () => {
  fc.assert(
    fc.property(nearlyJson, (text) => {
      const bytes = utf8(text);
      let value: JsonValue;
      try {
        value = parseStrictJson(bytes);
      } catch (error) {
        expect(error).toEqual(malformed);
        return;
      }
      expect(value).toEqual(JSON.parse(new TextDecoder().decode(bytes)));
    }),
    { numRuns: 5_000 },
  );
});

test("it takes everything JSON.parse does, but for what it says it refuses", () => {
  const key = fc.string({ unit: "grapheme" }).filter((text) => text !== "__proto__");
  const { value } = fc.letrec<{ value: JsonValue }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      fc.constant(null),
      fc.boolean(),
      fc.maxSafeInteger().map((integer) => integer + 0),
      fc.string({ unit: "grapheme" }),
      fc.array(tie("value"), { maxLength: 5 }),
      fc.dictionary(key, tie("value"), { maxKeys: 5, noNullPrototype: true }),
    ),
  }));
  fc.assert(
    fc.property(value, fc.constantFrom(undefined, 1, "\t"), (any, space) => {
      expect(parse(JSON.stringify(any, null, space))).toEqual(any);
    }),
    { numRuns: 2_000 },
  );
});

/** A space in front has the text read character by character; without one, what the platform wrote itself is read by it. */
test("both ways of reading take the same texts, and read the same", () => {
  const outcome = (text: string) => {
    try {
      return { value: parse(text) };
    } catch (error) {
      return { code: (error as { code?: unknown }).code };
    }
  };
  const key = fc.oneof(
    fc.string({ unit: "binary", maxLength: 4 }),
    fc.constantFrom("__proto__", "a", "1", "01", "toJSON"),
  );
  const { json } = fc.letrec<{ json: unknown }>((tie) => ({
    json: fc.oneof(
      { maxDepth: 6, depthSize: "large" },
      fc.oneof(fc.integer(), fc.double(), fc.maxSafeInteger(), fc.constantFrom(-0, 1e21, 2 ** 53, null, true)),
      fc.string({ unit: "binary" }),
      fc.array(tie("json"), { maxLength: 3 }),
      fc.array(fc.tuple(key, tie("json")), { maxLength: 3 }).map((entries) => Object.fromEntries(entries)),
    ),
  }));
  const pieces = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"',
    "\\",
    "\\u0041",
    "\\ud800",
    "-",
    "0",
    "1e3",
    ".5",
    "true",
    "null",
    " ",
    "\n",
  ];
  pieces.push('"a"', '"a":1', '"__proto__":1', "\ufeff", "\u007f", "\u2028", "\ud83d\ude00");
  const written = json.map((value) => JSON.stringify(value) ?? "null");
  const altered = fc
    .tuple(written, fc.array(fc.tuple(fc.nat(), fc.nat(2), fc.constantFrom(...pieces)), { maxLength: 3 }))
    .map(([text, edits]) =>
      edits.reduce((now, [at, cut, piece]) => {
        const from = at % (now.length + 1);
        return now.slice(0, from) + piece + now.slice(from + cut);
      }, text),
    );
  const made = fc.array(fc.constantFrom(...pieces), { maxLength: 12 }).map((each) => each.join(""));
  const seen = { read: 0, refused: 0 };
  fc.assert(
    fc.property(fc.oneof(written, altered, made), (text) => {
      const plain = outcome(text);
      expect(plain).toStrictEqual(outcome(` ${text}`));
      seen["value" in plain ? "read" : "refused"] += 1;
    }),
    { numRuns: 10_000 },
  );
  // Neither is there for show.
  expect(seen.read).toBeGreaterThan(1_000);
  expect(seen.refused).toBeGreaterThan(1_000);
});

test("depth is counted alike either way", () => {
  for (const depth of [MAX_JSON_DEPTH, MAX_JSON_DEPTH + 1, 100_000]) {
    for (const text of [nested(depth, "[", "]"), nested(depth, '{"a":', "}", "1")]) {
      for (const spelled of [text, ` ${text}`]) {
        if (depth <= MAX_JSON_DEPTH) expect(() => parse(spelled)).not.toThrow();
        else expect(() => parse(spelled)).toThrow(malformed);
      }
    }
  }
});
