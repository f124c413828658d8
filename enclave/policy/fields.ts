/** What a policy's fields mean: each name of `protocol/policy-fields.ts`, read from what was parsed. */
import { type Collection, encodeHex, type FieldName } from "../../protocol/index.ts";
import { isTokenCall } from "../signing/evm/token-moves.ts";
import {
  chainOf,
  type EvmCall,
  type EvmUserOperationFacts,
  type Facts,
  type SolanaMessageFacts,
  type SolanaTransfer,
  type TokenMove,
} from "./facts.ts";

/** Something is there, and what it is cannot be told: no condition holds of it for certain, and none is certain not to. */
export const UNKNOWN = Symbol("unknown");

/**
 * Null where there is surely nothing that a condition could hold of; undefined where the kind has no such field. A list
 * of texts: it is one of these.
 */
export type Value = string | bigint | boolean | null | undefined | typeof UNKNOWN | readonly string[];
export type Values = { readonly [Name in FieldName]?: Value };

/** Who asks: what of an actor a policy can name. */
export interface Caller {
  readonly kind: "session" | "passkey" | "api-key";
  readonly userId: string | null;
  readonly sessionId: string | null;
  readonly loginId: string | null;
  readonly publicKey: string | null;
}

/** All that a policy judges. */
export interface PolicyRequest {
  readonly caller: Caller;
  readonly operation: string;
  readonly walletId: string;
  readonly facts: Facts;
  /** By the trusted clock. */
  readonly nowMs: number;
}

export interface Elements {
  readonly items: readonly Values[];
  /** There may be more than could be read. */
  readonly mayBeMore: boolean;
  /** Beside them is what no list shows: what holds of each of them does not hold of all that there is. */
  readonly isBesideOthers?: boolean;
}

/** More than any number that a chain knows: all there is. */
const EVERYTHING = 2n ** 256n;

export function valuesOf({ caller, operation, walletId, facts }: PolicyRequest): Values {
  return {
    "caller.kind": caller.kind,
    "caller.user": caller.userId,
    "caller.session": caller.sessionId,
    "caller.login": caller.loginId,
    "caller.key": caller.publicKey,
    operation,
    wallet: walletId,
    kind: facts.kind,
    ...factValues(facts),
  };
}

function factValues(facts: Facts): Values {
  switch (facts.kind) {
    case "evm-transaction":
      return {
        chain: chainOf(facts),
        from: facts.from,
        "evm.type": BigInt(facts.type),
        "evm.to": facts.to,
        "evm.value": facts.valueWei,
        "evm.nonce": facts.nonce,
        "evm.gasLimit": facts.gasLimit,
        "evm.maxFeePerGas": facts.maxFeePerGasWei,
        "evm.maxFee": facts.maxFeeWei,
        "evm.dataBytes": BigInt(facts.data.length),
        "evm.selector": selectorOf(facts.data),
        "evm.understood": !facts.hasUnreadTokenCall && (facts.data.length === 0 || facts.tokenMoves.length > 0),
        "evm.blobs": BigInt(facts.blobs),
      };
    case "evm-user-operation":
      return {
        chain: chainOf(facts),
        from: facts.from,
        "evm.nonce": facts.nonce,
        "evm.maxFee": facts.maxFeeWei,
        "evm.dataBytes": BigInt(facts.callData.length),
        "evm.selector": selectorOf(facts.callData),
        "evm.understood": isUnderstood(facts),
        "userOp.version": facts.version,
        "userOp.entryPoint": facts.entryPoint,
        "userOp.sender": facts.sender,
        "userOp.factory": facts.factory,
        "userOp.paymaster": facts.paymaster,
        delegate: facts.delegate,
      };
    case "evm-typed-data":
      return {
        // Without a chain it is good on any.
        chain: chainOf(facts) ?? UNKNOWN,
        from: facts.from,
        "domain.name": facts.domain.name,
        "domain.version": facts.domain.version,
        "domain.chainId": facts.domain.chainId,
        "domain.contract": facts.domain.verifyingContract,
        "domain.salt": facts.domain.salt,
        primaryType: facts.primaryType,
      };
    case "evm-authorization":
      return {
        chain: chainOf(facts) ?? UNKNOWN,
        from: facts.from,
        "evm.nonce": facts.nonce,
        delegate: facts.delegate,
        "delegate.chainId": facts.chainId,
      };
    case "solana-transaction":
      return {
        chain: chainOf(facts),
        from: facts.from,
        "solana.version": String(facts.version),
        "solana.feePayer": facts.feePayer,
        "solana.maxFee": facts.maxFeeLamports,
        "solana.unknownInstructions": BigInt(facts.unknownInstructions.length),
        "solana.usesAddressTables": facts.usesAddressTables,
        "solana.usesDurableNonce": facts.usesDurableNonce,
      };
    case "bitcoin-transaction":
      return {
        chain: chainOf(facts),
        from: sendersOf(facts.inputs),
        "bitcoin.fee": facts.feeSats,
        "bitcoin.spent": facts.spentSats,
      };
    case "evm-message":
    case "solana-message":
    case "bitcoin-message":
      return {
        from: facts.from,
        "message.bytes": BigInt(facts.message.length),
        get "message.text"() {
          return textOf(facts.message);
        },
        ...(facts.kind === "solana-message" ? ofSolanaMessage(facts) : {}),
      };
    case "raw-digest":
      return {
        from: facts.from,
        "raw.curve": facts.curve,
        "raw.scheme": facts.scheme,
        "raw.digest": `0x${encodeHex(facts.digest)}`,
      };
    case "wallet-export":
      return {
        "export.form": facts.form,
        // Words are every account's.
        from: facts.from ?? UNKNOWN,
        "export.recipient": `0x${encodeHex(facts.recipient)}`,
      };
  }
}

/** Undefined where this kind has no such list. */
export function elementsOf(facts: Facts, collection: Collection): Elements | undefined {
  switch (collection) {
    case "moves": {
      if (facts.kind !== "evm-transaction" && facts.kind !== "evm-user-operation") return undefined;
      const isUnread = facts.kind === "evm-user-operation" && facts.calls === null;
      const isBesideOthers = facts.kind === "evm-user-operation" && facts.calls?.every(isTokenCall) === false;
      return { items: facts.tokenMoves.map(ofMove), mayBeMore: facts.hasUnreadTokenCall || isUnread, isBesideOthers };
    }
    case "calls":
      if (facts.kind !== "evm-user-operation") return undefined;
      return { items: (facts.calls ?? []).map(ofCall), mayBeMore: facts.calls === null };
    case "authorizations":
      if (facts.kind !== "evm-transaction") return undefined;
      return all(
        facts.authorizations.map(({ chainId, delegate, authority }) => ({
          "authorization.chainId": chainId,
          "authorization.delegate": delegate,
          "authorization.authority": authority,
        })),
      );
    case "programs":
      if (facts.kind !== "solana-transaction") return undefined;
      return all(facts.programs.map((id) => ({ "program.id": id ?? UNKNOWN })));
    case "transfers":
      if (facts.kind !== "solana-transaction") return undefined;
      return { items: facts.transfers.map(ofTransfer), mayBeMore: facts.unknownInstructions.length > 0 };
    case "memos":
      if (facts.kind !== "solana-transaction") return undefined;
      // A program that was not understood may write memos as well.
      return {
        items: facts.memos.map((text) => ({ "memo.text": text })),
        mayBeMore: facts.unknownInstructions.length > 0,
      };
    case "inputs":
      if (facts.kind !== "bitcoin-transaction") return undefined;
      return all(
        facts.inputs.map(({ address, amountSats, isOwn }) => ({
          "input.address": address,
          "input.amount": amountSats,
          "input.isOwn": isOwn,
        })),
      );
    case "outputs":
      if (facts.kind !== "bitcoin-transaction") return undefined;
      return all(
        facts.outputs.map(({ address, amountSats, isChange }) => ({
          "output.address": address,
          "output.amount": amountSats,
          "output.isChange": isChange,
        })),
      );
    case "sighashes":
      if (facts.kind !== "bitcoin-transaction") return undefined;
      return all(facts.sighashTypes.map((type) => ({ "sighash.type": type })));
  }
}

/** What is called with arguments: undefined where this kind has no such thing. */
export function callDataOf(facts: Facts): Uint8Array | undefined {
  if (facts.kind === "evm-transaction") return facts.data;
  return facts.kind === "evm-user-operation" ? facts.callData : undefined;
}

function all(items: readonly Values[]): Elements {
  return { items, mayBeMore: false };
}

function ofSolanaMessage({ form, applicationDomain }: SolanaMessageFacts): Values {
  return { "solana.messageForm": form, "solana.applicationDomain": applicationDomain };
}

function ofMove({ standard, effect, token, owner, recipient, amount, tokenId }: TokenMove): Values {
  return {
    // Only the contract knows which it is.
    "move.standard": standard.includes("-or-") ? standard.split("-or-") : standard,
    "move.effect": effect,
    "move.token": token,
    "move.owner": owner,
    "move.recipient": recipient,
    "move.amount": amount ?? EVERYTHING,
    "move.tokenId": tokenId,
  };
}

function ofCall({ to, valueWei, data }: EvmCall): Values {
  return { "call.to": to, "call.value": valueWei, "call.selector": selectorOf(data) };
}

/** What is not named is there all the same: a token has a mint, and a transfer two ends. */
function ofTransfer(transfer: SolanaTransfer): Values {
  const { asset, effect, mint, source, authority, destination, destinationOwner, amount } = transfer;
  return {
    "transfer.asset": asset,
    "transfer.effect": effect,
    "transfer.mint": asset === "sol" ? null : (mint ?? UNKNOWN),
    "transfer.source": source ?? UNKNOWN,
    "transfer.authority": authority ?? UNKNOWN,
    "transfer.destination": destination ?? UNKNOWN,
    "transfer.destinationOwner": destinationOwner ?? UNKNOWN,
    "transfer.amount": amount,
  };
}

function selectorOf(data: Uint8Array): string | null {
  return data.length < 4 ? null : `0x${encodeHex(data.subarray(0, 4))}`;
}

function isUnderstood({ calls, hasUnreadTokenCall }: EvmUserOperationFacts): boolean {
  if (calls === null || hasUnreadTokenCall) return false;
  return calls.every(({ data }) => data.length === 0 || isTokenCall({ data }));
}

/** Several may sign at once: it is one of them, and each must be allowed. */
function sendersOf(inputs: readonly { readonly address: string | null; readonly isOwn: boolean }[]): Value {
  const own = inputs.filter(({ isOwn }) => isOwn).map(({ address }) => address);
  if (own.length === 0 || own.includes(null)) return UNKNOWN;
  const addresses = [...new Set(own as string[])];
  return addresses.length === 1 ? addresses[0] : addresses;
}

function textOf(message: Uint8Array): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(message);
  } catch {
    return null;
  }
}
