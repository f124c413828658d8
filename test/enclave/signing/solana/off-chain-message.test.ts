/** Off-chain messages against Kit, and texts against all that Kit compiles: no text is a transaction. */
import {
  type Address,
  compileOffchainMessageV0Envelope,
  getBase58Encoder,
  isOffchainMessageContentRestrictedAsciiOf1232BytesMax,
  type OffchainMessageV0,
} from "@solana/kit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkSigner, parseTextMessage } from "../../../../enclave/signing/solana/off-chain-message.ts";
import { keyOf, makeTransaction, named } from "../../../support/solana.ts";

const [alice, bob] = [keyOf("alice"), keyOf("bob")];
const DOMAIN = named("application");

/** As Kit writes it: 0 restricted ASCII, 1 UTF-8, 2 UTF-8 that no hardware wallet shows. */
function compile(text: string, format: 0 | 1 | 2, signers: readonly Address[]): Uint8Array {
  const message = {
    ...{ version: 0, applicationDomain: DOMAIN, content: { format, text } },
    requiredSignatories: signers.map((address) => ({ address })),
  } as unknown as OffchainMessageV0;
  return Uint8Array.from(compileOffchainMessageV0Envelope(message).content);
}

const texts = fc.string({ unit: "grapheme", minLength: 1, maxLength: 200 });
const names = fc.uniqueArray(fc.string(), { minLength: 1, maxLength: 5 });

test("what Kit compiles is read as it was written", () => {
  fc.assert(
    fc.property(texts, names, (text, signers) => {
      const isAscii = isOffchainMessageContentRestrictedAsciiOf1232BytesMax({ format: 0, text });
      for (const format of isAscii ? ([0, 1, 2] as const) : ([1, 2] as const)) {
        const parsed = parseTextMessage(compile(text, format, signers.map(named)));
        expect(new TextDecoder().decode(parsed.text)).toBe(text);
        expect(parsed).toMatchObject({ form: "off-chain", applicationDomain: DOMAIN });
        expect(parsed.signers?.map((signer) => [...signer])).toEqual(
          signers.map((name) => [...getBase58Encoder().encode(named(name))]),
        );
      }
    }),
  );
});

test("NOT_A_SIGNER for an account that an off-chain message does not name; a text names nobody", () => {
  const forAlice = parseTextMessage(compile("hello", 0, [named("carol"), alice.address]));
  expect(() => checkSigner(forAlice, alice.publicKey)).not.toThrow();
  expect(() => checkSigner(forAlice, bob.publicKey)).toThrow(expect.objectContaining({ code: "NOT_A_SIGNER" }));
  expect(() => checkSigner(parseTextMessage(Buffer.from("hello")), bob.publicKey)).not.toThrow();
});

test("an off-chain message has these bytes", () => {
  const bytes = compile("Hi ✓", 1, [alice.address]);
  const head = Buffer.concat([
    Buffer.from("ff736f6c616e61206f6666636861696e00", "hex"),
    Uint8Array.from(getBase58Encoder().encode(DOMAIN)),
  ]);
  const text = Buffer.from("Hi ✓");
  const whole = Buffer.concat([head, Uint8Array.of(1, 1), alice.publicKey, Uint8Array.of(text.length, 0), text]);
  expect(Buffer.from(bytes)).toEqual(whole);
  expect(parseTextMessage(whole).text).toEqual(text);
});

const malformed = (bytes: Uint8Array) =>
  expect(() => parseTextMessage(bytes)).toThrow(expect.objectContaining({ code: "MESSAGE_MALFORMED" }));

describe("MESSAGE_MALFORMED, off-chain", () => {
  const good = compile("hello", 0, [alice.address]);
  const edit = (at: number, byte: number) => Uint8Array.from(good).with(at, byte);
  const LENGTH_AT = 16 + 1 + 32 + 1 + 1 + 32;

  test.each<[string, Uint8Array]>([
    ["another domain", edit(15, 0x6f)],
    ["version 1", edit(16, 1)],
    ["format 3", edit(49, 3)],
    ["nobody to sign", edit(50, 0)],
    ["more signers than there are", edit(50, 2)],
    ["a greater length", edit(LENGTH_AT, 6)],
    ["a smaller length", edit(LENGTH_AT, 4)],
    ["a length in the other order", edit(LENGTH_AT, 0).with(LENGTH_AT + 1, 5)],
    ["a byte at the end", Buffer.concat([good, Buffer.from("!")])],
    ["a signer twice", Buffer.concat([edit(50, 2).subarray(0, LENGTH_AT), good.subarray(51)])],
    ["no text", edit(LENGTH_AT, 0).subarray(0, LENGTH_AT + 2)],
    ["a line feed in restricted ASCII", edit(LENGTH_AT + 2, 0x0a)],
    ["0x7f in restricted ASCII", edit(LENGTH_AT + 2, 0x7f)],
    ["UTF-8 that is none", edit(49, 1).with(LENGTH_AT + 2, 0xc3)],
  ])("%s", (_what, bytes) => malformed(bytes));

  test("every one that was cut", () => {
    for (let length = 1; length < good.length; length += 1) malformed(good.subarray(0, length));
  });

  // The head is 85 bytes where one account signs.
  test.each([
    [0, 1232 - 85],
    [1, 1232 - 85],
    [2, 65_535],
  ] as const)("in format %d over %d bytes of text, and not those", (format, most) => {
    const bytes = compile("a".repeat(most), format, [alice.address]);
    expect(parseTextMessage(bytes).text).toHaveLength(most);
    if (format === 2) return;
    expect(() => compile("a".repeat(most + 1), format, [alice.address])).toThrow("allowable");
    const longer = Buffer.concat([bytes, Buffer.from("a")]);
    longer.writeUInt16LE(most + 1, LENGTH_AT);
    malformed(longer);
    longer[49] = 2;
    expect(parseTextMessage(longer).text).toHaveLength(most + 1);
  });
});

describe("a text", () => {
  test.each(["hello", "example.com wants you to sign in\n\nNonce: 1", " ", "~", "é", "✓", "\u{1F600}"])(
    "%j is one",
    (text) => {
      const bytes = Buffer.from(text);
      expect(parseTextMessage(bytes)).toEqual({ form: "text", text: bytes, applicationDomain: null, signers: null });
    },
  );

  test.each<[string, Uint8Array]>([
    ["nothing", new Uint8Array()],
    ["a line feed first", Buffer.from("\nhello")],
    ["NUL first", Buffer.from("\0hello")],
    ["0x7f first", Buffer.from("\x7fhello")],
    ["0x80 first", Uint8Array.of(0x80, 0x41)],
    ["no UTF-8", Uint8Array.of(0x41, 0xc3)],
    ["a surrogate", Uint8Array.of(0x41, 0xed, 0xa0, 0x80)],
    ["an overlong form", Uint8Array.of(0x41, 0xc0, 0x80)],
  ])("MESSAGE_MALFORMED for %s", (_what, bytes) => malformed(bytes));

  test("no message of a transaction is one, nor a transaction as it travels", () => {
    const bytes = fc.uint8Array({ maxLength: 100 });
    const signers = fc.uniqueArray(fc.string(), { maxLength: 18 });
    fc.assert(
      fc.property(bytes, signers, fc.constantFrom("legacy" as const, 0 as const), (data, others, version) => {
        const accounts = others.map((name) => ({ address: named(name), role: 2 as const }));
        const instruction = { programAddress: named("the program"), accounts, data };
        const { message, wire } = makeTransaction([instruction], { feePayer: alice.address, version });
        malformed(message);
        malformed(wire);
      }),
    );
  });

  test("whose every byte but the first could be chosen is still none, whatever the count of signatures", () => {
    // 19 signatures of 64 bytes fill a packet.
    for (let count = 0; count < 0x20; count += 1)
      malformed(Buffer.from(`${String.fromCharCode(count)}${"a".repeat(300)}`));
    for (let version = 0; version < 66; version += 1) {
      malformed(Buffer.concat([Uint8Array.of(0x80 | version), Buffer.from("a".repeat(300))]));
    }
  });
});
