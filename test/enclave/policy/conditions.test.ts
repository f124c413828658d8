/** What each condition says, of what is there, what is not, and what cannot be told. */
import fc from "fast-check";
import { encodeFunctionData, hexToBytes, parseAbi } from "viem";
import { describe, expect, test } from "vitest";
import type { Facts } from "../../../enclave/policy/facts.ts";
import { factsFromJson } from "../../../enclave/policy/facts-json.ts";
import { elementsOf, valuesOf } from "../../../enclave/policy/fields.ts";
import { NO, YES } from "../../../enclave/policy/tri.ts";
import { matcherOf } from "../../../enclave/policy/value-tests.ts";
import {
  COLLECTIONS,
  type Collection,
  type Condition,
  collectionOf,
  FACT_KINDS,
  FIELDS,
  type FieldName,
  kindsWith,
  policy,
} from "../../../protocol/index.ts";
import {
  ALL_FACTS,
  allow,
  allows,
  anyFacts,
  BOB,
  CAROL,
  denies,
  FROM,
  judge,
  requestFor,
  SAMPLES,
  TRANSACTION,
  transferData,
  USDC,
  usdcTransfer,
  WEDNESDAY_NOON,
} from "./requests.ts";

test("every field is read of the kinds that have it, and of no other", () => {
  for (const facts of ALL_FACTS) {
    const values = valuesOf(requestFor(facts));
    for (const name of Object.keys(FIELDS) as FieldName[]) {
      const isThere = collectionOf(name) === null && kindsWith(name).includes(facts.kind);
      expect([name, facts.kind, values[name] !== undefined]).toEqual([name, facts.kind, isThere]);
    }
    for (const list of Object.keys(COLLECTIONS) as Collection[]) {
      const isThere = (COLLECTIONS[list] as readonly string[]).includes(facts.kind);
      expect(elementsOf(facts, list) !== undefined).toBe(isThere);
    }
  }
  expect(new Set(ALL_FACTS.map(({ kind }) => kind))).toEqual(new Set(FACT_KINDS));
});

test("memos: each is read whole, none is certain where an instruction was not understood, and nothing is none", () => {
  const solana = SAMPLES["solana-transaction"];
  const every = [{ every: "memos", is: [{ field: "memo.text", startsWith: "rent " }] }] as const;
  const some = [{ some: "memos", is: [{ field: "memo.text", in: ["x"] }] }] as const;
  expect(allows({ ...solana, memos: ["rent for May", "rent for June"] }, every)).toBe(true);
  expect(allows({ ...solana, memos: ["rent for May", " rent for June"] }, every)).toBe(false);
  expect(allows(solana, every)).toBe(false);
  const hidden = { ...solana, memos: ["rent for May"], unknownInstructions: [0] };
  expect(allows(hidden, every)).toBe(false);
  expect(denies(hidden, some)).toBe(true);
  expect(denies({ ...hidden, unknownInstructions: [] }, some)).toBe(false);
  expect(denies({ ...solana, memos: ["a", "x"] }, some)).toBe(true);
});

test("uint256 is exact, at its ends and around 2^53 and 2^64", () => {
  const number = fc
    .oneof(
      fc.bigInt(0n, 2n ** 256n - 1n),
      fc
        .constantFrom(0n, 2n ** 53n, 2n ** 64n, 2n ** 256n - 1n)
        .chain((base) => fc.bigInt(-2n, 2n).map((by) => base + by)),
    )
    .filter((value) => value >= 0n && value < 2n ** 256n);
  fc.assert(
    fc.property(number, number, (valueWei, bound) => {
      const facts = { ...TRANSACTION, valueWei };
      expect(allows(facts, [{ field: "evm.value", atMost: String(bound) }])).toBe(valueWei <= bound);
      expect(allows(facts, [{ field: "evm.value", atLeast: String(bound) }])).toBe(valueWei >= bound);
      expect(allows(facts, [{ field: "evm.value", in: [String(bound)] }])).toBe(valueWei === bound);
      const call = { ...TRANSACTION, data: transferData(BOB, valueWei) };
      const args = [{ arg: "1", atMost: String(bound) }];
      expect(allows(call, [{ call: "transfer(address,uint256)", args }])).toBe(valueWei <= bound);
    }),
  );
});

test("hex is the same in any case, whole and at its beginning: no deny is passed by the case that it was written in", () => {
  const transfer = usdcTransfer(BOB, 5n);
  expect(denies(transfer, [{ field: "evm.selector", in: ["0xA9059CBB"] }])).toBe(true);
  expect(denies(transfer, [{ field: "evm.to", startsWith: USDC.slice(0, 10).toLowerCase() }])).toBe(true);
  expect(denies(transfer, [{ field: "evm.to", startsWith: USDC.slice(0, 10).toUpperCase().replace("X", "x") }])).toBe(
    true,
  );
  const digest = SAMPLES["raw-digest"];
  const isRaw = { field: "kind", in: ["raw-digest"] } as const;
  const ofDigest = [isRaw, { field: "raw.digest", in: [`0x${"0A".repeat(32)}`] }] as const;
  expect(allows({ ...digest, digest: new Uint8Array(32).fill(10) }, ofDigest)).toBe(true);
  expect(allows(digest, ofDigest)).toBe(false);
  const text = (message: string): Facts => ({
    ...SAMPLES["evm-message"],
    message: Uint8Array.from(Buffer.from(message)),
  });
  expect(allows(text("Log in"), [{ field: "message.text", in: ["log in"] }])).toBe(false);
  expect(allows(text("Log in"), [{ field: "message.text", startsWith: "log" }])).toBe(false);
  expect(denies(text("0xAB and more"), [{ field: "message.text", startsWith: "0xAB" }])).toBe(true);
});

test("addresses are the same in any case where case says nothing, and in one alone where it does", () => {
  expect(allows(TRANSACTION, [{ field: "evm.to", in: [BOB.toLowerCase()] }])).toBe(true);
  const bitcoin = SAMPLES["bitcoin-transaction"];
  expect(allows(bitcoin, [{ some: "outputs", is: [{ field: "output.address", in: ["BC1QFRIEND"] }] }])).toBe(true);
  const solana = SAMPLES["solana-transaction"];
  expect(allows(solana, [{ field: "solana.feePayer", in: ["a1"] }])).toBe(false);
});

test("the beginning of an address is the same in any case as well, and so is hex that is no address", () => {
  expect(denies(TRANSACTION, [{ field: "evm.to", startsWith: BOB.toLowerCase().slice(0, 12) }])).toBe(true);
  expect(allows(TRANSACTION, [{ field: "evm.to", startsWith: CAROL.toLowerCase().slice(0, 12) }])).toBe(false);
  const transfer = usdcTransfer(BOB, 5n);
  expect(denies(transfer, [{ field: "evm.selector", in: ["0xA9059CBB"] }])).toBe(true);
  const digest = SAMPLES["raw-digest"];
  expect(
    denies({ ...digest, digest: new Uint8Array(32).fill(0xab) }, [{ field: "raw.digest", startsWith: "0xABab" }]),
  ).toBe(true);
  const bytes = { ...SAMPLES["evm-typed-data"], message: { data: Uint8Array.of(0xab, 0xcd) } };
  expect(denies(bytes, [{ typed: "data", in: ["0xABCD"] }])).toBe(true);
  // Of a text that says something by itself, case is part of what it says.
  const message = { ...SAMPLES["evm-message"], message: Uint8Array.from(Buffer.from("Sign")) };
  expect(allows(message, [{ field: "message.text", startsWith: "sign" }])).toBe(false);
});

test("of what is longer than any text of a condition, no more is read than could decide", () => {
  class Watched extends Uint8Array {
    override [Symbol.iterator](): ArrayIterator<number> {
      if (this.length > 200) throw new Error("read to the end");
      return super[Symbol.iterator]();
    }
  }
  const long = new Watched(100_000).fill(0xab);
  expect(matcherOf({ startsWith: `0x${"ab".repeat(127)}` })(long)).toBe(YES);
  expect(matcherOf({ startsWith: "0xabac" })(long)).toBe(NO);
  expect(matcherOf({ in: [`0x${"ab".repeat(127)}`] })(long)).toBe(NO);
  expect(matcherOf({ in: ["a".repeat(256)] })("a".repeat(257))).toBe(NO);
});

describe("what is not there", () => {
  test("lets nothing through, neither by a condition nor by its contrary", () => {
    const condition = { field: "evm.to", in: [BOB] } as const;
    for (const facts of ALL_FACTS) {
      if (facts.kind === "evm-transaction") continue;
      expect(allows(facts, [condition])).toBe(false);
      expect(allows(facts, [{ not: condition }])).toBe(false);
      expect(denies(facts, [{ all: [condition] }])).toBe(facts.kind === "raw-digest" || facts.kind === "wallet-export");
    }
    // A contract that is made goes to nobody: that is certain.
    const creation = { ...TRANSACTION, to: null };
    expect(allows(creation, [condition])).toBe(false);
    expect(allows(creation, [{ not: condition }])).toBe(true);
  });
});

describe("what cannot be told", () => {
  const hidden: Facts = {
    ...SAMPLES["solana-transaction"],
    transfers: [{ ...SAMPLES["solana-transaction"].transfers[0], destination: null } as never],
  };
  const toBad = { some: "transfers", is: [{ field: "transfer.destination", in: ["BAD"] }] } as const;
  const toGood = { every: "transfers", is: [{ field: "transfer.destination", in: ["GOOD"] }] } as const;

  test("is held up by a rule that denies, and let through by none that allows", () => {
    expect(denies(hidden, [toBad])).toBe(true);
    expect(denies(SAMPLES["solana-transaction"], [toBad])).toBe(false);
    expect(allows(hidden, [toGood])).toBe(false);
    expect(allows(hidden, [{ not: toBad }])).toBe(false);
  });

  test("instructions that were not understood may move more", () => {
    const more = { ...SAMPLES["solana-transaction"], unknownInstructions: [1] };
    expect(denies(more, [toBad])).toBe(true);
    expect(allows(more, [{ every: "transfers", is: [{ field: "transfer.destination", in: ["B1"] }] }])).toBe(false);
    expect(
      allows(SAMPLES["solana-transaction"], [
        { every: "transfers", is: [{ field: "transfer.destination", in: ["B1"] }] },
      ]),
    ).toBe(true);
  });

  test("a token's call that is not encoded as Solidity does it may move anything", () => {
    const unread: Facts = { ...usdcTransfer(BOB, 5n), tokenMoves: [], hasUnreadTokenCall: true };
    const toCarol = { some: "moves", is: [{ field: "move.recipient", in: [CAROL] }] } as const;
    expect(denies(unread, [toCarol])).toBe(true);
    expect(denies(usdcTransfer(BOB, 5n), [toCarol])).toBe(false);
    const noncanonical = { ...TRANSACTION, data: Uint8Array.from([...transferData(BOB, 5n), 0]) };
    const call = { call: "transfer(address,uint256)", args: [{ arg: "0", in: [CAROL] }] } as const;
    expect(denies(noncanonical, [call])).toBe(true);
    expect(allows(noncanonical, [{ call: "transfer(address,uint256)" }])).toBe(false);
  });

  test("a call of a user operation that is not understood may move something else than what is said", () => {
    const transfer = { to: USDC, valueWei: 0n, data: transferData(BOB, 5n) };
    const { tokenMoves } = usdcTransfer(BOB, 5n);
    const operation = { ...SAMPLES["evm-user-operation"], tokenMoves };
    const onlyUsdc = { every: "moves", is: [{ field: "move.token", in: [USDC] }] } as const;
    expect(allows({ ...operation, calls: [transfer] }, [onlyUsdc])).toBe(true);
    const other = { to: CAROL, valueWei: 0n, data: Uint8Array.of(1, 2, 3, 4) };
    for (const calls of [
      [transfer, other],
      [other, transfer],
    ]) {
      expect(allows({ ...operation, calls }, [onlyUsdc])).toBe(false);
      expect(allows({ ...operation, calls }, [{ some: "moves", is: onlyUsdc.is }])).toBe(true);
    }
    const coins = { to: CAROL, valueWei: 1n, data: new Uint8Array(0) };
    expect(allows({ ...operation, calls: [transfer, coins] }, [onlyUsdc])).toBe(true);
  });

  test("typed data and authorisations without a chain are good on any", () => {
    const permit = SAMPLES["evm-typed-data"];
    const anywhere = { ...permit, domain: { ...permit.domain, chainId: null } };
    const delegation = { ...SAMPLES["evm-authorization"], chainId: 0n };
    for (const facts of [anywhere, delegation]) {
      expect(denies(facts, [{ field: "chain", in: ["eip155:1"] }])).toBe(true);
      expect(allows(facts, [{ field: "chain", in: ["eip155:1"] }])).toBe(false);
    }
  });

  test("what two standards share is judged as either", () => {
    const [move] = usdcTransfer(BOB, 5n).tokenMoves;
    if (move === undefined) throw new Error("no move");
    const shared: Facts = { ...usdcTransfer(BOB, 5n), tokenMoves: [{ ...move, standard: "erc20-or-erc721" }] };
    const is = (standards: string[]) => [{ every: "moves", is: [{ field: "move.standard", in: standards }] }] as const;
    expect(allows(shared, is(["erc20"]))).toBe(false);
    expect(denies(shared, is(["erc20"]))).toBe(true);
    expect(allows(shared, is(["erc20", "erc721"]))).toBe(true);
    expect(denies(shared, is(["erc1155"]))).toBe(false);
  });
});

test("all there is counts as more than any number", () => {
  const all: Facts = {
    ...usdcTransfer(BOB, 5n),
    tokenMoves: [{ ...usdcTransfer(BOB, 5n).tokenMoves[0], amount: null } as never],
  };
  const little = [{ every: "moves", is: [{ field: "move.amount", atMost: String(2n ** 256n - 1n) }] }] as const;
  expect(allows(all, little)).toBe(false);
  expect(allows(usdcTransfer(BOB, 5n), little)).toBe(true);
});

test("every: of an empty list it does not hold", () => {
  expect(allows(TRANSACTION, [{ every: "moves", is: [{ field: "move.token", in: [USDC] }] }])).toBe(false);
});

describe("arguments by signature", () => {
  const signature = "transfer(address,uint256)";
  test("are held against by place; another function is another", () => {
    const to = (who: string) => [{ call: signature, args: [{ arg: "0", in: [who] }] }];
    expect(allows(usdcTransfer(BOB, 5n), to(BOB.toLowerCase()))).toBe(true);
    expect(allows(usdcTransfer(BOB, 5n), to(CAROL))).toBe(false);
    expect(allows(TRANSACTION, to(BOB))).toBe(false);
    expect(denies(TRANSACTION, to(BOB))).toBe(false);
    expect(allows({ ...usdcTransfer(BOB, 5n), data: transferData(BOB, 5n, "095ea7b3") }, to(BOB))).toBe(false);
  });

  test("bytes are compared whole, whatever their length is", () => {
    const call = "f(bytes)";
    const of = (bytes: string): Facts => ({
      ...TRANSACTION,
      data: hexToBytes(encodeFunctionData({ abi: parseAbi(["function f(bytes)"]), args: [`0x${bytes}`] })),
    });
    const [one, two] = ["ab".repeat(3), `0x${"AB".repeat(40)}`];
    const arg = (test: object): Condition => ({ call, args: [{ arg: "0", ...test }] });
    for (const [length, isOne, isTwo, starts] of [
      [2, false, false, false],
      [3, true, false, true],
      [4, false, false, true],
      [40, false, true, true],
      [41, false, false, true],
      [9000, false, false, true],
    ] as const) {
      const facts = of("ab".repeat(length));
      expect(allows(facts, [arg({ in: [`0x${one}`] })])).toBe(isOne);
      expect(allows(facts, [arg({ in: [two, "0x"] })])).toBe(isTwo);
      expect(allows(facts, [arg({ startsWith: `0x${one}` })])).toBe(starts);
    }
    expect(allows(of(""), [arg({ in: ["0x"] })])).toBe(true);
  });

  test("calls inside of bytes are decoded as well", () => {
    const inner = transferData(BOB, 5n);
    const word = (value: bigint) => value.toString(16).padStart(64, "0");
    const padded = Buffer.from(inner).toString("hex").padEnd(192, "0");
    const outer = `b61d27f6${CAROL.slice(2).toLowerCase().padStart(64, "0")}${word(0n)}${word(96n)}${word(BigInt(inner.length))}${padded}`;
    const facts = { ...TRANSACTION, data: Uint8Array.from(Buffer.from(outer, "hex")) };
    const execute = (who: string) => [
      {
        call: "execute(address,uint256,bytes)",
        args: [{ arg: "2", call: { call: signature, args: [{ arg: "0", in: [who] }] } }],
      },
    ];
    expect(allows(facts, execute(BOB))).toBe(true);
    expect(allows(facts, execute(CAROL))).toBe(false);
  });
});

describe("EIP-712 messages", () => {
  const permit = SAMPLES["evm-typed-data"];
  test("by path, each element of a list, and nothing that is not there", () => {
    expect(allows(permit, [{ typed: "spender", in: [BOB] }])).toBe(true);
    expect(allows(permit, [{ typed: "value", atMost: "5" }])).toBe(true);
    expect(allows(permit, [{ typed: "value", atMost: "4" }])).toBe(false);
    expect(allows(permit, [{ typed: "legs[].to", in: [BOB, CAROL] }])).toBe(true);
    expect(allows(permit, [{ typed: "legs[].to", in: [BOB] }])).toBe(false);
    expect(allows(permit, [{ typed: "none[]", in: [BOB] }])).toBe(false);
    expect(allows(permit, [{ typed: "missing", in: [BOB] }])).toBe(false);
    expect(allows(permit, [{ typed: "constructor", startsWith: "f" }])).toBe(false);
    expect(
      allows(permit, [
        { field: "domain.contract", in: [USDC] },
        { field: "primaryType", in: ["Permit"] },
      ]),
    ).toBe(true);
    // One innocent leg more does not take the others out of a rule's sight, nor let them pass by its contrary.
    expect(denies(permit, [{ typed: "legs[].to", in: [BOB] }])).toBe(true);
    expect(allows(permit, [{ not: { typed: "legs[].to", in: [BOB] } }])).toBe(false);
    expect(allows(permit, [{ not: { typed: "legs[].to", in: [USDC] } }])).toBe(true);
    expect(denies(permit, [{ typed: "legs[].to", in: [USDC] }])).toBe(false);
    // A condition on another type than the value's cannot be judged.
    expect(allows(permit, [{ typed: "value", startsWith: "5" }])).toBe(false);
    expect(denies(permit, [{ typed: "value", startsWith: "5" }])).toBe(true);
  });
});

describe("when", () => {
  const at = (iso: string) => ({ nowMs: Date.parse(iso) });
  test("from one moment to before another", () => {
    const between = [{ between: ["2026-01-07T12:00:00Z", "2026-01-07T13:00:00Z"] }] as const;
    expect(allows(TRANSACTION, between, { nowMs: WEDNESDAY_NOON })).toBe(true);
    expect(allows(TRANSACTION, between, { nowMs: WEDNESDAY_NOON - 1 })).toBe(false);
    expect(allows(TRANSACTION, between, at("2026-01-07T12:59:59Z"))).toBe(true);
    expect(allows(TRANSACTION, between, at("2026-01-07T13:00:00Z"))).toBe(false);
  });
  test("by the time of day and the day, over midnight as well", () => {
    const office = [{ timeOfDay: ["08:00", "18:00"], days: ["wed"] }] as const;
    expect(allows(TRANSACTION, office, at("2026-01-07T08:00:00Z"))).toBe(true);
    expect(allows(TRANSACTION, office, at("2026-01-07T18:00:00Z"))).toBe(false);
    expect(allows(TRANSACTION, office, at("2026-01-08T12:00:00Z"))).toBe(false);
    const night = [{ timeOfDay: ["22:00", "06:00"], days: ["wed"] }] as const;
    expect(allows(TRANSACTION, night, at("2026-01-07T23:00:00Z"))).toBe(true);
    expect(allows(TRANSACTION, night, at("2026-01-08T05:59:00Z"))).toBe(true);
    expect(allows(TRANSACTION, night, at("2026-01-07T05:59:00Z"))).toBe(false);
    expect(allows(TRANSACTION, night, at("2026-01-08T23:00:00Z"))).toBe(false);
  });
});

test("raw digests and what leaves the enclave are allowed by rules that name them, and by no broad one", () => {
  for (const kind of ["raw-digest", "wallet-export"] as const) {
    expect(allows(SAMPLES[kind], [])).toBe(false);
    expect(allows(SAMPLES[kind], [{ field: "caller.kind", in: ["session"] }])).toBe(false);
    expect(allows(SAMPLES[kind], [{ field: "kind", in: [kind] }])).toBe(true);
    expect(denies(SAMPLES[kind], [])).toBe(true);
  }
});

test("signature hash types that leave something open are allowed by rules that speak of them, and by no broad one", () => {
  const open = { ...SAMPLES["bitcoin-transaction"], sighashTypes: ["ALL", "NONE|ANYONECANPAY"] };
  expect(allows(open, [])).toBe(false);
  expect(allows(open, [{ field: "kind", in: ["bitcoin-transaction"] }])).toBe(false);
  const named = (types: string[]) => [{ every: "sighashes", is: [{ field: "sighash.type", in: types }] }] as const;
  expect(allows(open, named(["ALL"]))).toBe(false);
  expect(allows(open, named(["ALL", "NONE|ANYONECANPAY"]))).toBe(true);
  expect(allows(SAMPLES["bitcoin-transaction"], [])).toBe(true);
});

describe("a document that is refused", () => {
  const rule = (when: unknown, more = {}) => ({ v: 1, rules: [{ id: "a", effect: "allow", when, ...more }] });
  test.each<[string, unknown]>([
    ["another version", { v: 2, rules: [] }],
    ["an unknown field of a document", { v: 1, rules: [], more: 1 }],
    ["an unknown fact", rule([{ field: "evm.sender", in: [BOB] }])],
    ["a number over 2^256 - 1", rule([{ field: "evm.value", atMost: String(2n ** 256n) }])],
    ["a number that is none", rule([{ field: "evm.value", atMost: 5 }])],
    ["a sign", rule([{ field: "evm.value", atMost: "-5" }])],
    ["a condition on nothing", rule([{ field: "evm.value" }])],
    ["a maximum of a text", rule([{ field: "evm.to", atMost: "5" }])],
    ["an unknown member", rule([{ field: "evm.value", atMost: "5", atleast: "3" }])],
    ["an element outside of its list", rule([{ field: "move.amount", atMost: "5" }])],
    ["an element in another list", rule([{ some: "outputs", is: [{ field: "move.amount", atMost: "5" }] }])],
    [
      "a list in a list",
      rule([{ some: "moves", is: [{ some: "moves", is: [{ field: "move.amount", atMost: "5" }] }] }]),
    ],
    ["a day that is none", rule([{ between: ["2026-02-30T00:00:00Z", "2026-03-01T00:00:00Z"] }])],
    ["nesting over four deep", rule([{ not: { not: { not: { not: { field: "evm.value", atMost: "5" } } } } }])],
    ["approvals of nobody", rule([], { approvals: { of: [], threshold: 0, expiresS: 5 } })],
    ["more approvals than approvers", rule([], { approvals: { of: ["own-passkey"], threshold: 2, expiresS: 5 } })],
    ["a limit of a token without one", rule([], { limits: [{ asset: "token", amount: "5", windowS: 5, per: "app" }] })],
    ["a limit on what denies", { v: 1, rules: [{ id: "a", effect: "deny", when: [], limits: [] }] }],
    ["two rules of one id", { v: 1, rules: [allow("a"), allow("a")] }],
    ["over a thousand rules", { v: 1, rules: Array.from({ length: 1001 }, (_, at) => allow(`r${at}`)) }],
  ])("%s", (_name, document) => {
    expect(policy.safeParse(document).success).toBe(false);
  });

  test("names at most so many calls, those inside of calls among them", () => {
    const inner = (at: number) => ({ call: `f${at}(bytes)`, args: [{ arg: "0", call: { call: `g${at}()` } }] });
    const named = (count: number) => {
      const rules = Array.from({ length: count / 20 }, (_, at) =>
        allow(`r${at}`, ...Array.from({ length: 10 }, (_, each) => inner(10 * at + each))),
      );
      return policy.safeParse({ v: 1, rules }).success;
    };
    expect(named(1000)).toBe(true);
    expect(named(1020)).toBe(false);
  });

  test("is read once, whatever is nested in it, and no further than what is wrong", () => {
    let reads = 0;
    const watched = () => ({
      get field() {
        reads += 1;
        return "evm.sender";
      },
    });
    const leaves = () => Array.from({ length: 64 }, watched);
    const nested = (depth: number): unknown => (depth === 0 ? leaves() : [{ some: "moves", is: nested(depth - 1) }]);
    for (const depth of [0, 1, 5]) {
      reads = 0;
      expect(policy.safeParse(rule(nested(depth))).success).toBe(false);
      expect(reads).toBe(1);
    }
  });

  test("a document of 192 KiB is taken, and one byte more is not", () => {
    const noted = (length: number) => {
      const rules = Array.from({ length: 700 }, (_, at) => ({ ...allow(`r${at}`), note: "n".repeat(200) }));
      const document = { v: 1 as const, rules };
      const left = length - JSON.stringify(document).length;
      return {
        v: 1,
        rules: rules.map((each, at) => ({
          ...each,
          note: each.note + "n".repeat(Math.min(56, Math.max(0, left - 56 * at))),
        })),
      };
    };
    expect(JSON.stringify(noted(192 * 1024))).toHaveLength(192 * 1024);
    expect(policy.safeParse(noted(192 * 1024)).success).toBe(true);
    expect(policy.safeParse(noted(192 * 1024 + 1)).success).toBe(false);
  });
});

test("facts in a file are read as they were, and what is not of their form is refused with its place", () => {
  const written = (facts: Facts): string =>
    JSON.stringify(facts, (_key, value: unknown) => {
      if (typeof value === "bigint") return value.toString();
      return value instanceof Uint8Array ? `0x${Buffer.from(value).toString("hex")}` : value;
    });
  fc.assert(
    fc.property(anyFacts, (facts) => {
      const read = factsFromJson(JSON.parse(written(facts)));
      expect(valuesOf(requestFor(read))).toEqual(valuesOf(requestFor(facts)));
    }),
  );
  const broken = { ...JSON.parse(written(usdcTransfer(BOB, 5n))), valueWei: 5 };
  expect(() => factsFromJson(broken)).toThrow(
    expect.objectContaining({ code: "INVALID_PARAMS", message: expect.stringContaining("valueWei") }),
  );
  expect(() => factsFromJson({ kind: "evm" })).toThrow(/kind/);
  expect(judge({ ...TRANSACTION, from: FROM }, [allow("it")]).kind).toBe("open");
});
