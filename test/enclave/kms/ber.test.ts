import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type BerElement, BerError, decodeBer, octets } from "../../../enclave/kms/ber.ts";
import { der } from "../../../simulator/pki/index.ts";
import { fromHex } from "../../support/wycheproof.ts";

describe("decodeBer", () => {
  test.each<[string, string, BerElement]>([
    ["a primitive", "0401ab", { tag: 4, content: Uint8Array.of(0xab), children: [] }],
    ["an empty one", "0500", { tag: 5, content: new Uint8Array(0), children: [] }],
    [
      "a length of one further byte",
      `048180${"00".repeat(128)}`,
      { tag: 4, content: new Uint8Array(128), children: [] },
    ],
    // X.690, 8.1.3.5: BER, unlike DER, lets a length be longer than it needs to be.
    ["a length longer than needed", "04820001ab", { tag: 4, content: Uint8Array.of(0xab), children: [] }],
    ["an empty constructed one", "3000", { tag: 0x30, content: new Uint8Array(0), children: [] }],
    [
      "children",
      "300405000500",
      {
        tag: 0x30,
        content: new Uint8Array(0),
        children: Array(2).fill({ tag: 5, content: new Uint8Array(0), children: [] }),
      },
    ],
    [
      "children until the end of contents",
      "308005000000",
      { tag: 0x30, content: new Uint8Array(0), children: [{ tag: 5, content: new Uint8Array(0), children: [] }] },
    ],
  ])("reads %s", (_what, hex, element) => {
    const read = decodeBer(fromHex(hex));
    expect(JSON.stringify(read)).toBe(JSON.stringify(element));
  });

  test.each<[string, string, RegExp]>([
    ["nothing", "", /ends at byte 0/],
    ["a tag alone", "30", /ends at byte 1/],
    ["a cut length", "3082ff", /ends at byte 3/],
    ["a content over the input's end", "0402ab", /2 bytes, 1 left/],
    ["bytes after the element", "050000", /1 bytes after/],
    ["an end of contents after the element", "05000000", /2 bytes after/],
    ["a tag of several bytes", "1f8100", /tag of more than one byte/],
    ["a constructed tag of several bytes", "3f8100", /tag of more than one byte/],
    ["a primitive of indefinite length", "04800000", /primitive element of indefinite/],
    ["an indefinite length without an end", "30800500", /ends at byte/],
    ["an end of contents with contents", "308000010100", /end-of-contents with contents/],
    ["a length of three bytes", "0483000001ab", /length of 3 bytes/],
    ["the reserved length", "04ff", /length of 127 bytes/],
    ["a child over its parent's end", "300304020000", /over its parent's end/],
    ["an indefinite child over its parent's end", "3004308005000000", /over its parent's end/],
    ["thirteen levels of definite length", nested(13), /deeper than 12/],
    [
      "thirteen levels of indefinite length, the last end among them",
      `${"3080".repeat(13)}${"0000".repeat(13)}`,
      /deeper than 12/,
    ],
  ])("refuses %s", (_what, hex, why) => {
    const bytes = fromHex(hex);
    expect(() => decodeBer(bytes)).toThrow(BerError);
    expect(() => decodeBer(bytes)).toThrow(why);
  });

  test("reads twelve levels below the first", () => {
    expect(() => decodeBer(fromHex(nested(12)))).not.toThrow();
    expect(() => decodeBer(fromHex(`${"3080".repeat(12)}${"0000".repeat(12)}`))).not.toThrow();
  });

  /** Elements inside the outermost. */
  function nested(levels: number): string {
    let hex = "3000";
    for (let level = 0; level < levels; level += 1) hex = Buffer.from(der.element(0x30, fromHex(hex))).toString("hex");
    return hex;
  }

  test("reads any bytes, or refuses them with its own error", () => {
    const anyBytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.array(fc.constantFrom(0x30, 0x80, 0xa0, 0x24, 0x04, 0x00, 0x02, 0x81, 0x82, 0x01), { maxLength: 60 }),
    );
    let read = 0;
    fc.assert(
      fc.property(anyBytes, (bytes) => {
        try {
          decodeBer(Uint8Array.from(bytes));
          read += 1;
        } catch (error) {
          expect(error).toBeInstanceOf(BerError);
        }
      }),
      { numRuns: 3_000 },
    );
    expect(read).toBeGreaterThan(0);
  });
});

describe("octets", () => {
  test("joins the pieces of a string, nested as they may be", () => {
    expect(octets(decodeBer(fromHex("0402abcd")))).toEqual(fromHex("abcd"));
    const pieces = decodeBer(fromHex("24800401ab24030401cd04000401ef0000"));
    expect(Uint8Array.from(octets(pieces))).toEqual(fromHex("abcdef"));
    expect(octets(decodeBer(fromHex("8001ab")), 0x80)).toEqual(fromHex("ab"));
    expect(Uint8Array.from(octets(decodeBer(fromHex("a0030401ab")), 0x80))).toEqual(fromHex("ab"));
    expect(octets(decodeBer(fromHex("2400")))).toHaveLength(0);
  });

  test.each([
    ["another tag", "0201ab"],
    ["a constructed one of another tag", "30030401ab"],
    ["a piece of another tag", "24030201ab"],
    ["a piece under the implicit tag", "24038001ab"],
  ])("refuses %s", (_what, hex) => {
    expect(() => octets(decodeBer(fromHex(hex)))).toThrow(BerError);
  });
});
