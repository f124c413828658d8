/** What is signed for Ethereum and the chains like it. */
import { accountSelector } from "../accounts.ts";
import { decimal } from "../decimal.ts";
import { walletId } from "../scope.ts";
import type { JsonValue } from "../strict-json.ts";
import { z } from "../zod.ts";
import { hexBytes } from "./ids.ts";

const signer = { walletId, account: z.exactOptional(accountSelector) };
/** Lower case, as all bytes in bodies: EIP-55's check is for people who type. */
const address = z.string().check(z.regex(/^0x[0-9a-f]{40}$/, "expected 0x and 40 lower-case hex digits"));
/** EIP-2681's limit for nonces is one less than for the rest. */
const nonce64 = decimal.check(z.refine((text) => BigInt(text) < 2n ** 64n - 1n, "over 2^64 - 2"));
const uint64 = decimal.check(z.refine((text) => BigInt(text) < 2n ** 64n, "over 2^64 - 1"));
/** Entry points revert above it (AA94), fees included. */
const uint120 = decimal.check(z.refine((text) => BigInt(text) < 2n ** 120n, "over 2^120 - 1"));
const calldata = hexBytes(64 * 1024);
/** r ‖ s ‖ v, 65 bytes, v 27 or 28. */
const signature = hexBytes(65);

const userOperation = {
  sender: address,
  nonce: decimal,
  callData: calldata,
  callGasLimit: uint120,
  verificationGasLimit: uint120,
  preVerificationGas: uint120,
  maxFeePerGas: uint120,
  maxPriorityFeePerGas: uint120,
  /** What makes the account, if it is not there yet: `initCode` is both together. */
  factory: z.nullable(z.strictObject({ address, data: calldata })),
};
const paymaster = z.nullable(
  z.strictObject({ address, verificationGasLimit: uint120, postOpGasLimit: uint120, data: calldata }),
);
/** In a factory's place it stands for EIP-7702, which has a field of its own here. */
const EIP7702_MARKER = "0x7702000000000000000000000000000000000000";

/** ERC-4337, each version's own fields. Every one is mandatory, null where nothing is meant. */
const anyUserOperation = z.discriminatedUnion("version", [
  z.strictObject({
    version: z.literal("0.6"),
    ...userOperation,
    paymaster: z.nullable(z.strictObject({ address, data: calldata })),
  }),
  z.strictObject({ version: z.literal("0.7"), ...userOperation, paymaster }),
  z
    .strictObject({
      version: z.literal("0.8"),
      ...userOperation,
      paymaster,
      /** EIP-7702: the code that `sender` hands itself to, and what it is told at first. */
      delegation: z.nullable(z.strictObject({ delegate: address, data: calldata })),
    })
    .check(
      z.refine(
        ({ factory, delegation }) => factory === null || delegation === null,
        "expected a factory, a delegation, or neither",
      ),
      z.refine(({ factory }) => factory?.address !== EIP7702_MARKER, "expected a delegation in the marker's place"),
    ),
]);

export const EVM_OPERATIONS = {
  sign_transaction: {
    params: z.strictObject({
      ...signer,
      /** EIP-155 chain id; must be the transaction's own. */
      chainId: decimal,
      /**
       * Without signature: RLP of a legacy transaction as EIP-155 signs it, or EIP-2718 bytes of types 1 to 4. A blob
       * transaction without its blobs; EIP-7702's authorizations signed.
       */
      unsignedTransaction: hexBytes(128 * 1024),
    }),
    result: z.strictObject({
      /** EIP-2718 bytes, ready to broadcast; a blob transaction once its blobs are put beside it. */
      signedTransaction: hexBytes(129 * 1024),
      /** keccak256 of `signedTransaction`. */
      transactionHash: hexBytes(32),
    }),
  },
  sign_message: {
    params: z.strictObject({
      ...signer,
      /** The bytes to sign under EIP-191 version 0x45 (`personal_sign`), before the prefix. */
      message: hexBytes(64 * 1024),
    }),
    result: z.strictObject({ signature }),
  },
  sign_typed_data: {
    params: z.strictObject({
      ...signer,
      /**
       * EIP-712, as `eth_signTypedData_v4` takes it: `types` with `EIP712Domain`, `primaryType`, `domain`, `message`.
       * Integers are JSON numbers up to 2^53 or decimal strings. What it holds is read by `enclave/signing/evm/`.
       */
      typedData: z.custom<{ [field: string]: JsonValue }>(
        (value) => typeof value === "object" && value !== null && !Array.isArray(value),
        { error: "expected an object" },
      ),
    }),
    result: z.strictObject({ signature }),
  },
  sign_authorization: {
    params: z.strictObject({
      ...signer,
      /** 0 is good on every chain. */
      chainId: uint64,
      /** The contract whose code the account takes on; zeros take a delegation back. */
      delegate: address,
      nonce: nonce64,
    }),
    result: z.strictObject({
      yParity: z.literal([0, 1]),
      r: hexBytes(32),
      s: hexBytes(32),
      /** RLP of the six fields, as transactions of type 4 hold it. */
      signedAuthorization: hexBytes(128),
    }),
  },
  sign_user_operation: {
    params: z.strictObject({
      ...signer,
      chainId: uint64,
      entryPoint: address,
      userOperation: anyUserOperation,
      /**
       * What the account's contract verifies: the hash as an EIP-191 message, as most accounts of 0.6 and 0.7 do, or the
       * hash itself, as those of 0.8 do.
       */
      over: z.enum(["eip191-message", "hash"]),
    }),
    result: z.strictObject({ userOperationHash: hexBytes(32), signature }),
  },
} as const;
