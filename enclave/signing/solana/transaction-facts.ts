/** What a transaction does, as far as its instructions are understood: all else is named by its place. */
import type { SolanaTransactionFacts, SolanaTransfer } from "../../policy/facts.ts";
import { address } from "./address.ts";
import { computeBudgetMeaning, maxFeeLamports } from "./compute-budget.ts";
import type { ComputeSetting, Meaning, ProgramCall } from "./meaning.ts";
import type { SolanaMessage } from "./message.ts";
import {
  ASSOCIATED_TOKEN_PROGRAM,
  COMPUTE_BUDGET_PROGRAM,
  MEMO_PROGRAMS,
  SIGNATURE_CHECKING_PROGRAMS,
  SYSTEM_PROGRAM,
  TOKEN_2022_PROGRAM,
  TOKEN_PROGRAM,
} from "./programs.ts";
import { advancesNonce, systemMeaning } from "./system-program.ts";
import { associatedTokenMeaning, tokenMeaning } from "./token-program.ts";

type Program = (call: ProgramCall) => Meaning | null;

const PROGRAMS: ReadonlyMap<string, Program> = new Map<string, Program>([
  [SYSTEM_PROGRAM, systemMeaning],
  [TOKEN_PROGRAM, tokenMeaning],
  [TOKEN_2022_PROGRAM, tokenMeaning],
  [ASSOCIATED_TOKEN_PROGRAM, associatedTokenMeaning],
  [COMPUTE_BUDGET_PROGRAM, computeBudgetMeaning],
  ...MEMO_PROGRAMS.map((program) => [program, memoMeaning] as const),
]);
const SIGNATURE_CHECKERS: ReadonlySet<string> = new Set(SIGNATURE_CHECKING_PROGRAMS);

/** @param from - The address of the account that is to sign. */
export function transactionFacts(message: SolanaMessage, from: string): SolanaTransactionFacts {
  const addresses = message.accountKeys.map(address);
  const account = (index: number) => addresses[index] ?? null;
  const programs = message.instructions.map(({ programIndex }) => account(programIndex));
  const found = new Findings();
  message.instructions.forEach(({ accountIndexes, data }, place) => {
    const program = programs[place] ?? "";
    const call = { accounts: [...accountIndexes].map(account), data: bufferOf(data), own: from };
    if (SIGNATURE_CHECKERS.has(program)) found.checkedSignatures += data[0] ?? 0;
    found.add(place, PROGRAMS.get(program)?.(call) ?? null);
  });
  const { transfers, memos, unknownInstructions, settings, checkedSignatures } = found;
  const [first] = message.instructions;
  return {
    ...{ kind: "solana-transaction", from, version: message.version, feePayer: account(0) ?? "" },
    ...{ programs, transfers, memos, unknownInstructions },
    usesAddressTables: message.tableLookups.length > 0,
    usesDurableNonce: first !== undefined && programs[0] === SYSTEM_PROGRAM && advancesNonce(first.data),
    maxFeeLamports: maxFeeLamports(settings, {
      signatures: message.requiredSignatures + checkedSignatures,
      instructions: message.instructions.length,
    }),
  };
}

/** What instructions add up to, one after another. */
class Findings {
  readonly transfers: SolanaTransfer[] = [];
  readonly memos: string[] = [];
  readonly unknownInstructions: number[] = [];
  readonly settings = new Map<ComputeSetting, bigint>();
  checkedSignatures = 0;
  /** Of token accounts that the transaction had made, or checked, so far. */
  readonly #owners = new Map<string, string | null>();

  add(place: number, meaning: Meaning | null): void {
    switch (meaning?.kind) {
      case "nothing":
        return;
      case "transfer":
        this.#addTransfer(meaning.transfer);
        return;
      case "token-account":
        this.transfers.push(meaning.rent);
        if (meaning.account !== null) this.#owners.set(meaning.account, meaning.owner);
        return;
      case "memo":
        this.memos.push(meaning.text);
        return;
      case "compute-budget":
        // The runtime refuses a transaction that says it twice.
        if (this.settings.has(meaning.setting) || !meaning.isWhole) this.#addUnknown(place);
        if (!this.settings.has(meaning.setting)) this.settings.set(meaning.setting, meaning.value);
        return;
      case undefined:
        this.#addUnknown(place);
    }
  }

  #addTransfer(transfer: SolanaTransfer): void {
    const { asset, effect, source, destination } = transfer;
    if (effect === "authority" || effect === "close") this.#owners.delete(source ?? "");
    const isIntoAccount = asset === "token" && (effect === "transfer" || effect === "mint");
    const destinationOwner = isIntoAccount ? (this.#owners.get(destination ?? "") ?? null) : null;
    this.transfers.push({ ...transfer, destinationOwner });
  }

  /** Whatever it is, it may also have changed whose a token account is. */
  #addUnknown(place: number): void {
    this.unknownInstructions.push(place);
    this.#owners.clear();
  }
}

function memoMeaning({ data }: ProgramCall): Meaning | null {
  try {
    return { kind: "memo", text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data) };
  } catch {
    return null;
  }
}

/** A view, not a copy. */
function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
