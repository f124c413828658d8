/**
 * What is to be signed, as far as it could be understood: what policies judge, what decisions show. Each kind is made by
 * the one parser of its format, which refuses whatever it does not know. Integers of chains are `bigint`, in the chain's
 * smallest unit; bytes are `Uint8Array`; addresses are text in their chain's own form (EIP-55 on Ethereum).
 */
import type { Curve, ExportForm } from "../../protocol/index.ts";

export type Facts =
  | EvmTransactionFacts
  | EvmMessageFacts
  | EvmTypedDataFacts
  | EvmAuthorizationFacts
  | EvmUserOperationFacts
  | SolanaTransactionFacts
  | SolanaMessageFacts
  | BitcoinTransactionFacts
  | BitcoinMessageFacts
  | RawDigestFacts
  | WalletExportFacts;

export interface EvmTransactionFacts {
  readonly kind: "evm-transaction";
  /** EIP-2718; 0 is a legacy transaction, which EIP-155 binds to its chain. */
  readonly type: 0 | 1 | 2 | 3 | 4;
  readonly chainId: bigint;
  readonly nonce: bigint;
  /** EIP-55. */
  readonly from: string;
  /** Null creates a contract. */
  readonly to: string | null;
  readonly valueWei: bigint;
  readonly data: Uint8Array;
  readonly gasLimit: bigint;
  /** The most that one unit of gas may cost: `gasPrice` of types 0 and 1. */
  readonly maxFeePerGasWei: bigint;
  /** The most that the transaction may cost beside its value, blobs (EIP-4844) included. */
  readonly maxFeeWei: bigint;
  /** What `data` moves, where it is a call of ERC-20, 721 or 1155 that is known. */
  readonly tokenMoves: readonly TokenMove[];
  /**
   * True for a call that begins like a token's and is not encoded like one, and for one of `from` itself, which EIP-7702 may
   * have given code: what it moves is not known, so deny it.
   */
  readonly hasUnreadTokenCall: boolean;
  /** EIP-4844: how many blobs. Type 3 alone has some. */
  readonly blobs: number;
  /** EIP-7702: accounts that hand themselves to code. Type 4 alone has some. */
  readonly authorizations: readonly {
    /** 0 is good on every chain. */
    readonly chainId: bigint;
    readonly delegate: string;
    readonly nonce: bigint;
    /** Whose signature it bears; null where it bears nobody's, and chains pass over it. */
    readonly authority: string | null;
  }[];
}

/** What a call of a token's contract moves, or lets somebody move. */
export interface TokenMove {
  /**
   * ERC-20 and ERC-721 share `transferFrom` and `approve`, and only the contract knows which it is. Such a call has the
   * same number as `amount` and `tokenId`, and is judged as either: what would be denied for one of them is denied. So is
   * `setApprovalForAll`, which ERC-721 and ERC-1155 share.
   */
  readonly standard: "erc20" | "erc721" | "erc20-or-erc721" | "erc1155" | "erc721-or-erc1155";
  readonly effect: "transfer" | "approve";
  /** The contract. */
  readonly token: string;
  /** Whose tokens. */
  readonly owner: string;
  /** Who gets them, or may move them. */
  readonly recipient: string;
  /** ERC-20's units, ERC-1155's count, 1 for an ERC-721 token; null for all there are (`setApprovalForAll`). */
  readonly amount: bigint | null;
  /** Of ERC-721 and ERC-1155. */
  readonly tokenId: bigint | null;
}

/** EIP-191, version 0x45: `personal_sign`. */
export interface EvmMessageFacts {
  readonly kind: "evm-message";
  readonly from: string;
  readonly message: Uint8Array;
}

/** EIP-712. */
export interface EvmTypedDataFacts {
  readonly kind: "evm-typed-data";
  readonly from: string;
  readonly domain: {
    readonly name: string | null;
    readonly version: string | null;
    readonly chainId: bigint | null;
    readonly verifyingContract: string | null;
    /** 32 bytes, hex. */
    readonly salt: string | null;
  };
  readonly primaryType: string;
  readonly message: TypedDataStruct;
}
export type TypedDataValue = string | bigint | boolean | Uint8Array | readonly TypedDataValue[] | TypedDataStruct;
export interface TypedDataStruct {
  readonly [field: string]: TypedDataValue;
}

/** EIP-7702: `from` hands itself to the code at `delegate`. */
export interface EvmAuthorizationFacts {
  readonly kind: "evm-authorization";
  readonly from: string;
  /** 0 is good on every chain. */
  readonly chainId: bigint;
  readonly delegate: string;
  readonly nonce: bigint;
}

/** ERC-4337. */
export interface EvmUserOperationFacts {
  readonly kind: "evm-user-operation";
  readonly from: string;
  readonly version: "0.6" | "0.7" | "0.8";
  readonly chainId: bigint;
  readonly entryPoint: string;
  readonly sender: string;
  readonly nonce: bigint;
  readonly callData: Uint8Array;
  /**
   * What `callData` makes the account call, where it is `execute` or `executeBatch` as the usual accounts have them, and no
   * call is of the account itself.
   */
  readonly calls: readonly EvmCall[] | null;
  /** What these calls move; as in {@link EvmTransactionFacts}. */
  readonly tokenMoves: readonly TokenMove[];
  readonly hasUnreadTokenCall: boolean;
  /** What makes the account, if it is not there yet. In 0.8 the same as `delegate`: the hash does not tell which it is. */
  readonly factory: string | null;
  /** EIP-7702: the code that the account hands itself to. In 0.8 alone. */
  readonly delegate: string | null;
  /** Who pays in the account's place. */
  readonly paymaster: string | null;
  /** The most that it may cost: all gas limits, at `maxFeePerGas`. */
  readonly maxFeeWei: bigint;
}

export interface EvmCall {
  readonly to: string;
  readonly valueWei: bigint;
  readonly data: Uint8Array;
}

export interface SolanaTransactionFacts {
  readonly kind: "solana-transaction";
  readonly from: string;
  readonly version: "legacy" | 0;
  readonly feePayer: string;
  /** Of each instruction, base58. None is null today: the chain takes no program from an address table. */
  readonly programs: readonly (string | null)[];
  /** What known programs move: SOL in lamports, tokens in their own units. */
  readonly transfers: readonly SolanaTransfer[];
  /** Instructions that were not understood, by their place: `transfers` says nothing of them. */
  readonly unknownInstructions: readonly number[];
  /** True where accounts come from address tables: whose they are is not known here. */
  readonly usesAddressTables: boolean;
  /** The most that it may cost `feePayer`, in lamports: signatures, and the priority fee that it names. */
  readonly maxFeeLamports: bigint;
  /** True where it does not go stale with its blockhash: it can be sent for as long as the nonce stands. */
  readonly usesDurableNonce: boolean;
  /** What memos say. */
  readonly memos: readonly string[];
}
export interface SolanaTransfer {
  readonly asset: "sol" | "token";
  /**
   * `authority` hands over a token account or a mint: all that can be done with it. `close` gives away a token account's
   * lamports, wrapped ones included.
   */
  readonly effect: "transfer" | "approve" | "mint" | "burn" | "authority" | "close";
  /** Of a token, where the instruction names it. */
  readonly mint: string | null;
  /** Where it comes from: null where an address table holds it, and for what is minted. Of tokens, a token account. */
  readonly source: string | null;
  /** Whose signature moves it. Null where an address table holds it. */
  readonly authority: string | null;
  /**
   * Who gets it: of tokens a token account, the delegate, or the new authority. Null where an address table holds it, and
   * where nobody gets it.
   */
  readonly destination: string | null;
  /** Of the token account that is the destination, where the transaction itself has it made for somebody, and so checked. */
  readonly destinationOwner: string | null;
  /** The most that it can be: 2^64 - 1 where the instruction names no amount. */
  readonly amount: bigint;
}

/** An off-chain message, or a text that is signed as it is. */
export interface SolanaMessageFacts {
  readonly kind: "solana-message";
  readonly from: string;
  /** UTF-8, without an off-chain message's head. */
  readonly message: Uint8Array;
  readonly form: "off-chain" | "text";
  /** Of an off-chain message: who asks for it, as it says itself; base58. */
  readonly applicationDomain: string | null;
}

export interface BitcoinTransactionFacts {
  readonly kind: "bitcoin-transaction";
  readonly network: "bitcoin" | "bitcoin-testnet";
  /** All of them, with amounts that were verified; those that are own are signed, unless they already were. */
  readonly inputs: readonly {
    readonly txid: string;
    readonly index: number;
    readonly address: string | null;
    readonly amountSats: bigint;
    readonly isOwn: boolean;
  }[];
  readonly outputs: readonly {
    /** Null for a script that has none, such as OP_RETURN. */
    readonly address: string | null;
    readonly script: Uint8Array;
    readonly amountSats: bigint;
    /** To this wallet, as its derivation shows. */
    readonly isChange: boolean;
  }[];
  readonly feeSats: bigint;
  /**
   * What leaves the wallet, fee included: what own inputs bring, less what change brings back. Where others pay in as well,
   * or may still change something, it is more than that, and never less.
   */
  readonly spentSats: bigint;
  /** Of the inputs that are to be signed: anything but `ALL` and `DEFAULT` leaves something open. */
  readonly sighashTypes: readonly string[];
}

/** BIP-322. */
export interface BitcoinMessageFacts {
  readonly kind: "bitcoin-message";
  readonly from: string;
  readonly message: Uint8Array;
}

/** Bytes of which nothing is known. */
export interface RawDigestFacts {
  readonly kind: "raw-digest";
  readonly curve: Curve;
  readonly scheme: "ecdsa" | "schnorr" | "eddsa";
  /** Address, or public key. */
  readonly from: string;
  /** 32 bytes; of `eddsa` the whole message. */
  readonly digest: Uint8Array;
}

/** Nothing that is signed: a secret that is to leave the enclave, and can sign anything from then on. */
export interface WalletExportFacts {
  readonly kind: "wallet-export";
  readonly form: ExportForm;
  /** Whose key; null for a mnemonic, which is all accounts'. */
  readonly from: string | null;
  /** X25519, 32 bytes: to whom it is sealed. */
  readonly recipient: Uint8Array;
}

/**
 * CAIP-2, of what a signature is good on. Null where it belongs to no chain: no scope that lists chains covers it. Solana's
 * transactions name no cluster: what is good on one is held to be for the main one.
 */
export function chainOf(facts: Facts): string | null {
  switch (facts.kind) {
    case "evm-transaction":
    case "evm-user-operation":
      return `eip155:${facts.chainId}`;
    case "evm-authorization":
      return facts.chainId === 0n ? null : `eip155:${facts.chainId}`;
    case "evm-typed-data":
      return facts.domain.chainId === null ? null : `eip155:${facts.domain.chainId}`;
    case "solana-transaction":
      return "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";
    case "bitcoin-transaction":
      return facts.network === "bitcoin"
        ? "bip122:000000000019d6689c085ae165831e93"
        : "bip122:000000000933ea01ad0ee984209779ba";
    case "evm-message":
    case "solana-message":
    case "bitcoin-message":
    case "raw-digest":
    case "wallet-export":
      return null;
  }
}
