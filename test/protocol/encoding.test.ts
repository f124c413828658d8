import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeBase64url, decodeHex, encodeBase32, encodeBase64url, encodeHex } from "../../protocol/index.ts";

// RFC 4648, 10, without padding; the last two use both characters that base64url has of its own.
test.each([
  ["", "", ""],
  ["f", "66", "Zg"],
  ["fo", "666f", "Zm8"],
  ["foo", "666f6f", "Zm9v"],
  ["foob", "666f6f62", "Zm9vYg"],
  ["fooba", "666f6f6261", "Zm9vYmE"],
  ["foobar", "666f6f626172", "Zm9vYmFy"],
  ["\u00fb\u00ff", "fbff", "-_8"],
  ["\u00ff\u00ef", "ffef", "_-8"],
])("%j is %s in hex and %s in base64url", (text, hex, base64url) => {
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  expect(encodeHex(bytes)).toBe(hex);
  expect(decodeHex(hex)).toEqual(bytes);
  expect(decodeHex(hex.toUpperCase())).toEqual(bytes);
  expect(encodeBase64url(bytes)).toBe(base64url);
  expect(decodeBase64url(base64url)).toEqual(bytes);
});

test.each(["0", "0x00", "0g", " 00", "00 ", "00\n", "０0"])("%j is no hex", (text) => {
  expect(() => decodeHex(text)).toThrow(expect.objectContaining({ name: "ProtocolError", code: "MALFORMED_HEX" }));
});

test.each([
  ["padding", "Zg=="],
  ["base64's own characters", "+/8"],
  ["space", "Zg "],
  ["a newline", "Zm8\n"],
  ["another script", "Zm8é"],
  ["a character outside the BMP", "Zm8😀"],
  ["one character over", "Z"],
  ["five characters", "Zm9vZ"],
  ["bits that no byte uses", "Zh"],
  ["bits that no byte uses, of three", "Zm9"],
])("base64url with %s is refused", (_name, text) => {
  expect(() => decodeBase64url(text)).toThrow(
    expect.objectContaining({ name: "ProtocolError", code: "MALFORMED_BASE64URL" }),
  );
});

test("both agree with Node's on any bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(encodeHex(bytes)).toBe(Buffer.from(bytes).toString("hex"));
      expect(encodeBase64url(bytes)).toBe(Buffer.from(bytes).toString("base64url"));
      expect(decodeHex(encodeHex(bytes))).toEqual(bytes);
      expect(decodeBase64url(encodeBase64url(bytes))).toEqual(bytes);
    }),
  );
});

test("of all texts of one value only one decodes", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(..."AQgwZm8-_="), maxLength: 8 }), (text) => {
      let bytes: Uint8Array;
      try {
        bytes = decodeBase64url(text);
      } catch {
        return;
      }
      expect(encodeBase64url(bytes)).toBe(text);
    }),
  );
});

describe("base32", () => {
  test.each([
    ["", ""],
    ["f", "MY"],
    ["fo", "MZXQ"],
    ["foo", "MZXW6"],
    ["foob", "MZXW6YQ"],
    ["fooba", "MZXW6YTB"],
    ["foobar", "MZXW6YTBOI"],
  ])("RFC 4648, section 10: %j", (text, encoded) => {
    expect(encodeBase32(Buffer.from(text))).toBe(encoded);
  });

  test("reads back as the same bits", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const bits = [...encodeBase32(bytes)]
          .map((digit) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(digit).toString(2).padStart(5, "0"))
          .join("");
        const expected = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
        return bits.startsWith(expected) && /^0{0,4}$/.test(bits.slice(expected.length));
      }),
    );
  });
});
