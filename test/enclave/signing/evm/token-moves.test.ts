/** What calls move, on calldata made by viem. */
import fc from "fast-check";
import {
  encodeAbiParameters,
  encodeFunctionData,
  encodePacked,
  type Hex,
  hexToBytes,
  parseAbi,
  parseAbiParameters,
  toHex,
} from "viem";
import { describe, expect, test } from "vitest";
import type { EvmCall } from "../../../../enclave/policy/facts.ts";
import { accountCallsOf } from "../../../../enclave/signing/evm/account-calls.ts";
import { tokenMovesOf } from "../../../../enclave/signing/evm/token-moves.ts";

const CALLER = "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826";
const TOKEN = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48";
const OWNER = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045";
const OTHER = "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB";
const MAX = 2n ** 256n - 1n;

const TOKENS = parseAbi([
  "function transfer(address,uint256)",
  "function transferFrom(address,address,uint256)",
  "function approve(address,uint256)",
  "function increaseAllowance(address,uint256)",
  "function safeTransferFrom(address,address,uint256)",
  "function safeTransferFrom(address,address,uint256,bytes)",
  "function safeTransferFrom(address,address,uint256,uint256,bytes)",
  "function safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)",
  "function setApprovalForAll(address,bool)",
  "function balanceOf(address)",
]);
const ACCOUNTS = parseAbi([
  "function execute(address,uint256,bytes)",
  "function execute(bytes32,bytes)",
  "function executeBatch(address[],bytes[])",
  "function executeBatch(address[],uint256[],bytes[])",
  "function executeBatch((address,uint256,bytes)[])",
]);

const tokenCall = (functionName: string, ...args: readonly unknown[]): Uint8Array =>
  hexToBytes(encodeFunctionData({ abi: TOKENS, functionName, args } as never));
const accountCall = (functionName: string, ...args: readonly unknown[]): Uint8Array =>
  hexToBytes(encodeFunctionData({ abi: ACCOUNTS, functionName, args } as never));
const call = (data: Uint8Array): EvmCall => ({ to: TOKEN, valueWei: 0n, data });
const moves = (data: Uint8Array) => tokenMovesOf(CALLER, [call(data)]);

describe("a call of a token's contract", () => {
  const transfer = { effect: "transfer", token: TOKEN, owner: OWNER, recipient: OTHER };
  const approve = { effect: "approve", token: TOKEN, owner: CALLER, recipient: OTHER };

  test.each<[string, Uint8Array, readonly object[]]>([
    [
      "transfer",
      tokenCall("transfer", OTHER, MAX),
      [{ ...transfer, standard: "erc20", owner: CALLER, amount: MAX, tokenId: null }],
    ],
    [
      "transferFrom, of either standard",
      tokenCall("transferFrom", OWNER, OTHER, 7n),
      [{ ...transfer, standard: "erc20-or-erc721", amount: 7n, tokenId: 7n }],
    ],
    [
      "approve, of either",
      tokenCall("approve", OTHER, 7n),
      [{ ...approve, standard: "erc20-or-erc721", amount: 7n, tokenId: 7n }],
    ],
    [
      "increaseAllowance",
      tokenCall("increaseAllowance", OTHER, 7n),
      [{ ...approve, standard: "erc20", amount: 7n, tokenId: null }],
    ],
    [
      "safeTransferFrom",
      tokenCall("safeTransferFrom", OWNER, OTHER, 7n),
      [{ ...transfer, standard: "erc721", amount: 1n, tokenId: 7n }],
    ],
    [
      "safeTransferFrom with data",
      tokenCall("safeTransferFrom", OWNER, OTHER, 7n, "0x1234"),
      [{ ...transfer, standard: "erc721", amount: 1n, tokenId: 7n }],
    ],
    [
      "safeTransferFrom of ERC-1155",
      tokenCall("safeTransferFrom", OWNER, OTHER, 7n, 30n, "0x"),
      [{ ...transfer, standard: "erc1155", amount: 30n, tokenId: 7n }],
    ],
    [
      "safeBatchTransferFrom",
      tokenCall("safeBatchTransferFrom", OWNER, OTHER, [7n, 8n], [30n, MAX], "0x"),
      [
        { ...transfer, standard: "erc1155", amount: 30n, tokenId: 7n },
        { ...transfer, standard: "erc1155", amount: MAX, tokenId: 8n },
      ],
    ],
    [
      "setApprovalForAll",
      tokenCall("setApprovalForAll", OTHER, true),
      [{ ...approve, standard: "erc721-or-erc1155", amount: null, tokenId: null }],
    ],
    [
      "setApprovalForAll taken back",
      tokenCall("setApprovalForAll", OTHER, false),
      [{ ...approve, standard: "erc721-or-erc1155", amount: 0n, tokenId: null }],
    ],
    ["another function", tokenCall("balanceOf", OTHER), []],
    ["no data", new Uint8Array(0), []],
  ])("%s", (_what, data, expected) => {
    expect(moves(data)).toEqual({ tokenMoves: expected, hasUnreadTokenCall: false });
  });

  test.each<[string, Uint8Array]>([
    ["with a byte after it", Uint8Array.of(...tokenCall("transfer", OTHER, 1n), 0)],
    ["cut short", tokenCall("transfer", OTHER, 1n).subarray(0, -1)],
    ["with bytes before the recipient", tokenCall("transfer", OTHER, 1n).with(5, 1)],
    ["of its selector alone", tokenCall("approve", OTHER, 1n).subarray(0, 4)],
    ["with fewer amounts than ids", tokenCall("safeBatchTransferFrom", OWNER, OTHER, [7n, 8n], [30n], "0x")],
  ])("%s is not read, and said to be so", (_what, data) => {
    expect(moves(data)).toEqual({ tokenMoves: [], hasUnreadTokenCall: true });
  });

  test("many calls are told apart", () => {
    const { tokenMoves, hasUnreadTokenCall } = tokenMovesOf(CALLER, [
      call(tokenCall("transfer", OTHER, 1n)),
      { ...call(tokenCall("transfer", OTHER, 2n)), to: OWNER },
      call(tokenCall("transfer", OTHER, 3n).subarray(0, 40)),
    ]);
    expect(tokenMoves.map(({ token, amount }) => [token, amount])).toEqual([
      [TOKEN, 1n],
      [OWNER, 2n],
    ]);
    expect(hasUnreadTokenCall).toBe(true);
  });
});

describe("what a smart account is made to call", () => {
  const data: Hex = toHex(tokenCall("transfer", OTHER, 5n));
  const one = { to: TOKEN, valueWei: 3n, data: hexToBytes(data) };
  const other = { to: OTHER, valueWei: 0n, data: new Uint8Array(0) };
  const mode = (callType: number, execType: number): Hex =>
    toHex(Uint8Array.of(callType, execType, ...new Uint8Array(30)));
  const batch = encodeAbiParameters(parseAbiParameters("(address,uint256,bytes)[]"), [
    [
      [TOKEN, 3n, data],
      [OTHER, 0n, "0x"],
    ],
  ]);
  const packed = encodePacked(["address", "uint256", "bytes"], [TOKEN, 3n, data]);

  test.each<[string, Uint8Array, readonly object[] | null]>([
    ["execute", accountCall("execute", TOKEN, 3n, data), [one]],
    [
      "executeBatch of 0.6",
      accountCall("executeBatch", [TOKEN, OTHER], [data, "0x"]),
      [{ ...one, valueWei: 0n }, other],
    ],
    ["executeBatch of 0.7", accountCall("executeBatch", [TOKEN, OTHER], [3n, 0n], [data, "0x"]), [one, other]],
    ["executeBatch of 0.7 without values", accountCall("executeBatch", [OTHER], [], ["0x"]), [other]],
    ["executeBatch of 0.8", accountCall("executeBatch", [{ 0: TOKEN, 1: 3n, 2: data }].map(tuple)), [one]],
    ["an empty batch", accountCall("executeBatch", [], []), []],
    ["ERC-7579, single", accountCall("execute", mode(0, 0), packed), [one]],
    ["ERC-7579, single that may fail", accountCall("execute", mode(0, 1), packed), [one]],
    ["ERC-7579, batch", accountCall("execute", mode(1, 0), batch), [one, other]],
    ["ERC-7579, delegatecall", accountCall("execute", mode(0xff, 0), packed), null],
    ["ERC-7579, static call", accountCall("execute", mode(0xfe, 0), packed), null],
    ["ERC-7579 with an unknown way to fail", accountCall("execute", mode(0, 2), packed), null],
    [
      "ERC-7579 of a mode of its own",
      accountCall("execute", `0x0100${"00".repeat(4)}78210002${"00".repeat(22)}`, batch),
      null,
    ],
    ["ERC-7579 with something beside its mode", accountCall("execute", `0x0100${"00".repeat(29)}01`, batch), null],
    ["ERC-7579, single cut short", accountCall("execute", mode(0, 0), "0x1234"), null],
    ["ERC-7579, batch with a byte more", accountCall("execute", mode(1, 0), `${batch}00`), null],
    ["lists of unlike lengths", accountCall("executeBatch", [TOKEN, OTHER], [data]), null],
    ["values of another length", accountCall("executeBatch", [TOKEN, OTHER], [3n], [data, "0x"]), null],
    ["execute with a byte after it", Uint8Array.of(...accountCall("execute", TOKEN, 3n, data), 0), null],
    ["another function", hexToBytes(data), null],
    ["nothing", new Uint8Array(0), null],
  ])("%s", (_what, callData, expected) => {
    expect(accountCallsOf(OWNER, callData)).toEqual(expected);
  });

  function tuple(fields: { readonly 0: string; readonly 1: bigint; readonly 2: string }): readonly unknown[] {
    return [fields[0], fields[1], fields[2]];
  }
});

test("any data is read or not, and nothing is thrown", () => {
  const starts = [
    tokenCall("transfer", OTHER, 1n),
    tokenCall("safeBatchTransferFrom", OWNER, OTHER, [7n], [3n], "0x12"),
  ].concat([accountCall("execute", TOKEN, 3n, "0x12"), accountCall("executeBatch", [TOKEN], [3n], ["0x12"])]);
  const changed = fc.tuple(fc.constantFrom(...starts), fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 40 }));
  fc.assert(
    fc.property(changed, ([data, place, bytes]) => {
      const at = 4 + (place % (data.length - 4));
      const other = Uint8Array.of(...data.subarray(0, at), ...bytes, ...data.subarray(at + bytes.length));
      tokenMovesOf(CALLER, [call(other), ...(accountCallsOf(OWNER, other) ?? [])]);
    }),
    { numRuns: 1_000 },
  );
});
