/** What counts as a PSBT here: what is not sorted, not known or not whole is refused. */
import { RawPSBTV0 } from "@scure/btc-signer/psbt.js";
import { Psbt as JudgePsbt } from "bitcoinjs-lib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodePsbt, MAX_INPUTS, MAX_OUTPUTS, parsePsbt } from "../../../../enclave/signing/bitcoin/psbt.ts";
import { RequestError } from "../../../../protocol/index.ts";
import { foreignScript, inputOf, keyAt, openHd, psbtOf, standardPath } from "../../../support/bitcoin.ts";

const wallet = openHd();
const input = inputOf(keyAt(wallet, "p2wpkh", standardPath("p2wpkh", 0)), 100_000n);
const taproot = inputOf(keyAt(wallet, "p2tr", standardPath("p2tr", 0)), 100_000n, 1);
const output = { script: foreignScript("shop"), amount: 90_000n };
const valid = { v0: psbtOf([input, taproot], [output]), v2: psbtOf([input, taproot], [output], { PSBTVersion: 2 }) };

interface Pair {
  readonly type: number;
  readonly key?: Uint8Array;
  readonly value: Uint8Array;
}
const bare = { txid: new Uint8Array(32).fill(1), index: 0 };
/** The maps of a PSBT with one input and one output, to write anew. */
const maps = (PSBTVersion: 0 | 2 = 0) => mapsOf(psbtOf([bare], [output], { PSBTVersion }));

function mapsOf(bytes: Uint8Array): Pair[][] {
  const all: Pair[][] = [[]];
  for (let at = 5; at < bytes.length; ) {
    const keyLength = bytes[at] ?? 0;
    if (keyLength === 0) {
      all.push([]);
      at += 1;
      continue;
    }
    const key = bytes.subarray(at + 2, at + 1 + keyLength);
    const lengthAt = at + 1 + keyLength;
    const length = bytes[lengthAt] ?? 0;
    if (length >= 0xfd) throw new Error("longer than these tests need");
    all.at(-1)?.push({ type: bytes[at + 1] ?? 0, key, value: bytes.subarray(lengthAt + 1, lengthAt + 1 + length) });
    at = lengthAt + 1 + length;
  }
  return all.slice(0, -1);
}

function write(all: readonly (readonly Pair[])[]): Uint8Array {
  const parts = all.flatMap((map) => [
    ...map.flatMap(({ type, key = new Uint8Array(0), value }) => [
      Uint8Array.of(1 + key.length, type),
      key,
      Uint8Array.of(value.length),
      value,
    ]),
    Uint8Array.of(0),
  ]);
  return Buffer.concat([Buffer.from("psbt\xff", "latin1"), ...parts]);
}

/** With one record more, or another in its place, where sorting puts it. */
function withRecord(at: number, record: Pair, version: 0 | 2 = 0): Uint8Array {
  return write(
    maps(version).map((map, index) => {
      if (index !== at) return map;
      return [...map.filter(({ type }) => type !== record.type), record].sort((one, other) => one.type - other.type);
    }),
  );
}

const refused = (bytes: Uint8Array, why?: RegExp) =>
  expect(() => parsePsbt(bytes)).toThrow(
    expect.objectContaining({
      code: "TRANSACTION_MALFORMED",
      ...(why === undefined ? {} : { message: expect.stringMatching(why) }),
    }),
  );
const empty = new Uint8Array(0);
const publicKey = keyAt(wallet, "p2wpkh", standardPath("p2wpkh", 0)).publicKey;

test("these tests write what they have read", () => {
  for (const version of [0, 2] as const) {
    const bytes = psbtOf([bare], [output], { PSBTVersion: version });
    expect(Buffer.from(write(mapsOf(bytes)))).toEqual(Buffer.from(bytes));
    expect(parsePsbt(bytes).version).toBe(version);
  }
});

test("both versions say the same transaction", () => {
  const [v0, v2] = [parsePsbt(valid.v0), parsePsbt(valid.v2)];
  expect(v0.unsigned.hex).toBe(v2.unsigned.hex);
  const theirs = JudgePsbt.fromBuffer(Buffer.from(valid.v0)).data.getTransaction();
  expect(Buffer.from(theirs)).toEqual(Buffer.from(v0.unsigned.unsignedTx));
});

test("BIP-370: the lock time that inputs ask for is what is signed", () => {
  const ask = (more: object) =>
    parsePsbt(psbtOf([{ ...bare, ...more }], [output], { PSBTVersion: 2, lockTime: 5 })).unsigned.lockTime;
  expect(ask({})).toBe(5);
  expect(ask({ requiredHeightLocktime: 800_000 })).toBe(800_000);
  expect(ask({ requiredTimeLocktime: 1_700_000_000 })).toBe(1_700_000_000);
  expect(ask({ requiredHeightLocktime: 800_000, requiredTimeLocktime: 1_700_000_000 })).toBe(800_000);
  refused(incompatibleLocks(), /incompatible/);
});

function incompatibleLocks(): Uint8Array {
  const two = mapsOf(psbtOf([bare, { ...bare, index: 1 }], [output], { PSBTVersion: 2 }));
  const u32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer);
  return write(
    two.map((map, at) => {
      if (at === 1) return [...map, { type: 0x11, value: u32(1_700_000_000) }];
      return at === 2 ? [...map, { type: 0x12, value: u32(800_000) }] : map;
    }),
  );
}

describe("fields that are not taken", () => {
  test.each([
    ["an unknown global field", 0, { type: 0x0f, value: empty }],
    ["an unknown field of an input", 1, { type: 0x55, value: empty }],
    ["an unknown field of an output", 2, { type: 0x55, value: empty }],
    ["a proprietary global field", 0, { type: 0xfc, key: Uint8Array.of(1, 65, 0), value: empty }],
    ["a proprietary field of an input", 1, { type: 0xfc, key: Uint8Array.of(1, 65, 0), value: empty }],
    ["a proprietary field of an output", 2, { type: 0xfc, key: Uint8Array.of(1, 65, 0), value: empty }],
    ["a message (BIP-322's own field)", 0, { type: 0x09, value: Uint8Array.of(1) }],
    ["a proof of reserves", 1, { type: 0x09, value: Uint8Array.of(1) }],
    ["a key tweak", 1, { type: 0x19, key: publicKey, value: new Uint8Array(32) }],
    ["MuSig2's participants in an input", 1, { type: 0x1a, key: publicKey, value: publicKey }],
    ["MuSig2's participants in an output", 2, { type: 0x08, key: publicKey, value: publicKey }],
    ["a DNSSEC proof", 2, { type: 0x35, value: Uint8Array.of(1, 97) }],
  ])("%s", (_name, at, record) => refused(withRecord(at, record), /is not taken/));

  test.each([
    ["a silent payment's share", 0, { type: 0x07, key: publicKey, value: publicKey }],
    ["a silent payment's address", 2, { type: 0x09, value: Buffer.concat([publicKey, publicKey]) }],
  ])("%s, of version 2", (_name, at, record) => refused(withRecord(at, record, 2), /is not taken/));

  test("what version 2 has and version 0 has not, and the other way round", () => {
    refused(withRecord(1, { type: 0x0e, value: new Uint8Array(32) }));
    refused(withRecord(0, { type: 0x02, value: Uint8Array.of(2, 0, 0, 0) }));
    refused(withRecord(0, maps()[0]?.[0] ?? { type: 0, value: empty }, 2));
  });

  test("unknown bits in the modifiable flags", () => {
    refused(withRecord(0, { type: 0x06, value: Uint8Array.of(0x08) }, 2), /modifiable/);
    expect(parsePsbt(withRecord(0, { type: 0x06, value: Uint8Array.of(0x07) }, 2)).version).toBe(2);
  });
});

describe("another spelling", () => {
  const sha256 = (key: number): Pair => ({ type: 0x0b, key: new Uint8Array(32).fill(key), value: Uint8Array.of(key) });

  test("keys that are not sorted", () => {
    const [global = [], , last = []] = maps();
    const sorted = [global, [sha256(1), sha256(2)], last];
    expect(parsePsbt(write(sorted)).inputs).toHaveLength(1);
    refused(write([global, [sha256(2), sha256(1)], last]), /spelling/);
    refused(write(maps(2).map((map) => map.toReversed())), /spelling/);
  });

  test("a key twice, with the same value or another", () => {
    const [global = [], , last = []] = maps();
    refused(write([global, [sha256(1), sha256(1)], last]), /duplicate/);
    refused(write([global, [sha256(1), { ...sha256(1), value: empty }], last]), /duplicate/);
    refused(write([[...global, ...global], [], last]));
  });

  test("lengths in more bytes than they need", () => {
    const bytes = psbtOf([bare], [output]);
    refused(Buffer.concat([bytes.subarray(0, 5), Uint8Array.of(0xfd, 1, 0), bytes.subarray(6)]));
  });

  test("bytes before, after, missing, or more maps than there are outputs", () => {
    for (const bytes of [valid.v0, valid.v2]) {
      refused(Buffer.concat([Uint8Array.of(0), bytes]));
      refused(Buffer.concat([bytes, Uint8Array.of(0)]));
      refused(bytes.subarray(0, -1));
    }
    refused(empty);
  });
});

describe("versions and sizes", () => {
  const version = (value: number): Pair => ({ type: 0xfb, value: Uint8Array.of(value, 0, 0, 0) });

  test.each([1, 3, 255])("PSBT version %d", (value) => {
    refused(withRecord(0, version(value)));
    refused(withRecord(0, version(value), 2));
  });

  test.each([-1, 0, 4, 2147483647])("transaction version %d", (value) => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    refused(withRecord(0, { type: 0x02, value: bytes }, 2));
  });

  test.each([1, 2, 3])("transaction version %d is taken", (value) => {
    expect(parsePsbt(withRecord(0, { type: 0x02, value: Uint8Array.of(value, 0, 0, 0) }, 2)).unsigned.version).toBe(
      value,
    );
  });

  test("no inputs, no outputs, and one more than the most of each", () => {
    refused(psbtOf([], [output], { PSBTVersion: 2 }), /inputs/);
    refused(psbtOf([bare], [], { PSBTVersion: 2 }), /outputs/);
    refused(
      RawPSBTV0.encode({
        global: { unsignedTx: { version: 2, lockTime: 0, inputs: [], outputs: [] } },
        inputs: [],
        outputs: [],
      } as never),
    );
    const inputs = (count: number) => Array.from({ length: count }, (_, index) => ({ ...bare, index }));
    const outputs = (count: number) => Array.from({ length: count }, () => output);
    expect(parsePsbt(psbtOf(inputs(MAX_INPUTS), outputs(MAX_OUTPUTS))).inputs).toHaveLength(MAX_INPUTS);
    refused(psbtOf(inputs(MAX_INPUTS + 1), [output]), /101 inputs/);
    refused(psbtOf([bare], outputs(MAX_OUTPUTS + 1)), /251 outputs/);
  });

  test("one output spent twice", () => refused(psbtOf([bare, bare], [output]), /same output/));

  test("more than all the money there is", () => {
    expect(parsePsbt(psbtOf([bare], [{ ...output, amount: 2_100_000_000_000_000n }])).outputs).toHaveLength(1);
    refused(psbtOf([bare], [{ ...output, amount: 2_100_000_000_000_001n }]), /more than there can be/);
  });
});

test("whatever bytes come, the answer is a PSBT of just these bytes or TRANSACTION_MALFORMED", () => {
  const mutation = fc.record({
    base: fc.constantFrom(valid.v0, valid.v2),
    at: fc.nat(2_000),
    bytes: fc.uint8Array({ maxLength: 4 }),
    removed: fc.nat(4),
  });
  fc.assert(
    fc.property(mutation, ({ base, at, bytes, removed }) => {
      const from = at % base.length;
      const changed = Buffer.concat([base.subarray(0, from), bytes, base.subarray(from + removed)]);
      expectPsbtOrRefusal(changed);
    }),
    { numRuns: 400 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expectPsbtOrRefusal(Buffer.concat([Buffer.from("psbt\xff", "latin1"), bytes]));
    }),
    { numRuns: 300 },
  );
});

function expectPsbtOrRefusal(bytes: Uint8Array): void {
  try {
    const psbt = parsePsbt(bytes);
    expect(
      Buffer.from(
        encodePsbt(
          psbt,
          psbt.global,
          psbt.inputs.map(({ map }) => map),
        ),
      ),
    ).toEqual(Buffer.from(bytes));
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    expect(error.code).toBe("TRANSACTION_MALFORMED");
  }
}
