/** Messages against Kit, which shares no code with what is tested: what it compiles is read here, and read alike. */
import {
  AccountRole,
  type Address,
  getAddressDecoder,
  getCompiledTransactionMessageDecoder,
  getCompiledTransactionMessageEncoder,
  type Instruction,
} from "@solana/kit";
import { getTransferSolInstruction } from "@solana-program/system";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeMessage, parseMessage } from "../../../../enclave/signing/solana/message.ts";
import { RequestError } from "../../../../protocol/index.ts";
import { makeTransaction, named, signing } from "../../../support/solana.ts";

const addresses = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes): Address => getAddressDecoder().decode(bytes));
const roles = fc.constantFrom(
  ...[AccountRole.READONLY, AccountRole.WRITABLE, AccountRole.READONLY_SIGNER, AccountRole.WRITABLE_SIGNER],
);
/** A few addresses in many places, so that accounts are shared. */
const messages = fc
  .record({
    known: fc.uniqueArray(addresses, { minLength: 6, maxLength: 10 }),
    instructions: fc.array(
      fc.record({
        accounts: fc.array(fc.tuple(fc.nat(), roles), { maxLength: 6 }),
        data: fc.uint8Array({ maxLength: 140 }),
        program: fc.nat(1),
      }),
      { maxLength: 5 },
    ),
    version: fc.constantFrom("legacy" as const, 0 as const),
    isTabled: fc.boolean(),
  })
  .map(({ known, instructions, version, isTabled }) => {
    const [feePayer = named("payer"), one = named("one"), other = named("other"), ...accounts] = known;
    const made = instructions.map(
      ({ accounts: chosen, data, program }): Instruction => ({
        programAddress: program === 0 ? one : other,
        accounts: chosen.map(([place, role]) => ({ address: accounts[place % accounts.length] ?? feePayer, role })),
        data,
      }),
    );
    const tables = isTabled ? { [named("table")]: accounts } : undefined;
    return makeTransaction(made, { feePayer, version, ...(tables === undefined ? {} : { tables }) }).message;
  });

function read(bytes: Uint8Array): { accepted: boolean; code?: string } {
  try {
    parseMessage(bytes);
    return { accepted: true };
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    return { accepted: false, code: error.code };
  }
}

test("what Kit compiles is read as Kit reads it, and written anew as the same bytes", () => {
  fc.assert(
    fc.property(messages, (bytes) => {
      const ours = parseMessage(bytes);
      const judged = getCompiledTransactionMessageDecoder().decode(bytes);
      if (judged.version === 1) throw new Error("no such version was made");
      expect(encodeMessage(ours)).toEqual(Buffer.from(bytes));
      expect(ours.version).toBe(judged.version);
      expect([ours.requiredSignatures, ours.readonlySigned, ours.readonlyUnsigned]).toEqual([
        judged.header.numSignerAccounts,
        judged.header.numReadonlySignerAccounts,
        judged.header.numReadonlyNonSignerAccounts,
      ]);
      expect(ours.accountKeys.map((key) => getAddressDecoder().decode(key))).toEqual(judged.staticAccounts);
      expect(getAddressDecoder().decode(ours.recentBlockhash)).toBe(judged.lifetimeToken);
      expect(ours.instructions.map(plain)).toEqual(
        judged.instructions.map(({ programAddressIndex, accountIndices = [], data = new Uint8Array() }) => ({
          ...{ program: programAddressIndex, accounts: [...accountIndices], data: [...data] },
        })),
      );
      const lookups = judged.version === 0 ? (judged.addressTableLookups ?? []) : [];
      expect(
        ours.tableLookups.map(({ table, writableIndexes, readonlyIndexes }) => ({
          lookupTableAddress: getAddressDecoder().decode(table),
          ...{ writableIndexes: [...writableIndexes], readonlyIndexes: [...readonlyIndexes] },
        })),
      ).toEqual(lookups.map((lookup) => ({ ...lookup })));
    }),
  );
});

function plain(instruction: { programIndex: number; accountIndexes: Uint8Array; data: Uint8Array }) {
  const { programIndex, accountIndexes, data } = instruction;
  return { program: programIndex, accounts: [...accountIndexes], data: [...data] };
}

test("bytes that were changed, cut or added to are refused with a code, or are another message that Kit reads alike", () => {
  const edits = fc.oneof(
    fc.record({ kind: fc.constant("set" as const), at: fc.nat(), byte: fc.nat(255) }),
    fc.record({ kind: fc.constant("cut" as const), at: fc.nat(), byte: fc.nat(255) }),
    fc.record({ kind: fc.constant("insert" as const), at: fc.nat(), byte: fc.nat(255) }),
  );
  fc.assert(
    fc.property(messages, edits, (bytes, { kind, at, byte }) => {
      const place = at % (bytes.length + 1);
      const [head, tail] = [bytes.subarray(0, place), bytes.subarray(place)];
      const edited =
        kind === "cut" ? head : Buffer.concat([head, Uint8Array.of(byte), kind === "set" ? tail.subarray(1) : tail]);
      const { accepted, code } = read(edited);
      if (accepted) {
        const judged = getCompiledTransactionMessageDecoder().decode(edited);
        expect(Uint8Array.from(getCompiledTransactionMessageEncoder().encode(judged))).toEqual(Uint8Array.from(edited));
      } else expect(["TRANSACTION_MALFORMED", "TRANSACTION_TYPE_UNSUPPORTED"]).toContain(code);
    }),
    { numRuns: 500 },
  );
});

test("bytes at random never do more than be refused", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => void read(bytes)));
});

/** A message by hand: header, keys (each one byte, 32 times), blockhash, instructions, and what follows. */
interface Parts {
  readonly prefix?: number[];
  readonly header?: number[];
  readonly keyCount?: number[];
  readonly keys?: number[];
  readonly instructionCount?: number[];
  readonly instructions?: number[];
  readonly after?: number[];
}
const TRANSFER = [1, 2, 0, 2, 3, 9, 9, 9];
function bytesOf(parts: Parts): Uint8Array {
  const { header = [1, 0, 1], keys = [1, 0, 2], instructionCount = [1], instructions = TRANSFER, after = [] } = parts;
  return Uint8Array.from([
    ...[...(parts.prefix ?? []), ...header, ...(parts.keyCount ?? [keys.length])],
    ...keys.flatMap((key) => new Array<number>(32).fill(key)),
    ...new Array<number>(32).fill(7),
    ...[...instructionCount, ...instructions, ...after],
  ]);
}

test("the bytes by hand are a message, legacy and version 0", () => {
  expect(read(bytesOf({})).accepted).toBe(true);
  expect(read(bytesOf({ prefix: [0x80], after: [0] })).accepted).toBe(true);
});

const V0 = { prefix: [0x80] };
const table = (...tail: number[]) => [1, ...new Array<number>(32).fill(9), ...tail];

describe("TRANSACTION_MALFORMED", () => {
  test.each<[string, Parts]>([
    ["nobody signs", { header: [0, 0, 1] }],
    ["nobody who signs can be written to", { header: [1, 1, 1] }],
    ["more signers than accounts", { header: [4, 0, 0] }],
    ["more signers and read accounts than accounts", { header: [2, 0, 2] }],
    ["an account twice", { keys: [1, 0, 1] }],
    ["an instruction's account that is not there", { instructions: [1, 2, 0, 3, 0] }],
    ["an instruction's program that is not there", { instructions: [3, 0, 0] }],
    ["the payer as a program", { instructions: [0, 0, 0] }],
    ["fewer instructions than announced", { instructionCount: [2] }],
    ["more instructions than announced", { instructionCount: [0] }],
    ["a byte after it", { after: [0] }],
    ["no lookups in version 0", V0],
    ["a byte after version 0", { ...V0, after: [0, 0] }],
    ["a lookup of no account", { ...V0, after: table(0, 0) }],
    ["a lookup that is cut", { ...V0, after: table(2, 1) }],
    ["a program from a table", { ...V0, instructions: [3, 0, 0], after: table(1, 0, 0) }],
    ["an account beyond the tables", { ...V0, instructions: [1, 1, 4, 0], after: table(1, 0, 0) }],
    ["more than 256 accounts", { ...V0, after: table(0x80, 2, ...new Array<number>(256).fill(1), 0) }],
    ["keys counted in two bytes", { keyCount: [0x83, 0] }],
    ["keys counted in three bytes", { keyCount: [0x83, 0x80, 0] }],
    ["keys counted in four bytes", { keyCount: [0x83, 0x80, 0x80, 0] }],
    ["a count over 65535", { keyCount: [0xff, 0xff, 0x7f] }],
    ["data counted in two bytes", { instructions: [1, 2, 0, 2, 0x83, 0, 9, 9, 9] }],
    ["instructions counted in two bytes", { instructionCount: [0x81, 0] }],
  ])("%s", (_what, parts) => {
    expect(() => parseMessage(bytesOf(parts))).toThrow(expect.objectContaining({ code: "TRANSACTION_MALFORMED" }));
  });

  test("every message that was cut short", () => {
    const whole = bytesOf({ ...V0, after: table(1, 0, 1, 1) });
    expect(read(whole).accepted).toBe(true);
    for (let length = 0; length < whole.length; length += 1) {
      expect(read(whole.subarray(0, length))).toEqual({ accepted: false, code: "TRANSACTION_MALFORMED" });
    }
  });

  test("256 accounts are not too many", () => {
    const after = table(0x7f, ...new Array<number>(127).fill(1), 0x7e, ...new Array<number>(126).fill(1));
    expect(read(bytesOf({ ...V0, after })).accepted).toBe(true);
  });
});

test.each([0x81, 0x82, 0xfe, 0xff])("TRANSACTION_TYPE_UNSUPPORTED for the first byte %d", (first) => {
  expect(read(bytesOf({ prefix: [first], after: [0] }))).toEqual({
    accepted: false,
    code: "TRANSACTION_TYPE_UNSUPPORTED",
  });
});

test("a transfer has these bytes", () => {
  const from = signing("alice");
  const transfer = getTransferSolInstruction({ source: from, destination: named("bob"), amount: 1_000_000_007n });
  const { message } = makeTransaction([transfer], { feePayer: from.address, version: "legacy" });
  expect(Buffer.from(message).toString("hex")).toBe(
    [
      "010001",
      "03",
      "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90",
      "81b637d8fcd2c6da6359e6963113a1170de795e4b725b84d1e0b4cfd9ec58ce9",
      "0000000000000000000000000000000000000000000000000000000000000000",
      "395bf727f9aac5e80911591073fcf9c826f428804131ca089beba3869421749a",
      "01020200010c0200000007ca9a3b00000000",
    ].join(""),
  );
  expect(parseMessage(message).instructions).toHaveLength(1);
});
