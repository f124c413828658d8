/** EIP-7702 against viem, which shares no code with what is tested. */
import fc from "fast-check";
import { type Hex, hexToBytes, keccak256, toHex, toRlp } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { hashAuthorization, recoverAuthorizationAddress } from "viem/utils";
import { expect, test } from "vitest";
import { authorityOf, encodeAuthorization, signAuthorization } from "../../../../enclave/signing/evm/authorization.ts";
import { signRecoverable } from "../../../../enclave/signing/secp256k1.ts";
import { OPERATIONS } from "../../../../protocol/index.ts";

const KEY: Hex = `0x${"46".repeat(32)}`;
const account = privateKeyToAccount(KEY);
const signer = { signDigest: (digest: Uint8Array) => signRecoverable(digest, hexToBytes(KEY)) };
const address = fc.uint8Array({ minLength: 20, maxLength: 20 }).map((bytes): Hex => toHex(bytes));

test("any authorization is signed as viem signs it, and names its authority", async () => {
  const drawn = fc.record({ chainId: fc.oneof(fc.constant(0), fc.nat()), address, nonce: fc.maxSafeNat() });
  await fc.assert(
    fc.asyncProperty(drawn, async ({ chainId, address, nonce }) => {
      const authorization = { chainId: BigInt(chainId), delegate: hexToBytes(address), nonce: BigInt(nonce) };
      const signed = signAuthorization(authorization, signer);
      const theirs = await account.signAuthorization({ chainId, address, nonce });
      const { rs, recoveryId } = signed.signature;
      expect([toHex(rs.subarray(0, 32)), toHex(rs.subarray(32))].map(BigInt)).toEqual([theirs.r, theirs.s].map(BigInt));
      expect(recoveryId).toBe(theirs.yParity);
      expect(authorityOf(signed)).toBe(account.address);
      expect(await recoverAuthorizationAddress({ authorization: theirs })).toBe(authorityOf(signed));
    }),
    { numRuns: 60 },
  );
});

test("the digest is the EIP's: keccak256(0x05 ‖ rlp([chain_id, address, nonce]))", () => {
  const address = `0x${"ab".repeat(20)}` as const;
  const digest = keccak256(`0x05${toRlp(["0x01", address, "0x03"]).slice(2)}`);
  expect(hashAuthorization({ chainId: 1, address, nonce: 3 })).toBe(digest);
  const digests: string[] = [];
  signAuthorization(
    { chainId: 1n, delegate: hexToBytes(address), nonce: 3n },
    {
      signDigest: (bytes) => {
        digests.push(toHex(bytes));
        return signer.signDigest(bytes);
      },
    },
  );
  expect(digests).toEqual([digest]);
});

test("another authorization under the same signature is another's, or nobody's", () => {
  const delegate = hexToBytes(`0x${"ab".repeat(20)}`);
  const signed = signAuthorization({ chainId: 1n, delegate, nonce: 3n }, signer);
  for (const changes of [{ chainId: 0n }, { nonce: 4n }, { delegate: new Uint8Array(20) }]) {
    expect(authorityOf({ ...signed, ...changes })).not.toBe(account.address);
  }
});

test("its RLP is what a transaction of type 4 holds", () => {
  const delegate = hexToBytes(`0x${"ab".repeat(20)}`);
  const signed = signAuthorization({ chainId: 0n, delegate, nonce: 0n }, signer);
  const { rs, recoveryId } = signed.signature;
  const fields: Hex[] = ["0x", toHex(delegate), "0x", recoveryId === 0 ? "0x" : "0x01"];
  expect(toHex(encodeAuthorization(signed))).toBe(
    toRlp([...fields, toHex(BigInt(toHex(rs.subarray(0, 32)))), toHex(BigInt(toHex(rs.subarray(32))))].map(even)),
  );
});

test.each<[string, object]>([
  ["no nonce", { nonce: undefined }],
  ["no chain id", { chainId: undefined }],
  ["a nonce of 2^64 - 1 (EIP-2681)", { nonce: (2n ** 64n - 1n).toString() }],
  ["a chain id of 2^64", { chainId: (2n ** 64n).toString() }],
  ["a nonce that is a number", { nonce: 1 }],
  ["a delegate in mixed case", { delegate: account.address }],
  ["a delegate of 19 bytes", { delegate: `0x${"11".repeat(19)}` }],
  ["a field that it does not have", { executor: "self" }],
])("params refuse %s", (_what, changes) => {
  const { params } = OPERATIONS.sign_authorization;
  const good = { walletId: `wal_${"0".repeat(32)}`, chainId: "1", delegate: `0x${"11".repeat(20)}`, nonce: "0" };
  expect(params.safeParse(good).success).toBe(true);
  expect(params.safeParse({ ...good, ...changes }).success).toBe(false);
});

/** Whole bytes: viem writes numbers as short as they are. */
function even(hex: Hex): Hex {
  return hex.length % 2 === 0 ? hex : `0x0${hex.slice(2)}`;
}
