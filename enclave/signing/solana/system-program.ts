/** The system program: whose accounts hold SOL (solana-system-interface, `SystemInstruction`, in bincode). */
import { type Meaning, NOTHING, type ProgramCall, transfer } from "./meaning.ts";

const CREATE_ACCOUNT = 0;
const TRANSFER = 2;
const CREATE_ACCOUNT_WITH_SEED = 3;
const ADVANCE_NONCE = 4;
const WITHDRAW_NONCE = 5;
const TRANSFER_WITH_SEED = 11;
/** Tag, length of the seed. */
const SEED_HEAD_BYTES = 8;

/** Null for what is not understood to the last byte. */
export function systemMeaning({ accounts, data, own }: ProgramCall): Meaning | null {
  if (data.length < 4) return null;
  const [first = null, second = null, third = null] = accounts;
  switch (data.readUInt32LE(0)) {
    case CREATE_ACCOUNT:
      // Lamports, space, owner. A wallet that becomes a program's own account is more than a transfer.
      if (data.length !== 52 || accounts.length !== 2 || second === null || second === own) return null;
      return sol(data.readBigUInt64LE(4), { source: first, authority: first, destination: second });
    case TRANSFER:
      if (data.length !== 12 || accounts.length !== 2) return null;
      return sol(data.readBigUInt64LE(4), { source: first, authority: first, destination: second });
    case CREATE_ACCOUNT_WITH_SEED: {
      // Base, seed, lamports, space, owner; the base stands among the accounts unless it pays.
      const seedBytes = seedLength(data, 36);
      if (data.length !== 36 + SEED_HEAD_BYTES + seedBytes + 48) return null;
      if (accounts.length !== 2 && accounts.length !== 3) return null;
      const lamports = data.readBigUInt64LE(36 + SEED_HEAD_BYTES + seedBytes);
      return sol(lamports, { source: first, authority: first, destination: second });
    }
    case ADVANCE_NONCE:
      return data.length === 4 && accounts.length === 3 ? NOTHING : null;
    case WITHDRAW_NONCE:
      if (data.length !== 12 || accounts.length !== 5) return null;
      return sol(data.readBigUInt64LE(4), { source: first, authority: accounts[4] ?? null, destination: second });
    case TRANSFER_WITH_SEED: {
      // Lamports, seed, owner; source, base, destination.
      const seedBytes = seedLength(data, 12);
      if (data.length !== 12 + SEED_HEAD_BYTES + seedBytes + 32 || accounts.length !== 3) return null;
      return sol(data.readBigUInt64LE(4), { source: first, authority: second, destination: third });
    }
    default:
      return null;
  }
}

/** The runtime takes a transaction for one that stands until its nonce moves on, by the beginning of its first instruction. */
export function advancesNonce(data: Uint8Array): boolean {
  return data.length >= 4 && Buffer.from(data).readUInt32LE(0) === ADVANCE_NONCE;
}

interface Sides {
  readonly source: string | null;
  readonly authority: string | null;
  readonly destination: string | null;
}

function sol(amount: bigint, sides: Sides): Meaning {
  return transfer({ asset: "sol", effect: "transfer", amount, ...sides });
}

/** NaN where it is not there, which no length equals. */
function seedLength(data: Buffer, offset: number): number {
  return data.length < offset + SEED_HEAD_BYTES ? Number.NaN : Number(data.readBigUInt64LE(offset));
}
