import fc from "fast-check";
import { recoverMessageAddress, toHex } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { expect, test } from "vitest";
import { signEip191 } from "../../../../enclave/signing/evm/eip191.ts";
import { signRecoverable } from "../../../../enclave/signing/secp256k1.ts";
import { fromHex } from "../../../support/wycheproof.ts";

const KEY = fromHex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");
const SIGNER = { signDigest: (digest: Uint8Array) => signRecoverable(digest, KEY) };
const account = privateKeyToAccount(toHex(KEY));

async function expectAsViem(message: Uint8Array): Promise<void> {
  const signature = toHex(signEip191(message, SIGNER));
  expect(signature).toBe(await account.signMessage({ message: { raw: message } }));
  expect(await recoverMessageAddress({ message: { raw: message }, signature })).toBe(account.address);
}

test("any message is signed as viem signs it", async () => {
  await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 2_000 }), expectAsViem), { numRuns: 60 });
});

// The prefix holds the length in decimal digits: where their number changes, and none.
test.each([0, 1, 9, 10, 99, 100, 999, 1_000, 65_536])("a message of %d bytes", async (length) => {
  await expectAsViem(new Uint8Array(length).fill(0x61));
});

test("a message that spells a prefixed one of its own is prefixed again", async () => {
  await expectAsViem(Buffer.from("\x19Ethereum Signed Message:\n1a", "latin1"));
});

test("v is 27 or 28, and both occur", () => {
  const vs = new Set(Array.from({ length: 40 }, (_, at) => signEip191(Uint8Array.of(at), SIGNER)[64]));
  expect([...vs].sort()).toEqual([27, 28]);
});
