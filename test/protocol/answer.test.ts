import { expect, test } from "vitest";
import { decodeAnswer } from "../../protocol/index.ts";

const answer = (json: unknown) => new TextEncoder().encode(JSON.stringify(json));
const error = { code: "POLICY_DENIED", message: "no" };

test.each([
  { requestId: "a", result: { any: [1] } },
  { requestId: "a", result: null },
  { requestId: null, error },
])("reads %j", (json) => expect(decodeAnswer(answer(json))).toEqual(json));

test.each([
  ["neither result nor error", { requestId: "a" }],
  ["both", { requestId: "a", result: 1, error }],
  ["an unknown code", { requestId: "a", error: { ...error, code: "ALL_IS_WELL" } }],
  ["a name of Object.prototype as code", { requestId: "a", error: { ...error, code: "constructor" } }],
  ["no message", { requestId: "a", error: { code: "POLICY_DENIED" } }],
  ["no request id", { result: 1 }],
  ["a field more", { requestId: "a", result: 1, more: 1 }],
  ["a list", []],
])("refuses an answer with %s", (_name, json) => {
  expect(() => decodeAnswer(answer(json))).toThrow(expect.objectContaining({ code: "MALFORMED_MESSAGE" }));
});
