import { format, inspect } from "node:util";
import { expect, test } from "vitest";
import { SecretKey } from "../../../enclave/wallets/secret-key.ts";

const BYTE = 0xab;
const bytesOfKey = () => new Uint8Array(32).fill(BYTE);
/** Any spelling of the bytes. */
const LEAK = /ab|171|q6urq|«/i;

test.each<[string, (key: SecretKey) => string]>([
  ["JSON", (key) => JSON.stringify({ key })],
  ["inspect", (key) => inspect({ key }, { depth: null, showHidden: true })],
  ["inspect of the key itself", (key) => inspect(key, { showHidden: true })],
  ["format", (key) => format("%o %O %j %s", key, key, key, key)],
  ["a template", (key) => `${key}`],
  ["concatenation", (key) => String(key)],
  ["a copy of its properties", (key) => JSON.stringify([{ ...key }, Object.entries(key), Reflect.ownKeys(key)])],
])("it is not printed by %s", (_how, print) => {
  expect(print(new SecretKey(bytesOfKey()))).not.toMatch(LEAK);
  // The check can fail: the bytes themselves are recognised.
  expect(LEAK.test(inspect({ key: bytesOfKey() }))).toBe(true);
});

test("it lends its bytes and gives back what the work made of them", () => {
  expect(new SecretKey(bytesOfKey()).use((bytes) => bytes.reduce((sum, byte) => sum + byte, 0))).toBe(32 * BYTE);
});

test("its bytes are zero once it is disposed of, whether the work returned or threw", () => {
  const bytes = bytesOfKey();
  {
    using key = new SecretKey(bytes);
    expect(key.use(([first]) => first)).toBe(BYTE);
  }
  expect(bytes).toEqual(new Uint8Array(32));

  const others = bytesOfKey();
  expect(() => {
    using key = new SecretKey(others);
    key.use(() => {
      throw new Error("the work failed");
    });
  }).toThrow("the work failed");
  expect(others).toEqual(new Uint8Array(32));
});
