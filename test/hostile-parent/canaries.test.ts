/** A search that never found anything would prove nothing: here it finds what was hidden for it. */
import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { Canaries } from "./random-run/canaries.ts";

const secret = randomBytes(32);
const canaries = new Canaries();
canaries.addBytes("key", secret);
canaries.addText("token", "eyJhbGciOiJSUzI1NiJ9.payload.signature");
for (let other = 0; other < 500; other += 1) canaries.addBytes(`other ${other}`, randomBytes(32));

const among = (needle: Uint8Array | string, lead = 3) =>
  Buffer.concat([randomBytes(1000 + lead), Buffer.from(needle), randomBytes(1000)]);

describe("finds a secret", () => {
  test.each<[string, Uint8Array | string]>([
    ["raw", secret],
    ["raw, its first half", secret.subarray(0, 16)],
    ["raw, its second half", secret.subarray(16)],
    ["reversed", Buffer.from(secret).reverse()],
    ["hex", secret.toString("hex")],
    ["upper-case hex", secret.toString("hex").toUpperCase()],
    ["hex, cut as a log cuts", secret.toString("hex").slice(0, 40)],
    ["base64", secret.toString("base64")],
    ["base64url", secret.toString("base64url")],
    ["base64 of more than it, one byte on", Buffer.concat([randomBytes(1), secret, randomBytes(9)]).toString("base64")],
    [
      "base64 of more than it, two bytes on",
      Buffer.concat([randomBytes(2), secret, randomBytes(9)]).toString("base64"),
    ],
    ["base64url of more than it", Buffer.concat([randomBytes(4), secret, randomBytes(1)]).toString("base64url")],
    ["JSON of its bytes", JSON.stringify({ ...new Uint8Array(0), data: [...secret] })],
    ["decimal", BigInt(`0x${secret.toString("hex")}`).toString()],
  ])("%s", (_name, hidden) => {
    for (const lead of [0, 1, 2, 3]) {
      expect(new Set(canaries.search("here", among(hidden, lead)).map(({ name }) => name))).toEqual(new Set(["key"]));
    }
  });

  test("that is text, itself and encoded again", () => {
    const token = "eyJhbGciOiJSUzI1NiJ9.payload.signature";
    for (const hidden of [token, Buffer.from(token).toString("base64"), Buffer.from(token).toString("hex")]) {
      expect(canaries.search("log", among(hidden))).toContainEqual(expect.objectContaining({ name: "token" }));
    }
  });

  test("at the very start and end", () => {
    expect(canaries.search("x", secret)).not.toEqual([]);
    expect(canaries.search("x", Buffer.concat([randomBytes(7), secret]))).not.toEqual([]);
  });
});

test("finds nothing where nothing is", () => {
  expect(canaries.search("x", randomBytes(1024 * 1024))).toEqual([]);
  expect(canaries.search("x", new Uint8Array(0))).toEqual([]);
  expect(canaries.count).toBe(502);
});

test("does not take what could be met by chance", () => {
  expect(() => new Canaries().addBytes("short", new Uint8Array(15))).toThrow("15 bytes");
});
