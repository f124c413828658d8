/** Transactions in their wire form: who signs, in which place, and what becomes of signatures that are there already. */
import { createHash, createPublicKey, verify } from "node:crypto";
import {
  AccountRole,
  assertIsFullySignedTransaction,
  createKeyPairSignerFromPrivateKeyBytes,
  getTransactionDecoder,
  getTransactionEncoder,
  type Instruction,
  partiallySignTransaction,
} from "@solana/kit";
import { getTransferSolInstruction } from "@solana-program/system";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  checkSignatures,
  MAX_TRANSACTION_BYTES,
  parseTransaction,
  SIGNATURE_BYTES,
  signerIndex,
  signTransaction,
} from "../../../../enclave/signing/solana/transaction.ts";
import { keyOf, makeTransaction, named } from "../../../support/solana.ts";

const alice = keyOf("alice");
const bob = keyOf("bob");
const carol = keyOf("carol");

/** The same keys, as Kit signs with them. */
const kitsKeyOf = async (name: string) =>
  (await createKeyPairSignerFromPrivateKeyBytes(createHash("sha256").update(`key of ${name}`).digest())).keyPair;

/** Alice pays; Bob and Carol sign too. */
function threeSigners(version: "legacy" | 0 = 0): Uint8Array {
  const instruction: Instruction = {
    programAddress: named("program"),
    accounts: [
      { address: alice.address, role: AccountRole.WRITABLE_SIGNER },
      { address: bob.address, role: AccountRole.WRITABLE_SIGNER },
      { address: carol.address, role: AccountRole.READONLY_SIGNER },
    ],
    data: Uint8Array.of(1, 2, 3),
  };
  return makeTransaction([instruction], { feePayer: alice.address, version }).wire;
}

function isSignedBy(message: Uint8Array, signature: Uint8Array, publicKey: Uint8Array): boolean {
  const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), publicKey]);
  return verify(null, message, createPublicKey({ key: der, format: "der", type: "spki" }), signature);
}

describe.each(["legacy", 0] as const)("version %s", (version) => {
  test("what one signer signs is, byte for byte, what Kit makes of it", async () => {
    const transfer = getTransferSolInstruction({
      ...{ source: { address: alice.address, signTransactions: async () => [] }, destination: bob.address },
      amount: 5n,
    });
    const { wire } = makeTransaction([transfer], { feePayer: alice.address, version });
    const ours = signTransaction(parseTransaction(wire), alice);
    const kits = await partiallySignTransaction([await kitsKeyOf("alice")], getTransactionDecoder().decode(wire));
    expect(Uint8Array.from(ours.bytes)).toEqual(Uint8Array.from(getTransactionEncoder().encode(kits)));
    expect(ours.isComplete).toBe(true);
    expect(ours.bytes).toHaveLength(wire.length);
  });

  test("signers sign one after another, in any order, and Kit finds it whole", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([alice, bob, carol], { minLength: 3 }), (order) => {
        let bytes = threeSigners(version);
        const states = order.map((signer) => {
          const transaction = parseTransaction(bytes);
          checkSignatures(transaction);
          const signed = signTransaction(transaction, signer);
          bytes = signed.bytes;
          return signed.isComplete;
        });
        expect(states).toEqual([false, false, true]);
        const judged = getTransactionDecoder().decode(bytes);
        expect(() => assertIsFullySignedTransaction(judged)).not.toThrow();
        for (const { address, publicKey } of [alice, bob, carol]) {
          const signature = Uint8Array.from(judged.signatures[address] ?? []);
          expect(isSignedBy(Uint8Array.from(judged.messageBytes), signature, publicKey)).toBe(true);
        }
      }),
      { numRuns: 20 },
    );
  });
});

test("asked again with the signature in its place, the answer is the same", () => {
  const once = signTransaction(parseTransaction(threeSigners()), bob);
  const again = parseTransaction(once.bytes);
  checkSignatures(again);
  expect(signTransaction(again, bob)).toEqual(once);
});

describe("TRANSACTION_SIGNATURE_INVALID", () => {
  const signed = signTransaction(parseTransaction(threeSigners()), bob).bytes;
  const invalid = (bytes: Uint8Array) => {
    const transaction = parseTransaction(bytes);
    expect(() => checkSignatures(transaction)).toThrow(
      expect.objectContaining({ code: "TRANSACTION_SIGNATURE_INVALID" }),
    );
  };

  test("any bit of another's signature", () => {
    fc.assert(
      fc.property(fc.nat(SIGNATURE_BYTES * 8 - 1), (bit) => {
        const changed = Uint8Array.from(signed);
        const at = 1 + SIGNATURE_BYTES + (bit >> 3);
        changed[at] = (changed[at] ?? 0) ^ (1 << (bit & 7));
        invalid(changed);
      }),
      { numRuns: 50 },
    );
  });

  test("one in another's place", () => {
    const moved = Uint8Array.from(signed);
    moved.copyWithin(1, 1 + SIGNATURE_BYTES, 1 + 2 * SIGNATURE_BYTES);
    invalid(moved);
  });

  test("one over another message", () => {
    const other = Uint8Array.from(signed);
    other[other.length - 2] = (other.at(-2) ?? 0) ^ 1;
    invalid(other);
  });
});

test("NOT_A_SIGNER for an account that is there and signs nothing, and for one that is not there", () => {
  const transfer = getTransferSolInstruction({
    ...{ source: { address: alice.address, signTransactions: async () => [] }, destination: bob.address },
    amount: 5n,
  });
  const { message } = parseTransaction(makeTransaction([transfer], { feePayer: alice.address }).wire);
  expect(signerIndex(message, alice.publicKey)).toBe(0);
  for (const { publicKey } of [bob, carol]) {
    expect(() => signerIndex(message, publicKey)).toThrow(expect.objectContaining({ code: "NOT_A_SIGNER" }));
  }
  // Whoever holds the key and forgets to ask gets no signature either.
  expect(() => signTransaction(parseTransaction(threeSigners()), keyOf("dave"))).toThrow(
    expect.objectContaining({ code: "NOT_A_SIGNER" }),
  );
});

describe("TRANSACTION_MALFORMED", () => {
  const wire = threeSigners();
  const message = wire.subarray(1 + 3 * SIGNATURE_BYTES);
  const slots = (count: number) => new Uint8Array(count * SIGNATURE_BYTES);

  test.each<[string, Uint8Array]>([
    ["nothing", new Uint8Array()],
    ["a message alone", message],
    ["no signatures", Buffer.concat([Uint8Array.of(0), message])],
    ["two of three signatures", Buffer.concat([Uint8Array.of(2), slots(2), message])],
    ["four of three signatures", Buffer.concat([Uint8Array.of(4), slots(4), message])],
    ["signatures counted in two bytes", Buffer.concat([Uint8Array.of(0x83, 0), slots(3), message])],
    ["a signature that is cut", wire.subarray(0, SIGNATURE_BYTES)],
    ["a byte at the end", Buffer.concat([wire, Uint8Array.of(0)])],
  ])("%s", (_what, bytes) => {
    expect(() => parseTransaction(bytes)).toThrow(expect.objectContaining({ code: "TRANSACTION_MALFORMED" }));
  });

  test("1233 bytes, and not 1232", () => {
    const withData = (length: number) =>
      makeTransaction([{ programAddress: named("program"), data: new Uint8Array(length) }], {
        ...{ feePayer: alice.address, version: "legacy" },
      }).wire;
    const overhead = withData(200).length - 200;
    const greatest = withData(MAX_TRANSACTION_BYTES - overhead);
    expect(greatest).toHaveLength(MAX_TRANSACTION_BYTES);
    expect(parseTransaction(greatest).signatures).toEqual([null]);
    expect(() => parseTransaction(withData(MAX_TRANSACTION_BYTES - overhead + 1))).toThrow(
      expect.objectContaining({ code: "TRANSACTION_MALFORMED", message: expect.stringContaining("1233") }),
    );
  });
});
