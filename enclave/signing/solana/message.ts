/**
 * The message of a Solana transaction, which is what its signers sign: legacy, or version 0 with address tables. Parsed to
 * be decided on, written anew, and refused unless that gives the same bytes. What the chain refuses of any message is
 * refused here as well (agave, `solana-message`, `sanitize`).
 */
import { RequestError } from "../../../protocol/index.ts";
import { ByteReader, compactU16, malformed } from "./byte-reader.ts";

export const ADDRESS_BYTES = 32;
const VERSION_FLAG = 0x80;
/** All indexes are bytes. */
const MAX_ACCOUNTS = 256;

export interface SolanaMessage {
  readonly version: "legacy" | 0;
  /** Of the first accounts, each of which signs. */
  readonly requiredSignatures: number;
  /** The last so many of those that sign. */
  readonly readonlySigned: number;
  /** The last so many of the others. */
  readonly readonlyUnsigned: number;
  /** 32 bytes each. The first one pays. */
  readonly accountKeys: readonly Uint8Array[];
  /** Or a durable nonce. */
  readonly recentBlockhash: Uint8Array;
  readonly instructions: readonly Instruction[];
  /** Of version 0: whose addresses stand in accounts on the chain, and so are not known here. */
  readonly tableLookups: readonly TableLookup[];
}

export interface Instruction {
  readonly programIndex: number;
  /** From `accountKeys`, and beyond them from the tables: all that are written to before all that are read. */
  readonly accountIndexes: Uint8Array;
  readonly data: Uint8Array;
}

export interface TableLookup {
  readonly table: Uint8Array;
  readonly writableIndexes: Uint8Array;
  readonly readonlyIndexes: Uint8Array;
}

/** @throws {@link RequestError} `TRANSACTION_MALFORMED`, `TRANSACTION_TYPE_UNSUPPORTED` */
export function parseMessage(bytes: Uint8Array): SolanaMessage {
  const message = decode(new ByteReader(bytes));
  checkHeader(message);
  checkKeys(message);
  checkInstructions(message);
  // What was understood must be all there is: a second encoding of the same fields is refused.
  if (Buffer.compare(encodeMessage(message), bytes) !== 0) throw malformed("not the canonical encoding of its fields");
  return message;
}

export function encodeMessage(message: SolanaMessage): Uint8Array {
  const { version, accountKeys, instructions, tableLookups } = message;
  const parts = [
    ...(version === "legacy" ? [] : [Uint8Array.of(VERSION_FLAG | version)]),
    Uint8Array.of(message.requiredSignatures, message.readonlySigned, message.readonlyUnsigned),
    ...[compactU16(accountKeys.length), ...accountKeys],
    message.recentBlockhash,
    compactU16(instructions.length),
  ];
  for (const { programIndex, accountIndexes, data } of instructions) {
    parts.push(Uint8Array.of(programIndex), ...counted(accountIndexes), ...counted(data));
  }
  if (version === "legacy") return Buffer.concat(parts);
  parts.push(compactU16(tableLookups.length));
  for (const { table, writableIndexes, readonlyIndexes } of tableLookups) {
    parts.push(table, ...counted(writableIndexes), ...counted(readonlyIndexes));
  }
  return Buffer.concat(parts);
}

/** The accounts that a message may name by index, those from tables included. */
function accountCount({ accountKeys, tableLookups }: SolanaMessage): number {
  return tableLookups.reduce(
    (count, { writableIndexes, readonlyIndexes }) => count + writableIndexes.length + readonlyIndexes.length,
    accountKeys.length,
  );
}

function decode(reader: ByteReader): SolanaMessage {
  const first = reader.u8();
  const isLegacy = first < VERSION_FLAG;
  if (!isLegacy && first !== VERSION_FLAG) {
    throw new RequestError("TRANSACTION_TYPE_UNSUPPORTED", `version ${first - VERSION_FLAG}; expected legacy or 0`);
  }
  const message = {
    version: isLegacy ? ("legacy" as const) : (0 as const),
    requiredSignatures: isLegacy ? first : reader.u8(),
    readonlySigned: reader.u8(),
    readonlyUnsigned: reader.u8(),
    accountKeys: list(reader, () => reader.take(ADDRESS_BYTES)),
    recentBlockhash: reader.take(ADDRESS_BYTES),
    instructions: list(reader, () => ({
      programIndex: reader.u8(),
      accountIndexes: reader.take(reader.compactU16()),
      data: reader.take(reader.compactU16()),
    })),
    tableLookups: isLegacy
      ? []
      : list(reader, () => ({
          table: reader.take(ADDRESS_BYTES),
          writableIndexes: reader.take(reader.compactU16()),
          readonlyIndexes: reader.take(reader.compactU16()),
        })),
  };
  reader.end();
  return message;
}

function checkHeader({ requiredSignatures, readonlySigned, readonlyUnsigned, accountKeys }: SolanaMessage): void {
  if (requiredSignatures + readonlyUnsigned > accountKeys.length) {
    throw malformed(`its header counts more accounts than the ${accountKeys.length} that it lists`);
  }
  // The account that pays is written to. This refuses a message that nobody signs, too.
  if (readonlySigned >= requiredSignatures) throw malformed("no signer that can be written to, and so none that pays");
}

function checkKeys(message: SolanaMessage): void {
  const keys = new Set(message.accountKeys.map((key) => Buffer.from(key).toString("latin1")));
  if (keys.size !== message.accountKeys.length) throw malformed("an account twice");
  for (const { writableIndexes, readonlyIndexes } of message.tableLookups) {
    if (writableIndexes.length + readonlyIndexes.length === 0) throw malformed("an address table for no account");
  }
  if (accountCount(message) > MAX_ACCOUNTS) throw malformed(`more than ${MAX_ACCOUNTS} accounts`);
}

function checkInstructions(message: SolanaMessage): void {
  const accounts = accountCount(message);
  for (const { programIndex, accountIndexes } of message.instructions) {
    if (programIndex === 0) throw malformed("the account that pays, as a program");
    if (programIndex >= message.accountKeys.length) throw malformed("a program that is not among the accounts listed");
    if (accountIndexes.some((index) => index >= accounts))
      throw malformed(`an account beyond the ${accounts} there are`);
  }
}

/** Its length is not to be trusted: reading ends where the bytes do. */
function list<Item>(reader: ByteReader, read: () => Item): Item[] {
  const items: Item[] = [];
  for (let left = reader.compactU16(); left > 0; left -= 1) items.push(read());
  return items;
}

function counted(bytes: Uint8Array): Uint8Array[] {
  return [compactU16(bytes.length), bytes];
}
