/** What requests are made of. */
import { RLP } from "@ethereumjs/rlp";
import type { CallOptions, Client, StampKey } from "../client/index.ts";
import { encodeHex, type OperationName, type Params, type Result } from "../protocol/index.ts";

/** Whoever asks: a user's session, or an app's API key. */
export type Ask = <Name extends OperationName>(
  name: Name,
  params: Params<Name>,
  options?: CallOptions,
) => Promise<Result<Name>>;

export interface ScenarioContext {
  readonly ask: Ask;
  /** Connects anew, which verifies a fresh document. */
  readonly connect: () => Promise<unknown>;
  /** Made beforehand, for scenarios that need some: requests go round them. */
  readonly walletIds: readonly string[];
  /** EIP-155, decimal. */
  readonly chainId: string;
}

export interface Scenario {
  readonly name: string;
  readonly what: string;
  /** Whether it needs wallets that are there already. */
  readonly needsWallets: boolean;
  readonly work: (context: ScenarioContext) => (number: number) => Promise<unknown>;
}

/** Requests a second of the batch scenarios stand for so many times as many. */
const WALLETS_AT_ONCE = 100;
const SIGNATURES_AT_ONCE = 64;

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "sign-transaction",
    what: "an EIP-1559 transfer of an ERC-20 token, signed",
    needsWallets: true,
    work: ({ ask, walletIds, chainId }) => {
      const unsignedTransaction = transfer(BigInt(chainId));
      return (number) => ask("sign_transaction", { walletId: turn(walletIds, number), chainId, unsignedTransaction });
    },
  },
  {
    name: "sign-message",
    what: "an EIP-191 message of 32 bytes, signed",
    needsWallets: true,
    work: ({ ask, walletIds }) => {
      const message = `0x${"61".repeat(32)}`;
      return (number) => ask("sign_message", { walletId: turn(walletIds, number), message });
    },
  },
  {
    name: "create-wallet",
    what: "a single-key wallet, made and stored",
    needsWallets: false,
    work:
      ({ ask }) =>
      () =>
        ask("create_wallet", { kind: "single-key" }),
  },
  {
    name: "create-hd-wallet",
    what: "a wallet of twelve words, made and stored",
    needsWallets: false,
    work:
      ({ ask }) =>
      () =>
        ask("create_wallet", { kind: "hd" }),
  },
  {
    name: "create-wallets",
    what: `${WALLETS_AT_ONCE} single-key wallets under one stamp, made and stored`,
    needsWallets: false,
    work:
      ({ ask }) =>
      async () => {
        const wallets = Array.from({ length: WALLETS_AT_ONCE }, () => ({ kind: "single-key" }) as const);
        const { results } = await ask("create_wallets", { wallets });
        const refused = results.find((each) => "error" in each);
        if (refused !== undefined && "error" in refused) throw new Error(refused.error.code);
      },
  },
  {
    name: "sign-batch",
    what: `${SIGNATURES_AT_ONCE} EIP-1559 transfers of an ERC-20 token, signed under one stamp`,
    needsWallets: true,
    work: ({ ask, walletIds, chainId }) => {
      const unsignedTransaction = transfer(BigInt(chainId));
      return async (number) => {
        const requests = Array.from({ length: SIGNATURES_AT_ONCE }, (_, at) => ({
          operation: "sign_transaction" as const,
          params: { walletId: turn(walletIds, number + at), chainId, unsignedTransaction },
        }));
        const { results } = await ask("sign_batch", { requests });
        const refused = results.find((each) => "error" in each);
        if (refused !== undefined && "error" in refused) throw new Error(refused.error.code);
      };
    },
  },
  {
    name: "list-wallets",
    what: "the first page of wallets",
    needsWallets: true,
    work:
      ({ ask }) =>
      () =>
        ask("list_wallets", { after: null }),
  },
  {
    name: "attestation",
    what: "a fresh attestation document, verified",
    needsWallets: false,
    work:
      ({ connect }) =>
      () =>
        connect(),
  },
];

export function scenarioNamed(name: string): Scenario | undefined {
  return SCENARIOS.find((each) => each.name === name);
}

/** An API key's calls. */
export function askWithKey(client: Client, appId: string, key: StampKey): Ask {
  return (name, params, options = {}) => client.call(name, params, { ...options, appId, keys: [key] });
}

function turn(walletIds: readonly string[], number: number): string {
  const walletId = walletIds[number % walletIds.length];
  if (walletId === undefined) throw new Error("this scenario needs wallets");
  return walletId;
}

/** `transfer(address,uint256)` of a token, as a wallet would send it: type 2, and RLP of EIP-1559's nine fields. */
function transfer(chainId: bigint): string {
  const call = `0xa9059cbb${"00".repeat(12)}d8da6bf26964af9d7eed9e03e53415d37aa96045${"00".repeat(28)}017d7840`;
  const token = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48";
  const fields = [chainId, 0n, 1_000_000_000n, 30_000_000_000n, 65_000n, token, 0n, call, []];
  return `0x02${encodeHex(RLP.encode(fields))}`;
}
