/**
 * What conditions of a policy can name: each field with its type, and what it is a fact of. The enclave's
 * `policy/fields.ts` reads them; a test holds the one against the other.
 */

/** The kinds of things that are signed. */
export const FACT_KINDS = [
  "evm-transaction",
  "evm-message",
  "evm-typed-data",
  "evm-authorization",
  "evm-user-operation",
  "solana-transaction",
  "solana-message",
  "bitcoin-transaction",
  "bitcoin-message",
  "raw-digest",
  "wallet-export",
] as const;
export type FactKind = (typeof FACT_KINDS)[number];

/** What is signed blindly, or lets somebody else sign: a rule allows it that names the kind, and no other. */
export const KINDS_TO_NAME: ReadonlySet<FactKind> = new Set(["raw-digest", "wallet-export"]);

/** Lists among the facts, and the kinds that have each. */
export const COLLECTIONS = {
  /** What calls of known tokens move, or let somebody move. */
  moves: ["evm-transaction", "evm-user-operation"],
  /** What a user operation makes its account call. */
  calls: ["evm-user-operation"],
  /** EIP-7702, in a transaction of type 4. */
  authorizations: ["evm-transaction"],
  programs: ["solana-transaction"],
  transfers: ["solana-transaction"],
  /** What instructions of the memo programs say, each by itself. */
  memos: ["solana-transaction"],
  inputs: ["bitcoin-transaction"],
  outputs: ["bitcoin-transaction"],
  sighashes: ["bitcoin-transaction"],
} as const satisfies Record<string, readonly FactKind[]>;
export type Collection = keyof typeof COLLECTIONS;

export type FieldType = "uint" | "text" | "bool";

interface Field {
  readonly type: FieldType;
  /** The kinds that have it; `all` for what does not depend on what is signed, or the list that its elements are of. */
  readonly of: "all" | readonly FactKind[] | Collection;
}

const ALL = "all";
const SENDERS = FACT_KINDS;
const EVM_CALLS = ["evm-transaction", "evm-user-operation"] as const;
const USER_OPERATION = ["evm-user-operation"] as const;
const TRANSACTION = ["evm-transaction"] as const;
const TYPED = ["evm-typed-data"] as const;
const SOLANA = ["solana-transaction"] as const;
const BITCOIN = ["bitcoin-transaction"] as const;
const RAW = ["raw-digest"] as const;
const EXPORT = ["wallet-export"] as const;
const MESSAGES = ["evm-message", "solana-message", "bitcoin-message"] as const;
const ON_CHAIN = [
  ...["evm-transaction", "evm-typed-data", "evm-authorization", "evm-user-operation"],
  ...["solana-transaction", "bitcoin-transaction"],
] as FactKind[];

export const FIELDS = {
  // Who asks.
  /** `session`, `passkey` or `api-key`. */
  "caller.kind": { type: "text", of: ALL },
  /** Of a user's session or passkey. */
  "caller.user": { type: "text", of: ALL },
  "caller.session": { type: "text", of: ALL },
  /** What logged the session in, an identity's or a passkey's id; or the passkey that asks. */
  "caller.login": { type: "text", of: ALL },
  /** The public key that stamped, hex: a session's or an API key's. */
  "caller.key": { type: "text", of: ALL },

  // What is asked for.
  operation: { type: "text", of: ALL },
  wallet: { type: "text", of: ALL },
  kind: { type: "text", of: ALL },
  /** CAIP-2. */
  chain: { type: "text", of: ON_CHAIN },
  /** The account that signs: its address. A mnemonic that leaves is all accounts'. */
  from: { type: "text", of: SENDERS },

  // Ethereum and the chains like it.
  "evm.type": { type: "uint", of: TRANSACTION },
  "evm.to": { type: "text", of: TRANSACTION },
  "evm.value": { type: "uint", of: TRANSACTION },
  "evm.nonce": { type: "uint", of: ["evm-transaction", "evm-user-operation", "evm-authorization"] },
  "evm.gasLimit": { type: "uint", of: TRANSACTION },
  "evm.maxFeePerGas": { type: "uint", of: TRANSACTION },
  "evm.maxFee": { type: "uint", of: EVM_CALLS },
  "evm.dataBytes": { type: "uint", of: EVM_CALLS },
  /** The call's first four bytes, `0x` and lower-case hex. */
  "evm.selector": { type: "text", of: EVM_CALLS },
  /** True where there is no data, or a call of a token that is known: then `moves` tells all that it moves beside the value. */
  "evm.understood": { type: "bool", of: EVM_CALLS },
  "evm.blobs": { type: "uint", of: TRANSACTION },
  "call.to": { type: "text", of: "calls" },
  "call.value": { type: "uint", of: "calls" },
  "call.selector": { type: "text", of: "calls" },
  "move.standard": { type: "text", of: "moves" },
  /** `transfer` or `approve`. */
  "move.effect": { type: "text", of: "moves" },
  "move.token": { type: "text", of: "moves" },
  "move.owner": { type: "text", of: "moves" },
  "move.recipient": { type: "text", of: "moves" },
  /** More than any number where all there are may be moved. */
  "move.amount": { type: "uint", of: "moves" },
  "move.tokenId": { type: "uint", of: "moves" },
  "authorization.chainId": { type: "uint", of: "authorizations" },
  "authorization.delegate": { type: "text", of: "authorizations" },
  "authorization.authority": { type: "text", of: "authorizations" },
  /** The code that an account hands itself to (EIP-7702): by an authorisation, or beside a user operation. */
  delegate: { type: "text", of: ["evm-authorization", "evm-user-operation"] },
  /** 0 is good on every chain. */
  "delegate.chainId": { type: "uint", of: ["evm-authorization"] },
  "domain.name": { type: "text", of: TYPED },
  "domain.version": { type: "text", of: TYPED },
  "domain.chainId": { type: "uint", of: TYPED },
  "domain.contract": { type: "text", of: TYPED },
  "domain.salt": { type: "text", of: TYPED },
  primaryType: { type: "text", of: TYPED },
  "userOp.version": { type: "text", of: USER_OPERATION },
  "userOp.entryPoint": { type: "text", of: USER_OPERATION },
  "userOp.sender": { type: "text", of: USER_OPERATION },
  "userOp.factory": { type: "text", of: USER_OPERATION },
  "userOp.paymaster": { type: "text", of: USER_OPERATION },

  // Messages, as UTF-8 where they are that.
  "message.text": { type: "text", of: MESSAGES },
  "message.bytes": { type: "uint", of: MESSAGES },

  // Solana.
  "solana.version": { type: "text", of: SOLANA },
  "solana.feePayer": { type: "text", of: SOLANA },
  "solana.maxFee": { type: "uint", of: SOLANA },
  /** How many instructions were not understood: `transfers` says nothing of them. */
  "solana.unknownInstructions": { type: "uint", of: SOLANA },
  "solana.usesAddressTables": { type: "bool", of: SOLANA },
  /** It can be sent for as long as its nonce stands. */
  "solana.usesDurableNonce": { type: "bool", of: SOLANA },
  /** `off-chain`, or `text` as it is. */
  "solana.messageForm": { type: "text", of: ["solana-message"] },
  /** Of an off-chain message, by its own account. */
  "solana.applicationDomain": { type: "text", of: ["solana-message"] },
  "program.id": { type: "text", of: "programs" },
  /** `sol` or `token`. */
  "transfer.asset": { type: "text", of: "transfers" },
  /** `transfer`, `approve`, `mint`, `burn`, `authority` or `close`. */
  "transfer.effect": { type: "text", of: "transfers" },
  "transfer.mint": { type: "text", of: "transfers" },
  "transfer.source": { type: "text", of: "transfers" },
  /** Who signs for it. */
  "transfer.authority": { type: "text", of: "transfers" },
  "transfer.destination": { type: "text", of: "transfers" },
  /** Of a token account that the transaction itself has made or checked. */
  "transfer.destinationOwner": { type: "text", of: "transfers" },
  "transfer.amount": { type: "uint", of: "transfers" },
  "memo.text": { type: "text", of: "memos" },

  // Bitcoin.
  "bitcoin.fee": { type: "uint", of: BITCOIN },
  /** What leaves the wallet, fee included. */
  "bitcoin.spent": { type: "uint", of: BITCOIN },
  "input.address": { type: "text", of: "inputs" },
  "input.amount": { type: "uint", of: "inputs" },
  "input.isOwn": { type: "bool", of: "inputs" },
  "output.address": { type: "text", of: "outputs" },
  "output.amount": { type: "uint", of: "outputs" },
  "output.isChange": { type: "bool", of: "outputs" },
  "sighash.type": { type: "text", of: "sighashes" },

  // Bytes of which nothing is known.
  "raw.curve": { type: "text", of: RAW },
  "raw.scheme": { type: "text", of: RAW },
  /** `0x` and lower-case hex. */
  "raw.digest": { type: "text", of: RAW },

  // A secret that is to leave the enclave.
  "export.form": { type: "text", of: EXPORT },
  /** To whom it is sealed: X25519, `0x` and lower-case hex. */
  "export.recipient": { type: "text", of: EXPORT },
} as const satisfies Record<string, Field>;

type Fields = typeof FIELDS;
export type FieldName = keyof Fields;
export type FieldOf<Type extends FieldType> = {
  [Name in FieldName]: Fields[Name]["type"] extends Type ? Name : never;
}[FieldName];
export type ElementField<List extends Collection = Collection> = {
  [Name in FieldName]: Fields[Name]["of"] extends List ? Name : never;
}[FieldName];

/** The list that a field is of an element of, or null for a field of the whole. */
export function collectionOf(name: FieldName): Collection | null {
  const { of }: Field = FIELDS[name];
  return typeof of === "string" && of !== "all" ? of : null;
}

/** The kinds that have a field. */
export function kindsWith(name: FieldName): readonly FactKind[] {
  const { of }: Field = FIELDS[name];
  if (of === "all") return FACT_KINDS;
  return typeof of === "string" ? COLLECTIONS[of] : of;
}

export function fieldsOf<Type extends FieldType>(type: Type): [FieldOf<Type>, ...FieldOf<Type>[]] {
  const names = Object.entries(FIELDS).flatMap(([name, field]) => (field.type === type ? [name] : []));
  return names as [FieldOf<Type>, ...FieldOf<Type>[]];
}
