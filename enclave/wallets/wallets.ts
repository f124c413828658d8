/** Wallets: born here, sealed at once, unsealed for one signature. */
import {
  ADDRESS_FORMATS,
  bytesOf,
  bytesUpTo,
  CURVES,
  MAX_RECORDS_PER_PAGE,
  RequestError,
  type Wallet,
  z,
} from "../../protocol/index.ts";
import type { Randomness } from "../nsm/randomness.ts";
import { ethereumAddress } from "../signing/ethereum-address.ts";
import { isPrivateKey, publicKeyOf } from "../signing/secp256k1.ts";
import type { Ids } from "../vault/ids.ts";
import { change, type RecordKind, type Records } from "../vault/records.ts";
import { derivePrivateKey } from "./bip32.ts";
import { mnemonicOf, seedOf } from "./mnemonic.ts";
import { OpenWallet, publicAccount, wipe } from "./open-wallet.ts";

/** BIP-44, coin type 60 (SLIP-44): the first account of every Ethereum wallet software. */
const ETHEREUM_PATH = "m/44'/60'/0'/0/0";
/** Twelve words. */
const ENTROPY_BYTES = 16;

const heldAccount = z.strictObject({
  address: z.string(),
  format: z.enum(ADDRESS_FORMATS),
  curve: z.enum(CURVES),
  publicKey: bytesUpTo(33),
  path: z.nullable(z.string()),
  /** The key that signs. Deriving the one at `path` anew would cost a PBKDF2 for every signature. */
  privateKey: bytesOf(32),
});
export type HeldAccount = z.output<typeof heldAccount>;

const walletSchema = z.strictObject({
  kind: z.enum(["hd", "single-key"]),
  accounts: z.tuple([heldAccount], heldAccount),
  createdAtMs: z.int(),
  /** BIP-39 entropy of an `hd` wallet. */
  entropy: z.nullable(bytesOf(ENTROPY_BYTES)),
});
export type WalletValue = z.output<typeof walletSchema>;

const walletRecords: RecordKind<WalletValue> = { prefix: "wallet/", schema: walletSchema };

/** Whose wallet: names of records begin with both, so that nobody can even name another's. */
export interface Owner {
  readonly appId: string;
  readonly userId: string;
}

export class Wallets {
  readonly #records: Records;
  readonly #ids: Ids;
  readonly #randomness: Randomness;
  readonly #nowMs: () => number;

  constructor(options: {
    readonly records: Records;
    readonly ids: Ids;
    readonly randomness: Randomness;
    readonly nowMs: () => number;
  }) {
    this.#records = options.records;
    this.#ids = options.ids;
    this.#randomness = options.randomness;
    this.#nowMs = options.nowMs;
  }

  /**
   * Makes a wallet. Its id comes from the request's, so a retried creation finds the same wallet, unless the parent has
   * lost it: what the parent can lose, it can lose before an enclave boots and have made anew.
   *
   * @throws {@link RequestError} `RECORD_CONFLICT` for the same request id with another kind, and what records throw
   */
  async create(owner: Owner, requestId: string, kind: Wallet["kind"]): Promise<Wallet> {
    const walletId = this.#ids.derive("wal", [owner.appId, owner.userId, requestId]);
    const name = nameOf(owner, walletId);
    const value = await this.#generate(kind);
    try {
      if (await this.#records.write([change(walletRecords, name, null, value)])) {
        return publicPart(walletId, value);
      }
    } finally {
      wipe(value);
    }
    const existing = await this.#records.read(walletRecords, name);
    if (existing === null) throw new RequestError("RECORD_CONFLICT", "the record store contradicts itself: try again");
    wipe(existing.value);
    if (existing.value.kind !== kind) {
      throw new RequestError("RECORD_CONFLICT", "this request id made a wallet of another kind: use a new one");
    }
    return publicPart(walletId, existing.value);
  }

  /** One page of the user's wallets, in the order of their ids. The parent can leave out what this boot has not seen. */
  async list(
    owner: Owner,
    after: string | null,
  ): Promise<{ readonly wallets: readonly Wallet[]; readonly more: boolean }> {
    const under = nameOf(owner, "");
    const page = await this.#records.list(walletRecords, under, after === null ? null : under + after);
    const wallets = page.map(({ name, value }) => {
      wipe(value);
      return publicPart(name.slice((walletRecords.prefix + under).length), value);
    });
    return { wallets, more: wallets.length === MAX_RECORDS_PER_PAGE };
  }

  /**
   * Opens a wallet for one piece of work; whoever opens it disposes of it.
   *
   * @throws {@link RequestError} `WALLET_NOT_FOUND`, and what reading records throws
   */
  async open(owner: Owner, walletId: string): Promise<OpenWallet> {
    const record = await this.#records.read(walletRecords, nameOf(owner, walletId));
    if (record === null) throw new RequestError("WALLET_NOT_FOUND", "this user has no such wallet in this app");
    return new OpenWallet(walletId, record.value);
  }

  async #generate(kind: Wallet["kind"]): Promise<WalletValue> {
    const { entropy, privateKey } = kind === "hd" ? await this.#generateHd() : this.#generateSingleKey();
    const account: HeldAccount = {
      address: ethereumAddress(publicKeyOf(privateKey, false)),
      format: "ethereum",
      curve: "secp256k1",
      publicKey: publicKeyOf(privateKey, true),
      path: kind === "hd" ? ETHEREUM_PATH : null,
      privateKey,
    };
    return { kind, accounts: [account], createdAtMs: this.#nowMs(), entropy };
  }

  async #generateHd(): Promise<{ entropy: Uint8Array; privateKey: Uint8Array }> {
    const entropy = this.#randomness.bytes(ENTROPY_BYTES);
    const mnemonic = mnemonicOf(entropy);
    const seed = await seedOf(mnemonic);
    mnemonic.fill(0);
    try {
      return { entropy, privateKey: derivePrivateKey(seed, ETHEREUM_PATH) };
    } finally {
      seed.fill(0);
    }
  }

  #generateSingleKey(): { entropy: null; privateKey: Uint8Array } {
    for (;;) {
      const privateKey = this.#randomness.bytes(32);
      if (isPrivateKey(privateKey)) return { entropy: null, privateKey };
    }
  }
}

function nameOf({ appId, userId }: Owner, walletId: string): string {
  return `${appId}/${userId}/${walletId}`;
}

function publicPart(walletId: string, { kind, accounts, createdAtMs }: WalletValue): Wallet {
  const [first, ...others] = accounts;
  return { walletId, kind, accounts: [publicAccount(first), ...others.map(publicAccount)], createdAtMs };
}
