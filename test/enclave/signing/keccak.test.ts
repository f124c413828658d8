import { createHash } from "node:crypto";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { expect, test } from "vitest";
import { keccak256 } from "../../../enclave/signing/keccak.ts";

test.each<[string, string, string]>([
  ["nothing", "", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"],
  ["abc", "abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"],
  // An ERC-20 log's topic, as every block explorer shows it.
  [
    "an event's signature",
    "Transfer(address,address,uint256)",
    "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
  ],
  // One byte under the rate, the rate of 136, and one over: the padding's three cases.
  ["135 bytes", "a".repeat(135), "34367dc248bbd832f4e3e69dfaac2f92638bd0bbd18f2912ba4ef454919cf446"],
  ["136 bytes", "a".repeat(136), "a6c4d403279fe3e0af03729caada8374b5ca54d8065329a3ebcaeb4b60aa386e"],
  ["137 bytes", "a".repeat(137), "d869f639c7046b4929fc92a4d988a8b22c55fbadb802c0c66ebcd484f1915f39"],
])("the known answer for %s", (_what, text, hash) => {
  expect(Buffer.from(keccak256(Buffer.from(text))).toString("hex")).toBe(hash);
});

test("it is not SHA-3, whose padding differs", () => {
  const sha3 = createHash("sha3-256").update("abc").digest();
  expect(Buffer.compare(sha3, keccak256(Buffer.from("abc")))).not.toBe(0);
});

test("as noble's, at every length over three blocks", () => {
  for (let length = 0; length <= 3 * 136 + 1; length += 1) {
    const bytes = Uint8Array.from({ length }, (_, at) => (at * 31 + length) & 0xff);
    expect(Buffer.from(keccak256(bytes)).toString("hex")).toBe(Buffer.from(keccak_256(bytes)).toString("hex"));
  }
});
