import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeRequest, encodeRequest } from "../../protocol/index.ts";
import { envelope } from "../../protocol/request.ts";

const REQUEST = {
  operation: "sign_message",
  audience: "prod-eu/app_1",
  requestId: "0f8fad5b-d9cb-469f-a165-70867728950e",
  issuedAtMs: 1_790_000_000_000,
  params: { walletId: "w_1", message: "0x00" },
};
const GOLDEN =
  '{"operation":"sign_message","audience":"prod-eu/app_1","requestId":"0f8fad5b-d9cb-469f-a165-70867728950e",' +
  '"issuedAtMs":1790000000000,"params":{"walletId":"w_1","message":"0x00"}}';

const utf8 = (text: string) => new TextEncoder().encode(text);
const decode = (more: object) => decodeRequest(utf8(JSON.stringify({ ...REQUEST, ...more })));

test("has fixed bytes, whatever the order of the fields given", () => {
  const { operation, ...rest } = REQUEST;
  expect(new TextDecoder().decode(encodeRequest({ ...rest, operation }))).toBe(GOLDEN);
  expect(decodeRequest(utf8(GOLDEN))).toEqual(REQUEST);
});

test("a one-time password stands last, from 1 to 32 characters, and nowhere unless it is given", () => {
  const withFactor = { ...REQUEST, secondFactor: "123456" };
  expect(new TextDecoder().decode(encodeRequest(withFactor))).toBe(`${GOLDEN.slice(0, -1)},"secondFactor":"123456"}`);
  expect(decodeRequest(encodeRequest(withFactor))).toEqual(withFactor);
  expect(decode({ secondFactor: "A".repeat(32) }).secondFactor).toHaveLength(32);
  for (const secondFactor of ["", "A".repeat(33), 123_456, null]) expect(() => decode({ secondFactor })).toThrow();
});

test("takes the fields in any order and leaves params to their operation", () => {
  const { params, ...rest } = REQUEST;
  expect(decodeRequest(utf8(JSON.stringify({ params, ...rest })))).toEqual(REQUEST);
  for (const any of [null, 1, "x", [], { deep: [{}] }]) expect(decode({ params: any }).params).toEqual(any);
});

test.each([
  ["no operation", { operation: undefined }, "operation: expected string"],
  ["an operation of 65 characters", { operation: "o".repeat(65) }, "operation: at most 64"],
  ["an audience of 257 characters", { audience: "a".repeat(257) }, "audience: at most 256"],
  ["an audience that is null", { audience: null }, "audience: expected string"],
  ["no params", { params: undefined }, "params: missing"],
  ["a request id in upper case", { requestId: REQUEST.requestId.toUpperCase() }, "requestId"],
  ["a request id in braces", { requestId: `{${REQUEST.requestId}}` }, "requestId"],
  ["a request id and a newline", { requestId: `${REQUEST.requestId}\n` }, "requestId"],
  ["a time as text", { issuedAtMs: "1790000000000" }, "issuedAtMs: expected"],
  ["a time before 1970", { issuedAtMs: -1 }, "issuedAtMs: at least 0"],
  ["an unknown field", { nonce: "x" }, "body: has a field"],
])("refuses %s and says where", (_name, more, message) => {
  const refusal = expect.objectContaining({ name: "ProtocolError", code: "MALFORMED_MESSAGE" });
  expect(() => decode(more)).toThrow(refusal);
  expect(() => decode(more)).toThrow(message);
});

test.each([
  ["no JSON", "hello"],
  ["a duplicate field", GOLDEN.replace("{", '{"audience":"other",')],
  ["a fraction of a millisecond", GOLDEN.replace("1790000000000", "1790000000000.5")],
])("refuses %s as JSON already", (_name, text) => {
  expect(() => decodeRequest(utf8(text))).toThrow(expect.objectContaining({ code: "MALFORMED_JSON" }));
});

test.each(["[]", "null", '"x"', "{}"])("refuses a body that is %s", (text) => {
  expect(() => decodeRequest(utf8(text))).toThrow(expect.objectContaining({ code: "MALFORMED_MESSAGE" }));
});

test("what is taken without the schema is what the schema takes", () => {
  const odd = fc.constantFrom<unknown>(null, true, -1, 0, 2 ** 53 - 1, "", "x", [], {}, `${REQUEST.requestId}\n`);
  const text = (most: number) => fc.oneof(fc.constantFrom("a".repeat(most), "a".repeat(most + 1), "é😀"), odd);
  const fields = fc.record(
    {
      operation: text(64),
      audience: text(256),
      requestId: fc.oneof(fc.uuid(), fc.constant(REQUEST.requestId.toUpperCase()), odd),
      issuedAtMs: fc.oneof(fc.nat(), odd),
      params: odd,
      secondFactor: fc.oneof(fc.constant("123456"), odd),
      boot: fc.oneof(fc.constant("0123456789abcdef"), odd),
      unknown: odd,
    },
    { requiredKeys: [] },
  );
  let taken = 0;
  fc.assert(
    fc.property(fields, fc.constantFrom("", ...Object.keys(REQUEST)), (given, drop) => {
      const { [drop]: _dropped, ...rest } = REQUEST as Record<string, unknown>;
      for (const json of [
        given,
        { ...REQUEST, ...given },
        { ...rest, boot: given.boot },
        { ...rest, params: given.params },
      ]) {
        const body = JSON.stringify(json);
        const fits = envelope.safeParse(JSON.parse(body));
        if (fits.success) {
          taken += 1;
          expect(decodeRequest(utf8(body))).toEqual(fits.data);
        } else expect(() => decodeRequest(utf8(body))).toThrow(expect.objectContaining({ code: "MALFORMED_MESSAGE" }));
      }
    }),
    { numRuns: 5_000 },
  );
  expect(taken).toBeGreaterThan(200);
});
