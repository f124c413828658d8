import { expect, test } from "vitest";
import { audienceOf, ERROR_CODES, isErrorCode, isOperationName, OPERATIONS } from "../../protocol/index.ts";

const names = ["constructor", "__proto__", "toString", "", "Sign_message"];

test("knows its operations and error codes, and no name of Object.prototype", () => {
  expect(Object.keys(OPERATIONS).every(isOperationName)).toBe(true);
  expect(Object.keys(ERROR_CODES).every(isErrorCode)).toBe(true);
  for (const name of names) expect([isOperationName(name), isErrorCode(name)]).toEqual([false, false]);
});

test("error codes have a status that says who must change: the caller, or time", () => {
  for (const [code, { status, retry }] of Object.entries(ERROR_CODES)) {
    expect([code, status >= 400 && status < 600]).toEqual([code, true]);
    if (retry) expect([code, [409, 429, 503, 504].includes(status)]).toEqual([code, true]);
  }
});

test("an audience is the deployment's, or an app's inside it", () => {
  expect(audienceOf("prod", null)).toBe("prod");
  expect(audienceOf("prod", "app_1")).toBe("prod/app_1");
});
