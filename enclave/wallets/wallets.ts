/** Wallets: born here, sealed at once, unsealed for one signature. */
import { bytesOf, encodeHex, MAX_RECORDS_PER_PAGE, RequestError, type Wallet, z } from "../../protocol/index.ts";
import type { Randomness } from "../nsm/randomness.ts";
import { ethereumAddress } from "../signing/ethereum-address.ts";
import { isPrivateKey, publicKeyOf } from "../signing/secp256k1.ts";
import type { Ids } from "../vault/ids.ts";
import { change, type RecordKind, type Records } from "../vault/records.ts";
import { derivePrivateKey } from "./bip32.ts";
import { mnemonicOf, seedOf } from "./mnemonic.ts";
import { SecretKey } from "./secret-key.ts";

/** BIP-44, coin type 60 (SLIP-44): the first account of every Ethereum wallet software. */
const ETHEREUM_PATH = "m/44'/60'/0'/0/0";
/** Twelve words. */
const ENTROPY_BYTES = 16;

const walletSchema = z.strictObject({
  kind: z.enum(["hd", "single-key"]),
  address: z.string(),
  publicKey: bytesOf(33),
  path: z.nullable(z.string()),
  createdAtMs: z.int(),
  /** The key that signs. For `hd` it is the one at `path`: deriving it anew would cost a PBKDF2 for every signature. */
  privateKey: bytesOf(32),
  /** BIP-39 entropy of an `hd` wallet. */
  entropy: z.nullable(bytesOf(ENTROPY_BYTES)),
});
type WalletValue = z.output<typeof walletSchema>;

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
   * Lends the wallet's key to one piece of work and wipes it afterwards.
   *
   * @throws {@link RequestError} `WALLET_NOT_FOUND`, and what reading records throws
   */
  async withKey<Result>(owner: Owner, walletId: string, work: (privateKey: Uint8Array) => Result): Promise<Result> {
    const record = await this.#records.read(walletRecords, nameOf(owner, walletId));
    if (record === null) throw new RequestError("WALLET_NOT_FOUND", "this user has no such wallet in this app");
    record.value.entropy?.fill(0);
    using key = new SecretKey(record.value.privateKey);
    return key.use(work);
  }

  async #generate(kind: Wallet["kind"]): Promise<WalletValue> {
    const { entropy, privateKey } = kind === "hd" ? await this.#generateHd() : this.#generateSingleKey();
    return {
      kind,
      address: ethereumAddress(publicKeyOf(privateKey, false)),
      publicKey: publicKeyOf(privateKey, true),
      path: kind === "hd" ? ETHEREUM_PATH : null,
      createdAtMs: this.#nowMs(),
      privateKey,
      entropy,
    };
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

function publicPart(walletId: string, value: WalletValue): Wallet {
  const { kind, address, path, createdAtMs } = value;
  return { walletId, kind, address, publicKey: encodeHex(value.publicKey), path, createdAtMs };
}

function wipe(value: WalletValue): void {
  value.privateKey.fill(0);
  value.entropy?.fill(0);
}
