/** Instructions with changed data and accounts, held against what the programs' own clients read in them. */
import { type Address, getBase58Encoder } from "@solana/kit";
import { parseSystemInstruction, SYSTEM_PROGRAM_ADDRESS } from "@solana-program/system";
import { parseTokenInstruction, TOKEN_PROGRAM_ADDRESS } from "@solana-program/token";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { SolanaTransfer } from "../../../../enclave/policy/facts.ts";
import type { SolanaMessage } from "../../../../enclave/signing/solana/message.ts";
import { transactionFacts } from "../../../../enclave/signing/solana/transaction-facts.ts";
import { named } from "../../../support/solana.ts";

interface Tried {
  readonly programAddress: Address;
  readonly accounts: readonly Address[];
  readonly data: Uint8Array;
}

const own = named("alice");
const people = [own, ...Array.from({ length: 5 }, (_, at) => named(`account ${at}`))];
const bytesOf = (address: string) => Uint8Array.from(getBase58Encoder().encode(address));

function messageOf({ programAddress, accounts, data }: Tried): SolanaMessage {
  return {
    ...{ version: "legacy", requiredSignatures: 1, readonlySigned: 0, readonlyUnsigned: 0, tableLookups: [] },
    accountKeys: [...people, programAddress].map(bytesOf),
    recentBlockhash: new Uint8Array(32),
    instructions: [
      {
        programIndex: people.length,
        accountIndexes: Uint8Array.from(accounts, (each) => people.indexOf(each)),
        data,
      },
    ],
  };
}

/** What the client makes of it: its accounts and fields by their names. Null where it makes nothing of it. */
function judged({ programAddress, accounts, data }: Tried): { accounts: Named; data: Named } | null {
  const instruction = { programAddress, accounts: accounts.map((address) => ({ address, role: 0 })), data };
  try {
    const parsed = (
      programAddress === SYSTEM_PROGRAM_ADDRESS
        ? parseSystemInstruction(instruction as never)
        : parseTokenInstruction(instruction as never)
    ) as { accounts?: Record<string, { address: string } | undefined>; data: Named };
    const addresses = Object.entries(parsed.accounts ?? {}).map(([name, meta]) => [name, meta?.address]);
    return { accounts: Object.fromEntries(addresses), data: parsed.data };
  } catch {
    return null;
  }
}
type Named = Readonly<Record<string, unknown>>;

const eachByte = fc.uint8Array({ minLength: 0, maxLength: 12 });
const u64 = fc.bigInt(0n, 2n ** 64n - 1n).map((value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
});
const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
const seed = fc.string({ maxLength: 8 }).map((text) => {
  const bytes = Buffer.from(text, "utf8");
  return Buffer.concat([Buffer.from(BigUint64Array.of(BigInt(bytes.length)).buffer), bytes]);
});
const part = fc.oneof(u64, u64, key, seed, eachByte, fc.constant(Buffer.alloc(0)));
const rest = fc.oneof(
  fc.constant(Buffer.alloc(0)),
  fc.array(part, { maxLength: 4 }).map((parts) => Buffer.concat(parts)),
  // As instructions with a seed are: base, seed, lamports, space, owner; lamports, seed, owner.
  fc.tuple(key, seed, u64, u64, key).map((parts) => Buffer.concat(parts)),
  fc.tuple(u64, seed, key).map((parts) => Buffer.concat(parts)),
  fc.tuple(u64, fc.nat(9)).map(([value, decimals]) => Buffer.concat([value, Uint8Array.of(decimals)])),
  fc.tuple(fc.nat(5), key).map(([type, owner]) => Buffer.concat([Uint8Array.of(type, 1), owner])),
);
const few = fc.array(fc.constantFrom(...people), { minLength: 2, maxLength: 4 });
const accounts = fc.oneof({ arbitrary: few, weight: 4 }, fc.array(fc.constantFrom(...people), { maxLength: 6 }));
/** Those that are understood come often enough for each effect to be seen. */
const tokenTag = fc.oneof({ arbitrary: fc.constantFrom(3, 4, 6, 7, 8, 9, 12, 13, 14, 15), weight: 3 }, fc.nat(26));
const tried: fc.Arbitrary<Tried> = fc.oneof(
  fc.record({ tag: fc.nat(14), rest, accounts }).map((made) => ({
    ...{ programAddress: SYSTEM_PROGRAM_ADDRESS, accounts: made.accounts },
    data: Uint8Array.from([made.tag, 0, 0, 0, ...made.rest]),
  })),
  fc.record({ tag: tokenTag, rest, accounts }).map((made) => ({
    ...{ programAddress: TOKEN_PROGRAM_ADDRESS, accounts: made.accounts },
    data: Uint8Array.from([made.tag, ...made.rest]),
  })),
);

test("whatever is told of an instruction, its program's client reads the same in it", () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(tried, (instruction) => {
      const { transfers, unknownInstructions } = transactionFacts(messageOf(instruction), own);
      if (unknownInstructions.length > 0) {
        expect(transfers).toEqual([]);
        return;
      }
      const judge = judged(instruction);
      expect(judge).not.toBeNull();
      for (const transfer of transfers) {
        seen.add(`${transfer.asset} ${transfer.effect}`);
        expectSame(transfer, judge ?? { accounts: {}, data: {} });
      }
    }),
    { numRuns: 20_000 },
  );
  expect([...seen].sort()).toEqual([
    ...["sol close", "sol transfer", "token approve", "token authority", "token burn", "token mint", "token transfer"],
  ]);
});

function expectSame({ effect, amount, source, destination, authority }: SolanaTransfer, judge: NonNullable<Judge>) {
  const { accounts: named, data } = judge;
  const told = data["amount"] ?? data["lamports"] ?? data["withdrawAmount"];
  if (effect === "authority" || effect === "close") expect(amount).toBe(2n ** 64n - 1n);
  else expect(amount).toBe(told);
  const ends = Object.values(named);
  const newAuthority = data["newAuthority"] as { __option: string; value?: string } | undefined;
  for (const each of [source, authority]) if (each !== null) expect(ends).toContain(each);
  if (effect === "authority") expect(destination).toBe(newAuthority?.value ?? null);
  else if (destination !== null) {
    const receivers = ["destination", "recipientAccount", "newAccount", "delegate", "token"].map((name) => named[name]);
    expect(receivers).toContain(destination);
  } else expect(effect).toBe("burn");
}
type Judge = ReturnType<typeof judged>;
