/** Solana transactions made by Kit, for the enclave to sign and Kit to judge. */
import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import {
  type Address,
  type AddressesByLookupTableAddress,
  appendTransactionMessageInstructions,
  type Blockhash,
  compileTransaction,
  compressTransactionMessageUsingAddressLookupTables,
  createNoopSigner,
  createTransactionMessage,
  getAddressDecoder,
  getTransactionEncoder,
  type Instruction,
  type Nonce,
  setTransactionMessageFeePayer,
  setTransactionMessageLifetimeUsingBlockhash,
  setTransactionMessageLifetimeUsingDurableNonce,
  type TransactionSigner,
} from "@solana/kit";
import type { Ed25519Signer } from "../../enclave/wallets/signer.ts";

/** An address that a name stands for: the same in each run. */
export function named(name: string): Address {
  return getAddressDecoder().decode(createHash("sha256").update(name).digest());
}

/** In the place of a signer, where an instruction's maker asks for one. */
export function signing(name: string): TransactionSigner {
  return createNoopSigner(named(name));
}

export interface Making {
  readonly feePayer: Address;
  readonly version?: "legacy" | 0;
  readonly blockhash?: string;
  readonly tables?: AddressesByLookupTableAddress;
  readonly nonce?: { readonly account: Address; readonly authority: Address; readonly value: string };
}

export interface Made {
  /** All signatures missing. */
  readonly wire: Uint8Array;
  readonly message: Uint8Array;
}

export function makeTransaction(instructions: readonly Instruction[], making: Making): Made {
  const { feePayer, version = 0, nonce, tables } = making;
  const empty = createTransactionMessage({ version });
  const unpaid =
    tables === undefined || empty.version !== 0
      ? appendTransactionMessageInstructions(instructions, empty)
      : compressTransactionMessageUsingAddressLookupTables(
          appendTransactionMessageInstructions(instructions, createTransactionMessage({ version: 0 })),
          tables,
        );
  const message = setTransactionMessageFeePayer(feePayer, unpaid);
  const blockhash = (making.blockhash ?? named("blockhash")) as Blockhash;
  const compiled = compileTransaction(
    nonce === undefined
      ? setTransactionMessageLifetimeUsingBlockhash({ blockhash, lastValidBlockHeight: 1n }, message)
      : setTransactionMessageLifetimeUsingDurableNonce(
          {
            ...{ nonceAccountAddress: nonce.account, nonceAuthorityAddress: nonce.authority },
            nonce: nonce.value as Nonce,
          },
          message,
        ),
  );
  const wire = Uint8Array.from(getTransactionEncoder().encode(compiled));
  return { wire, message: Uint8Array.from(compiled.messageBytes) };
}

/** Ed25519 by node:crypto, of a name. */
export function keyOf(name: string): Ed25519Signer & { readonly address: Address } {
  const seed = createHash("sha256").update(`key of ${name}`).digest();
  const head = Buffer.from("302e020100300506032b657004220420", "hex");
  const key = createPrivateKey({ key: Buffer.concat([head, seed]), format: "der", type: "pkcs8" });
  const publicKey = Buffer.from(createPublicKey(key).export({ format: "jwk" }).x ?? "", "base64url");
  return {
    ...{ curve: "ed25519", publicKey, address: getAddressDecoder().decode(publicKey) },
    signMessage: (message) => sign(null, message, key),
  };
}
