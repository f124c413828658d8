import { RLP } from "@ethereumjs/rlp";
import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeRlp, type RlpItem } from "../../../../enclave/signing/evm/rlp.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

// Yellow paper, appendix B, and the examples of ethereum.org.
test.each<[string, RlpItem[], string]>([
  ["an empty list", [], "c0"],
  ["cat and dog", [Buffer.from("cat"), Buffer.from("dog")], "c88363617483646f67"],
  [
    "bytes that stand for themselves, and the first that does not",
    [Uint8Array.of(0), Uint8Array.of(0x7f), Uint8Array.of(0x80)],
    "c4007f8180",
  ],
  ["nothing", [new Uint8Array(0)], "c180"],
  ["lists in lists", [[], [[]], [[], [[]]]], "c7c0c1c0c3c0c1c0"],
])("%s", (_name, items, expected) => expect(hex(encodeRlp(items))).toBe(expected));

test("as @ethereumjs/rlp writes it, at every length of a head", () => {
  for (const length of [0, 1, 2, 54, 55, 56, 57, 254, 255, 256, 257, 65_533, 65_535, 65_536, 70_000]) {
    const item = new Uint8Array(length).fill(0x81);
    for (const items of [[item], [item, [item]], [[item], item]])
      expect(hex(encodeRlp(items))).toBe(hex(RLP.encode(items)));
  }
});

test("as @ethereumjs/rlp writes it, after any prefix", () => {
  const { item } = fc.letrec<{ item: RlpItem }>((tie) => ({
    item: fc.oneof({ maxDepth: 4 }, fc.uint8Array({ maxLength: 70 }), fc.array(tie("item"), { maxLength: 5 })),
  }));
  fc.assert(
    fc.property(fc.array(item, { maxLength: 8 }), fc.array(fc.nat(255), { maxLength: 2 }), (items, prefix) => {
      expect(hex(encodeRlp(items, prefix))).toBe(hex(Uint8Array.from(prefix)) + hex(RLP.encode(items)));
    }),
  );
});
