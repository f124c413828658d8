/**
 * SPL Token and Token-2022, whose first instructions are the same (spl-token-interface, `TokenInstruction`). Accounts beyond
 * those named here, such as a multisignature's signers or a transfer hook's, make an instruction one that is not understood.
 */
import type { SolanaTransfer } from "../../policy/facts.ts";
import { address } from "./address.ts";
import { ALL, type Meaning, NOTHING, type ProgramCall, transfer } from "./meaning.ts";
import { TOKEN_PROGRAM } from "./programs.ts";

const TRANSFER = 3;
const APPROVE = 4;
const REVOKE = 5;
const SET_AUTHORITY = 6;
const MINT_TO = 7;
const BURN = 8;
const CLOSE_ACCOUNT = 9;
const TRANSFER_CHECKED = 12;
const APPROVE_CHECKED = 13;
const MINT_TO_CHECKED = 14;
const BURN_CHECKED = 15;
const SYNC_NATIVE = 17;
/** Of a mint, of freezing, of an account, of closing it. Token-2022 knows more. */
const MAX_AUTHORITY_TYPE = 3;
/** `AssociatedTokenAccountInstruction`: one that must not be there yet, and one that may. */
const CREATE = 0;
const CREATE_IDEMPOTENT = 1;
/** What keeps a token account of 165 bytes alive: (128 + 165) bytes × 3480 lamports × 2 (solana-rent, `Rent::default`). */
const TOKEN_ACCOUNT_RENT_LAMPORTS = 2_039_280n;

/** Null for what is not understood to the last byte. */
export function tokenMeaning(call: ProgramCall): Meaning | null {
  const { accounts, data } = call;
  const [first = null, second = null, third = null, fourth = null] = accounts;
  switch (data[0]) {
    case TRANSFER:
      return amount(call, 9, 3, { effect: "transfer", source: first, destination: second, authority: third });
    case APPROVE:
      return amount(call, 9, 3, { effect: "approve", source: first, destination: second, authority: third });
    case MINT_TO:
      return amount(call, 9, 3, { effect: "mint", mint: first, destination: second, authority: third });
    case BURN:
      return amount(call, 9, 3, { effect: "burn", source: first, mint: second, authority: third });
    case TRANSFER_CHECKED:
      return amount(call, 10, 4, {
        ...{ effect: "transfer", source: first, mint: second, destination: third, authority: fourth },
      });
    case APPROVE_CHECKED:
      return amount(call, 10, 4, {
        ...{ effect: "approve", source: first, mint: second, destination: third, authority: fourth },
      });
    case MINT_TO_CHECKED:
      return amount(call, 10, 3, { effect: "mint", mint: first, destination: second, authority: third });
    case BURN_CHECKED:
      return amount(call, 10, 3, { effect: "burn", source: first, mint: second, authority: third });
    case REVOKE:
      return data.length === 1 && accounts.length === 2 ? NOTHING : null;
    case SYNC_NATIVE:
      // What rent is may stand beside it.
      return data.length === 1 && (accounts.length === 1 || accounts.length === 2) ? NOTHING : null;
    case CLOSE_ACCOUNT:
      return closeMeaning(call);
    case SET_AUTHORITY:
      return authorityMeaning(call);
    default:
      return null;
  }
}

/** The program that makes the one token account that belongs to an owner and a mint by derivation. */
export function associatedTokenMeaning({ accounts, data }: ProgramCall): Meaning | null {
  const isCreation = data.length === 0 || (data.length === 1 && (data[0] === CREATE || data[0] === CREATE_IDEMPOTENT));
  const [payer = null, account = null, owner = null, , , tokenProgram] = accounts;
  // What Token-2022's accounts cost depends on their mint.
  if (!isCreation || accounts.length !== 6 || tokenProgram !== TOKEN_PROGRAM) return null;
  const { transfer: rent } = transfer({
    ...{ asset: "sol", effect: "transfer", amount: TOKEN_ACCOUNT_RENT_LAMPORTS },
    ...{ source: payer, authority: payer, destination: account, destinationOwner: owner },
  });
  return { kind: "token-account", account, owner, rent };
}

type TokenFields = Pick<SolanaTransfer, "effect"> & Partial<SolanaTransfer>;

/** Tag, amount, and the decimals that are checked, where some are. */
function amount({ accounts, data }: ProgramCall, bytes: number, count: number, fields: TokenFields): Meaning | null {
  if (data.length !== bytes || accounts.length !== count) return null;
  return transfer({ asset: "token", amount: data.readBigUInt64LE(1), ...fields });
}

function closeMeaning({ accounts, data, own }: ProgramCall): Meaning | null {
  const [source = null, destination = null, authority = null] = accounts;
  if (data.length !== 1 || accounts.length !== 3) return null;
  // Its lamports come home; tokens must be gone before (wrapped SOL, which are lamports, excepted).
  if (destination === own && authority === own) return NOTHING;
  return transfer({ asset: "sol", effect: "close", amount: ALL, source, destination, authority });
}

/** Tag, what authority, and the new one after a 1, or a 0 for none. */
function authorityMeaning({ accounts, data }: ProgramCall): Meaning | null {
  const [source = null, authority = null] = accounts;
  const [, type = Number.NaN, isSome] = data;
  const isWhole = (isSome === 0 && data.length === 3) || (isSome === 1 && data.length === 35);
  if (!isWhole || accounts.length !== 2 || !(type <= MAX_AUTHORITY_TYPE)) return null;
  const destination = isSome === 1 ? address(data.subarray(3)) : null;
  return transfer({ asset: "token", effect: "authority", amount: ALL, source, authority, destination });
}
