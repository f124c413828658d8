/**
 * What calls of tokens' contracts move. By the call alone: that the contract does what the standards say is between it and
 * whoever named it in a policy.
 */
import type { EvmCall, TokenMove } from "../../policy/facts.ts";
import { type AbiValue, decodeCall, type FunctionSignature, isCallOf, knownSignature } from "./abi.ts";

export interface TokenMoves {
  readonly tokenMoves: readonly TokenMove[];
  /**
   * True for a call that begins like a token's and is not encoded like one, and for one of the account itself: what either
   * moves is not known.
   */
  readonly hasUnreadTokenCall: boolean;
}

/** Where a function's arguments say what it moves. ERC-1155's batches have lists in the places of amount and id. */
interface TokenFunction extends Pick<TokenMove, "standard" | "effect"> {
  readonly signature: FunctionSignature;
  readonly owner: number | "caller";
  readonly recipient: number;
  /** `all`: unless the argument after the recipient, a bool, takes it back. */
  readonly amount: number | "one" | "all";
  readonly tokenId: number | null;
}

const FUNCTIONS: readonly TokenFunction[] = [
  transfer("erc20", "transfer(address,uint256)", { owner: "caller", recipient: 0, amount: 1, tokenId: null }),
  transfer("erc20-or-erc721", "transferFrom(address,address,uint256)", { amount: 2, tokenId: 2 }),
  transfer("erc721", "safeTransferFrom(address,address,uint256)", { amount: "one", tokenId: 2 }),
  transfer("erc721", "safeTransferFrom(address,address,uint256,bytes)", { amount: "one", tokenId: 2 }),
  transfer("erc1155", "safeTransferFrom(address,address,uint256,uint256,bytes)", { amount: 3, tokenId: 2 }),
  transfer("erc1155", "safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)", { amount: 3, tokenId: 2 }),
  approval("erc20-or-erc721", "approve(address,uint256)", { amount: 1, tokenId: 1 }),
  // OpenZeppelin's, in most ERC-20 tokens of before 2023: adds to what was approved.
  approval("erc20", "increaseAllowance(address,uint256)", { amount: 1, tokenId: null }),
  approval("erc721-or-erc1155", "setApprovalForAll(address,bool)", { amount: "all", tokenId: null }),
];

/** @param from - Who calls: the account that signs, or the one that a user operation is for. */
export function tokenMovesOf(from: string, calls: readonly EvmCall[]): TokenMoves {
  const tokenMoves: TokenMove[] = [];
  let hasUnreadTokenCall = false;
  for (const { to, data } of calls) {
    // Where EIP-7702 has given the account code, that can do whatever the account may.
    if (to === from && data.length > 0) hasUnreadTokenCall = true;
    const called = FUNCTIONS.find(({ signature }) => isCallOf(signature, data));
    if (called === undefined) continue;
    const args = decodeCall(called.signature, data);
    const moves = args === null ? null : movesOf(called, args, { from, token: to });
    if (moves === null) hasUnreadTokenCall = true;
    else tokenMoves.push(...moves);
  }
  return { tokenMoves, hasUnreadTokenCall };
}

/** Whether a call says by itself what it moves, or would if it were encoded as it should be. Without data it moves nothing. */
export function isTokenCall({ data }: Pick<EvmCall, "data">): boolean {
  return data.length === 0 || FUNCTIONS.some(({ signature }) => isCallOf(signature, data));
}

/** Null for a batch whose lists are not of one length, which ERC-1155 says must fail. */
function movesOf(
  { standard, effect, owner, recipient, amount, tokenId }: TokenFunction,
  args: readonly AbiValue[],
  { from, token }: { readonly from: string; readonly token: string },
): readonly TokenMove[] | null {
  const move = {
    ...{ standard, effect, token },
    owner: owner === "caller" ? from : address(args[owner]),
    recipient: address(args[recipient]),
  };
  if (amount === "one") return [{ ...move, amount: 1n, tokenId: integer(args[tokenId ?? -1]) }];
  if (amount === "all") return [{ ...move, amount: args[recipient + 1] === true ? null : 0n, tokenId: null }];
  const amounts = listOf(args[amount]);
  if (tokenId === null) return amounts.map((each) => ({ ...move, amount: integer(each), tokenId: null }));
  const ids = listOf(args[tokenId]);
  if (ids.length !== amounts.length) return null;
  return ids.map((id, at) => ({ ...move, amount: integer(amounts[at]), tokenId: integer(id) }));
}

type Places = Pick<TokenFunction, "amount" | "tokenId"> & Partial<Pick<TokenFunction, "owner" | "recipient">>;

function transfer(standard: TokenMove["standard"], text: string, places: Places): TokenFunction {
  return { standard, effect: "transfer", signature: knownSignature(text), owner: 0, recipient: 1, ...places };
}

function approval(standard: TokenMove["standard"], text: string, places: Places): TokenFunction {
  return { standard, effect: "approve", signature: knownSignature(text), owner: "caller", recipient: 0, ...places };
}

// Arguments have the types of their signature, which the compiler does not read.
function listOf(value: AbiValue | undefined): readonly AbiValue[] {
  if (Array.isArray(value)) return value as readonly AbiValue[];
  return [integer(value)];
}

function address(value: AbiValue | undefined): string {
  if (typeof value !== "string") throw new TypeError("not an address");
  return value;
}

function integer(value: AbiValue | undefined): bigint {
  if (typeof value !== "bigint") throw new TypeError("not an integer");
  return value;
}
