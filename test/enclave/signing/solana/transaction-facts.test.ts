/** What instructions are taken to do, each made by the client of its own program. */
import {
  AccountRole,
  type Address,
  getBase58Encoder,
  type Instruction,
  type ReadonlyUint8Array,
  some,
} from "@solana/kit";
import * as budget from "@solana-program/compute-budget";
import { getAddMemoInstruction } from "@solana-program/memo";
import * as system from "@solana-program/system";
import * as token from "@solana-program/token";
import { describe, expect, test } from "vitest";
import type { SolanaTransactionFacts, SolanaTransfer } from "../../../../enclave/policy/facts.ts";
import { parseTransaction } from "../../../../enclave/signing/solana/transaction.ts";
import { transactionFacts } from "../../../../enclave/signing/solana/transaction-facts.ts";
import { type Making, makeTransaction, named, signing } from "../../../support/solana.ts";

const [alice, bob, mint] = [named("alice"), named("bob"), named("mint")];
const [hers, his] = [named("alice's tokens"), named("bob's tokens")];
const me = signing("alice");
const TOKEN_2022 = { programAddress: "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb" as Address };
const ALL = 2n ** 64n - 1n;

function factsOf(instructions: readonly Instruction[], making: Partial<Making> = {}): SolanaTransactionFacts {
  const { wire } = makeTransaction(instructions, { feePayer: alice, ...making });
  return transactionFacts(parseTransaction(wire).message, alice);
}

function fields(changes: Partial<SolanaTransfer>): SolanaTransfer {
  return {
    ...{ asset: "sol", effect: "transfer", mint: null, source: null, authority: null, destination: null },
    ...{ destinationOwner: null, amount: 0n },
    ...changes,
  };
}

const amount = 12_345_678_901_234_567_890n;
const sol = { asset: "sol", amount, source: alice, authority: alice } as const;
const tokens = { asset: "token", amount, authority: alice } as const;

/** Kit gives an instruction's data as bytes that cannot be written to. */
const withData = (instruction: Instruction, edit: (data: number[]) => number[]): Instruction => ({
  ...instruction,
  data: Uint8Array.from(edit([...((instruction.data as ReadonlyUint8Array | undefined) ?? [])])),
});
const withAccounts = (instruction: Instruction, edit: (accounts: object[]) => object[]): Instruction => ({
  ...instruction,
  accounts: edit([...(instruction.accounts ?? [])]) as NonNullable<Instruction["accounts"]>,
});
const extra = { address: named("extra"), role: AccountRole.READONLY };

const systemTransfer = system.getTransferSolInstruction({ source: me, destination: bob, amount });
const seeded = { base: alice, baseAccount: me, seed: "säckchen", space: 165n, programAddress: named("program") };
const UNDERSTOOD: readonly [string, Instruction, Partial<SolanaTransfer>][] = [
  ["a transfer", systemTransfer, { ...sol, destination: bob }],
  [
    "an account that is made",
    system.getCreateAccountInstruction({
      ...{ payer: me, newAccount: signing("new"), lamports: amount, space: 10n, programAddress: named("program") },
    }),
    { ...sol, destination: named("new") },
  ],
  [
    "an account with a seed, of the payer",
    withAccounts(system.getCreateAccountWithSeedInstruction({ ...seeded, payer: me, newAccount: bob, amount }), (all) =>
      all.slice(0, 2),
    ),
    { ...sol, destination: bob },
  ],
  [
    "an account with a seed",
    system.getCreateAccountWithSeedInstruction({
      ...{ ...seeded, payer: me, newAccount: bob, amount, base: named("base"), baseAccount: signing("base") },
    }),
    { ...sol, destination: bob },
  ],
  [
    "a transfer with a seed",
    system.getTransferSolWithSeedInstruction({
      ...{ source: hers, baseAccount: me, destination: bob, amount, fromSeed: "", fromOwner: named("program") },
    }),
    { ...sol, source: hers, destination: bob },
  ],
  [
    "a nonce's lamports",
    system.getWithdrawNonceAccountInstruction({
      ...{ nonceAccount: named("nonce"), recipientAccount: bob, nonceAuthority: me, withdrawAmount: amount },
      recentBlockhashesSysvar: "SysvarRecentB1ockHashes11111111111111111111" as Address,
    }),
    { ...sol, source: named("nonce"), destination: bob },
  ],
  [
    "tokens",
    token.getTransferInstruction({ source: hers, destination: his, authority: me, amount }),
    { ...tokens, source: hers, destination: his },
  ],
  [
    "tokens, checked",
    token.getTransferCheckedInstruction({ source: hers, mint, destination: his, authority: me, amount, decimals: 6 }),
    { ...tokens, source: hers, mint, destination: his },
  ],
  [
    "tokens of Token-2022, checked",
    token.getTransferCheckedInstruction(
      { source: hers, mint, destination: his, authority: me, amount, decimals: 6 },
      TOKEN_2022,
    ),
    { ...tokens, source: hers, mint, destination: his },
  ],
  [
    "an approval",
    token.getApproveInstruction({ source: hers, delegate: bob, owner: me, amount }),
    { ...tokens, effect: "approve", source: hers, destination: bob },
  ],
  [
    "an approval, checked",
    token.getApproveCheckedInstruction({ source: hers, mint, delegate: bob, owner: me, amount, decimals: 6 }),
    { ...tokens, effect: "approve", source: hers, mint, destination: bob },
  ],
  [
    "tokens that are made",
    token.getMintToInstruction({ mint, token: his, mintAuthority: me, amount }),
    { ...tokens, effect: "mint", mint, destination: his },
  ],
  [
    "tokens that are made, checked",
    token.getMintToCheckedInstruction({ mint, token: his, mintAuthority: me, amount, decimals: 6 }),
    { ...tokens, effect: "mint", mint, destination: his },
  ],
  [
    "tokens that are burnt",
    token.getBurnInstruction({ account: hers, mint, authority: me, amount }),
    { ...tokens, effect: "burn", source: hers, mint },
  ],
  [
    "tokens that are burnt, checked",
    token.getBurnCheckedInstruction({ account: hers, mint, authority: me, amount, decimals: 6 }),
    { ...tokens, effect: "burn", source: hers, mint },
  ],
  [
    "a token account that is closed for somebody else",
    token.getCloseAccountInstruction({ account: hers, destination: bob, owner: me }),
    { ...sol, effect: "close", amount: ALL, source: hers, destination: bob },
  ],
  ...[0, 1, 2, 3].map((authorityType): [string, Instruction, Partial<SolanaTransfer>] => [
    `authority ${authorityType} handed over`,
    token.getSetAuthorityInstruction({ owned: hers, owner: me, authorityType, newAuthority: some(bob) }),
    { ...tokens, effect: "authority", amount: ALL, source: hers, destination: bob },
  ]),
  [
    "an authority given up",
    token.getSetAuthorityInstruction({ owned: mint, owner: me, authorityType: 0, newAuthority: null }),
    { ...tokens, effect: "authority", amount: ALL, source: mint },
  ],
  [
    "the rent of an associated token account",
    token.getCreateAssociatedTokenInstruction({ payer: me, ata: his, owner: bob, mint }),
    { ...sol, amount: 2_039_280n, destination: his, destinationOwner: bob },
  ],
  [
    "the rent of one that may be there",
    token.getCreateAssociatedTokenIdempotentInstruction({ payer: me, ata: his, owner: bob, mint }),
    { ...sol, amount: 2_039_280n, destination: his, destinationOwner: bob },
  ],
];

describe("what moves", () => {
  test.each(UNDERSTOOD)("%s", (_what, instruction, expected) => {
    const facts = factsOf([instruction]);
    expect(facts.transfers).toEqual([fields(expected)]);
    expect(facts).toMatchObject({ unknownInstructions: [], programs: [instruction.programAddress] });
  });

  test.each(UNDERSTOOD)("not %s with a byte or an account more or less", (_what, instruction) => {
    const changed = [
      withData(instruction, (data) => [...data, 0]),
      withData(instruction, (data) => data.slice(0, -1)),
      withAccounts(instruction, (accounts) => [...accounts, extra]),
      withAccounts(instruction, (accounts) => accounts.slice(0, -1)),
    ];
    const facts = changed.map((each) => factsOf([each]));
    // Two stay what they are: an associated account's creation may have no data, and a seed's base may be left out.
    const stays = facts.filter(({ unknownInstructions }) => unknownInstructions.length === 0);
    expect(stays.length).toBeLessThanOrEqual(1);
    for (const { transfers } of facts.filter((each) => !stays.includes(each))) expect(transfers).toEqual([]);
    for (const { transfers } of stays) expect(transfers).toEqual(factsOf([instruction]).transfers);
  });
});

describe("what moves nothing", () => {
  test.each<[string, Instruction]>([
    [
      "a nonce that moves on",
      system.getAdvanceNonceAccountInstruction({
        ...{ nonceAccount: named("nonce"), nonceAuthority: me },
        recentBlockhashesSysvar: "SysvarRecentB1ockHashes11111111111111111111" as Address,
      }),
    ],
    ["an approval taken back", token.getRevokeInstruction({ source: hers, owner: me })],
    ["wrapped SOL counted anew", token.getSyncNativeInstruction({ account: hers })],
    [
      "an account closed for oneself",
      token.getCloseAccountInstruction({ account: hers, destination: alice, owner: me }),
    ],
    ["a limit of heap", budget.getRequestHeapFrameInstruction({ bytes: 65_536 })],
    ["a limit of loaded data", budget.getSetLoadedAccountsDataSizeLimitInstruction({ accountDataSizeLimit: 1 })],
  ])("%s", (_what, instruction) => {
    expect(factsOf([instruction])).toMatchObject({ transfers: [], unknownInstructions: [] });
  });
});

describe("what is not understood", () => {
  const nonceAccount = named("nonce");
  test.each<[string, Instruction]>([
    ["another program", { programAddress: named("program"), data: Uint8Array.of(2, 0, 0, 0) }],
    ["a wallet handed to a program", system.getAssignInstruction({ account: me, programAddress: named("program") })],
    ["space for a wallet", system.getAllocateInstruction({ newAccount: me, space: 8n })],
    [
      "a wallet made a program's account",
      system.getCreateAccountInstruction({
        ...{ payer: signing("bob"), newAccount: me, lamports: 1n, space: 0n, programAddress: named("program") },
      }),
    ],
    [
      "a nonce handed over",
      system.getAuthorizeNonceAccountInstruction({ nonceAccount, nonceAuthority: me, newNonceAuthority: bob }),
    ],
    [
      "an authority of Token-2022's own",
      withData(
        token.getSetAuthorityInstruction(
          { owned: mint, owner: me, authorityType: 3, newAuthority: some(bob) },
          TOKEN_2022,
        ),
        (data) => data.with(1, 4),
      ),
    ],
    ["a frozen account", token.getFreezeAccountInstruction({ account: his, mint, owner: me })],
    ["no data", { ...systemTransfer, data: new Uint8Array() }],
    ["no data for the token program", { programAddress: token.TOKEN_PROGRAM_ADDRESS, data: new Uint8Array() }],
    [
      "an account of Token-2022, whose cost depends on its mint",
      token.getCreateAssociatedTokenInstruction({
        ...{ payer: me, ata: his, owner: bob, mint, tokenProgram: TOKEN_2022.programAddress },
      }),
    ],
    [
      "a nested account recovered",
      {
        ...token.getCreateAssociatedTokenInstruction({ payer: me, ata: his, owner: bob, mint }),
        data: Uint8Array.of(2),
      },
    ],
    [
      "a multisignature's transfer",
      token.getTransferInstruction({
        ...{ source: hers, destination: his, authority: named("multisig"), amount, multiSigners: [me] },
      }),
    ],
    ["a memo that is not UTF-8", withData(getAddMemoInstruction({ memo: "x" }), () => [0xc3])],
    [
      "a compute budget's unknown setting",
      { ...budget.getRequestHeapFrameInstruction({ bytes: 1 }), data: Uint8Array.of(9, 1, 1, 1, 1) },
    ],
    [
      "a compute budget's setting of before",
      { ...budget.getRequestHeapFrameInstruction({ bytes: 1 }), data: Uint8Array.of(0, 1, 1, 1, 1) },
    ],
    [
      "a batch of Token's instructions",
      { programAddress: token.TOKEN_PROGRAM_ADDRESS, data: Uint8Array.of(255, 0, 0) },
    ],
    [
      "a seed whose length is a lie",
      withData(
        system.getTransferSolWithSeedInstruction({
          ...{ source: hers, baseAccount: me, destination: bob, amount, fromSeed: "a", fromOwner: named("program") },
        }),
        (data) => data.with(19, 0xff),
      ),
    ],
  ])("%s", (_what, instruction) => {
    const facts = factsOf([systemTransfer, instruction, systemTransfer]);
    expect(facts.unknownInstructions).toEqual([1]);
    expect(facts.transfers).toHaveLength(2);
  });
});

describe("whose a token account is", () => {
  const create = token.getCreateAssociatedTokenIdempotentInstruction({ payer: me, ata: his, owner: bob, mint });
  const send = token.getTransferCheckedInstruction({
    ...{ source: hers, mint, destination: his, authority: me, amount, decimals: 6 },
  });
  const ownersOf = (instructions: readonly Instruction[]) =>
    factsOf(instructions)
      .transfers.filter(({ asset, effect }) => asset === "token" && effect === "transfer")
      .map(({ destinationOwner }) => destinationOwner);

  test("is known after the transaction has had it made or checked", () => {
    expect(ownersOf([create, send, send])).toEqual([bob, bob]);
  });

  test("is not known before", () => {
    expect(ownersOf([send, create])).toEqual([null]);
  });

  test("is not known any more once it may have changed", () => {
    const handOver = token.getSetAuthorityInstruction({
      ...{ owned: his, owner: signing("bob"), authorityType: 2, newAuthority: named("eve") },
    });
    const unknown: Instruction = { programAddress: named("program") };
    const close = token.getCloseAccountInstruction({ account: his, destination: bob, owner: signing("bob") });
    expect(ownersOf([create, handOver, send])).toEqual([null]);
    expect(ownersOf([create, unknown, send])).toEqual([null]);
    expect(ownersOf([create, close, send])).toEqual([null]);
    expect(ownersOf([create, unknown, create, send])).toEqual([bob]);
  });
});

test("accounts of address tables are null, whatever an instruction does with them", () => {
  const tables = { [named("table")]: [bob, his, mint, hers] };
  const checked = token.getTransferCheckedInstruction({
    ...{ source: hers, mint, destination: his, authority: me, amount, decimals: 6 },
  });
  const create = token.getCreateAssociatedTokenIdempotentInstruction({ payer: me, ata: his, owner: bob, mint });
  const facts = factsOf([systemTransfer, create, checked], { tables });
  expect(facts).toMatchObject({ version: 0, usesAddressTables: true, unknownInstructions: [] });
  expect(facts.transfers).toEqual([
    fields({ ...sol, destination: null }),
    fields({ ...sol, amount: 2_039_280n }),
    fields({ ...tokens, source: null, mint: null, destination: null }),
  ]);
  expect(factsOf([systemTransfer], { version: "legacy" })).toMatchObject({
    version: "legacy",
    usesAddressTables: false,
  });
});

test("who pays, which programs run, in their order, and what memos say", () => {
  const facts = factsOf(
    [getAddMemoInstruction({ memo: "für Bob" }), systemTransfer, getAddMemoInstruction({ memo: "" })],
    {
      feePayer: bob,
    },
  );
  expect(facts).toMatchObject({
    ...{ kind: "solana-transaction", from: alice, feePayer: bob, memos: ["für Bob", ""], unknownInstructions: [] },
    programs: [expect.stringMatching(/^Memo/), "11111111111111111111111111111111", expect.stringMatching(/^Memo/)],
  });
  const earlier = ["Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo", "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"];
  for (const programAddress of earlier as Address[]) {
    expect(factsOf([getAddMemoInstruction({ memo: "x" }, { programAddress })]).memos).toEqual(["x"]);
  }
});

describe("a durable nonce", () => {
  const nonce = { account: named("nonce"), authority: alice, value: named("value") };
  test("stands before all else", () => {
    const facts = factsOf([systemTransfer], { nonce });
    expect(facts).toMatchObject({ usesDurableNonce: true, unknownInstructions: [] });
    expect(facts.transfers).toHaveLength(1);
  });

  test("does nothing for a transaction in another place, and is one whatever follows its tag", () => {
    const advance = system.getAdvanceNonceAccountInstruction({
      ...{ nonceAccount: nonce.account, nonceAuthority: me },
      recentBlockhashesSysvar: "SysvarRecentB1ockHashes11111111111111111111" as Address,
    });
    expect(factsOf([systemTransfer, advance])).toMatchObject({ usesDurableNonce: false, unknownInstructions: [] });
    expect(factsOf([]).usesDurableNonce).toBe(false);
    const longer = withData(advance, (data) => [...data, 1]);
    expect(factsOf([longer])).toMatchObject({ usesDurableNonce: true, unknownInstructions: [0] });
  });
});

describe("the most that it may cost", () => {
  const price = (microLamports: bigint) => budget.getSetComputeUnitPriceInstruction({ microLamports });
  const limit = (units: number) => budget.getSetComputeUnitLimitInstruction({ units });
  test.each<[string, readonly Instruction[], bigint]>([
    ["5000 lamports for a signature", [systemTransfer], 5000n],
    [
      "and for another",
      [systemTransfer, system.getTransferSolInstruction({ source: signing("bob"), destination: alice, amount })],
      10_000n,
    ],
    ["a price by a limit", [price(1_000_000n), limit(777), systemTransfer], 5777n],
    ["rounded up", [price(1n), limit(1), systemTransfer], 5001n],
    ["200,000 units for each instruction without a limit", [price(1_000_000n), systemTransfer], 405_000n],
    ["1,400,000 units and no more", [price(1_000_000n), limit(2 ** 32 - 1), systemTransfer], 1_405_000n],
    [
      "that of eight instructions without a limit",
      [price(1_000_000n), ...new Array<Instruction>(8).fill(systemTransfer)],
      1_405_000n,
    ],
    ["the greatest price", [price(ALL), limit(1_400_000)], 5000n + (ALL * 1_400_000n + 999_999n) / 1_000_000n],
    [
      "signatures that its programs check",
      [{ programAddress: "Ed25519SigVerify111111111111111111111111111" as Address, data: Uint8Array.of(3, 0) }],
      20_000n,
    ],
  ])("%s", (_what, instructions, expected) => {
    expect(factsOf(instructions).maxFeeLamports).toBe(expected);
  });

  test("a price that is said twice is not understood", () => {
    expect(factsOf([price(1n), price(2n)]).unknownInstructions).toEqual([1]);
  });

  // The runtime reads a budget's data from its beginning, and looks at nothing else (solana-compute-budget-instruction).
  test.each<[string, (budget: Instruction) => Instruction]>([
    ["with accounts", (budget) => withAccounts(budget, () => [extra])],
    ["with a byte after it", (budget) => withData(budget, (data) => [...data, 0])],
  ])("a budget %s is not understood, and costs what it says", (_what, edit) => {
    expect(factsOf([edit(price(1_000_000n)), edit(limit(777)), systemTransfer])).toMatchObject({
      ...{ unknownInstructions: [0, 1], maxFeeLamports: 5777n },
    });
  });
});

test("addresses are Kit's own base 58", () => {
  const { transfers } = factsOf([systemTransfer]);
  expect([...getBase58Encoder().encode(transfers[0]?.destination ?? "")]).toEqual([...getBase58Encoder().encode(bob)]);
});
