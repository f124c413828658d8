/** ERC-4337: what a smart account is asked to do, and the hash of it that its owner signs. */
import { decodeHex, type Params, RequestError } from "../../../protocol/index.ts";
import type { EvmUserOperationFacts } from "../../policy/facts.ts";
import { checksummed } from "../ethereum-address.ts";
import { keccak256 } from "../keccak.ts";
import { accountCallsOf } from "./account-calls.ts";
import { tokenMovesOf } from "./token-moves.ts";

export type UserOperationRequest = Pick<Params<"sign_user_operation">, "chainId" | "entryPoint" | "userOperation">;
type UserOperation = UserOperationRequest["userOperation"];
type Version = UserOperation["version"];

/** Where the contracts of each version stand, on every chain that has them. */
const ENTRY_POINTS: Readonly<Record<Version, string>> = {
  "0.6": "0x5ff137d4b0fdcd49dca30c7cf57e578a026d2789",
  "0.7": "0x0000000071727de22e5e9d8baf0edac6f37da032",
  "0.8": "0x4337084d9e255ff0702461cf8895ce9e3b5ff108",
};
const DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
const OPERATION_TYPE =
  "PackedUserOperation(address sender,uint256 nonce,bytes initCode,bytes callData,bytes32 accountGasLimits," +
  "uint256 preVerificationGas,bytes32 gasFees,bytes paymasterAndData)";

/**
 * Its hash (`userOpHash`), bound to chain and entry point: in version 0.8 by EIP-712.
 *
 * @throws {@link RequestError} `ENTRY_POINT_MISMATCH` for the well-known entry point of another version
 */
export function hashUserOperation({ chainId, entryPoint, userOperation }: UserOperationRequest): Uint8Array {
  checkEntryPoint(userOperation.version, entryPoint);
  const words = [addressWord(userOperation.sender), word(userOperation.nonce), ...restOf(userOperation)];
  if (userOperation.version !== "0.8") {
    return keccak256(Buffer.concat([keccak256(Buffer.concat(words)), addressWord(entryPoint), word(chainId)]));
  }
  const names = [DOMAIN_TYPE, "ERC4337", "1"].map((text) => keccak256(Buffer.from(text, "latin1")));
  const domain = keccak256(Buffer.concat([...names, word(chainId), addressWord(entryPoint)]));
  const operation = keccak256(Buffer.concat([keccak256(Buffer.from(OPERATION_TYPE, "latin1")), ...words]));
  return keccak256(Buffer.concat([Uint8Array.of(0x19, 0x01), domain, operation]));
}

/** What policies are told of it. @param from - The account that is to sign: the owner, not the smart account. */
export function userOperationFacts(from: string, request: UserOperationRequest): EvmUserOperationFacts {
  const { userOperation } = request;
  const { version, paymaster } = userOperation;
  const sender = address(userOperation.sender);
  const callData = bytesOf(userOperation.callData);
  const calls = accountCallsOf(sender, callData);
  return {
    ...{ kind: "evm-user-operation", from, version, sender, callData, calls },
    chainId: BigInt(request.chainId),
    entryPoint: address(request.entryPoint),
    nonce: BigInt(userOperation.nonce),
    ...tokenMovesOf(sender, calls ?? []),
    ...originOf(userOperation),
    paymaster: paymaster && address(paymaster.address),
    maxFeeWei: gasOf(userOperation) * BigInt(userOperation.maxFeePerGas),
  };
}

/** Version 0.8 hashes a delegate as it hashes a factory, so that one signature is good for either: it is judged as both. */
function originOf(operation: UserOperation): Pick<EvmUserOperationFacts, "factory" | "delegate"> {
  const { version, factory } = operation;
  if (version !== "0.8") return { factory: factory && address(factory.address), delegate: null };
  const either = operation.delegation?.delegate ?? factory?.address;
  const both = either === undefined ? null : address(either);
  return { factory: both, delegate: both };
}

function checkEntryPoint(version: Version, entryPoint: string): void {
  const known = Object.entries(ENTRY_POINTS).find(([, address]) => address === entryPoint);
  if (known === undefined || known[0] === version) return;
  throw new RequestError("ENTRY_POINT_MISMATCH", `the entry point of version ${known[0]}, asked for ${version}`);
}

/** What follows sender and nonce: 0.6 hashes each limit by itself, later ones pack two into a word. */
function restOf(operation: UserOperation): readonly Uint8Array[] {
  const { version, callGasLimit, verificationGasLimit, preVerificationGas } = operation;
  const { maxFeePerGas, maxPriorityFeePerGas } = operation;
  const code = [keccak256(initCodeOf(operation)), keccak256(bytesOf(operation.callData))];
  const paymaster = keccak256(paymasterAndDataOf(operation));
  if (version === "0.6") {
    const gas = [callGasLimit, verificationGasLimit, preVerificationGas, maxFeePerGas, maxPriorityFeePerGas];
    return [...code, ...gas.map(word), paymaster];
  }
  const limits = Buffer.concat([half(verificationGasLimit), half(callGasLimit)]);
  const fees = Buffer.concat([half(maxPriorityFeePerGas), half(maxFeePerGas)]);
  return [...code, limits, word(preVerificationGas), fees, paymaster];
}

/** In 0.8 the hash has the delegate of EIP-7702 in the marker's place. */
function initCodeOf(operation: UserOperation): Uint8Array {
  if (operation.version === "0.8" && operation.delegation !== null) {
    return Buffer.concat([bytesOf(operation.delegation.delegate), bytesOf(operation.delegation.data)]);
  }
  const { factory } = operation;
  return factory === null ? new Uint8Array(0) : Buffer.concat([bytesOf(factory.address), bytesOf(factory.data)]);
}

function paymasterAndDataOf({ version, paymaster }: UserOperation): Uint8Array {
  if (paymaster === null) return new Uint8Array(0);
  const limits =
    version === "0.6" || !("postOpGasLimit" in paymaster)
      ? []
      : [half(paymaster.verificationGasLimit), half(paymaster.postOpGasLimit)];
  return Buffer.concat([bytesOf(paymaster.address), ...limits, bytesOf(paymaster.data)]);
}

/** As the entry point reckons what must be there beforehand; in 0.6 a paymaster's steps have the account's limit each. */
function gasOf(operation: UserOperation): bigint {
  const { callGasLimit, verificationGasLimit, preVerificationGas, paymaster } = operation;
  const verifications = operation.version === "0.6" && paymaster !== null ? 3n : 1n;
  const gas = BigInt(callGasLimit) + BigInt(verificationGasLimit) * verifications + BigInt(preVerificationGas);
  if (paymaster === null || !("postOpGasLimit" in paymaster)) return gas;
  return gas + BigInt(paymaster.verificationGasLimit) + BigInt(paymaster.postOpGasLimit);
}

function address(hex: string): string {
  return checksummed(bytesOf(hex));
}

function addressWord(hex: string): Uint8Array {
  return Buffer.concat([new Uint8Array(12), bytesOf(hex)]);
}

function word(decimal: string): Uint8Array {
  return Buffer.from(BigInt(decimal).toString(16).padStart(64, "0"), "hex");
}

function half(decimal: string): Uint8Array {
  return word(decimal).subarray(16);
}

function bytesOf(hex: string): Uint8Array {
  return decodeHex(hex.slice(2));
}
