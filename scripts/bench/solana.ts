/** Solana's kinds beside Kit, which signs by WebCrypto what it has decoded already, and beside TweetNaCl. */
import {
  createKeyPairFromPrivateKeyBytes,
  createNoopSigner,
  getAddressDecoder,
  getTransactionDecoder,
  getTransactionEncoder,
  type Instruction,
  signTransaction as signByKit,
} from "@solana/kit";
import { getSetComputeUnitLimitInstruction, getSetComputeUnitPriceInstruction } from "@solana-program/compute-budget";
import { getTransferSolInstruction } from "@solana-program/system";
import { getCreateAssociatedTokenIdempotentInstruction, getTransferCheckedInstruction } from "@solana-program/token";
import nacl from "tweetnacl";
import { publicKeyOf, signMessage } from "../../enclave/signing/ed25519.ts";
import { parseTextMessage } from "../../enclave/signing/solana/off-chain-message.ts";
import { checkSignatures, parseTransaction, signTransaction } from "../../enclave/signing/solana/transaction.ts";
import { transactionFacts } from "../../enclave/signing/solana/transaction-facts.ts";
import { decodeHex, encodeHex } from "../../protocol/index.ts";
import { makeTransaction, named } from "../../test/support/solana.ts";
import { judgeBy } from "./judge.ts";
import type { SigningRow } from "./signing-row.ts";

const SEED = new Uint8Array(32).fill(0x46);
const publicKey = publicKeyOf(SEED);
const signer = {
  curve: "ed25519",
  publicKey,
  signMessage: (message: Uint8Array) => signMessage(message, SEED),
} as const;
const naclKey = nacl.sign.keyPair.fromSeed(SEED).secretKey;
const own = createNoopSigner(getAddressDecoder().decode(publicKey));

/** Only what is understood, to recipients by amount; messages. */
const judge = judgeBy({
  v: 1,
  rules: [
    {
      ...{ id: "transfers", effect: "allow" },
      when: [
        { field: "solana.unknownInstructions", atMost: "0" },
        { field: "solana.maxFee", atMost: "1000000" },
        { every: "transfers", is: [{ field: "transfer.amount", atMost: "1000000000" }] },
      ],
    },
    { id: "messages", effect: "allow", when: [{ field: "kind", in: ["solana-message"] }] },
  ],
});

export async function solanaRows(): Promise<readonly SigningRow[]> {
  const keyPair = await createKeyPairFromPrivateKeyBytes(SEED);
  const [hers, mint, bob] = [named("tokens"), named("mint"), named("bob")];
  const budget = [
    getSetComputeUnitLimitInstruction({ units: 40_000 }),
    getSetComputeUnitPriceInstruction({ microLamports: 10_000n }),
  ];
  const send = getTransferSolInstruction({ source: own, destination: bob, amount: 5n });
  const sendToken = [
    getCreateAssociatedTokenIdempotentInstruction({ payer: own, ata: named("ata"), owner: bob, mint }),
    getTransferCheckedInstruction({
      ...{ source: hers, mint, destination: named("ata"), authority: own, amount: 9n, decimals: 6 },
    }),
  ];
  const rows = [
    await transactionRow("transaction, legacy, SOL", [send], "legacy", keyPair),
    await transactionRow("transaction, v0, SOL, priority fee", [...budget, send], 0, keyPair),
    await transactionRow("transaction, v0, token to a new account", [...budget, ...sendToken], 0, keyPair),
  ];
  return [...rows, messageRow()];
}

async function transactionRow(
  name: string,
  instructions: readonly Instruction[],
  version: "legacy" | 0,
  keyPair: CryptoKeyPair,
): Promise<SigningRow> {
  const { wire } = makeTransaction(instructions, { feePayer: own.address, version });
  const hex = encodeHex(wire);
  const decoded = getTransactionDecoder().decode(wire);
  const encoder = getTransactionEncoder();
  const ours = () => {
    const transaction = parseTransaction(decodeHex(hex));
    checkSignatures(transaction);
    judge("sign_solana_transaction", transactionFacts(transaction.message, own.address));
    const { bytes, signature } = signTransaction(transaction, signer);
    return [encodeHex(bytes), encodeHex(signature)] as const;
  };
  const theirs = async () => encoder.encode(await signByKit([keyPair], decoded));
  if (ours()[0] !== encodeHex(Uint8Array.from(await theirs()))) throw new Error(`${name}: Kit signs something else`);
  return { name, peer: "@solana/kit", ours, theirs };
}

function messageRow(): SigningRow {
  const text = Buffer.from("example.com wants you to sign in with your Solana account: ".repeat(4));
  const hex = encodeHex(text);
  const ours = () => {
    const message = decodeHex(hex);
    const { text: read, form, applicationDomain } = parseTextMessage(message);
    judge("sign_solana_message", {
      ...{ kind: "solana-message", from: own.address, message: read, form, applicationDomain },
    });
    return encodeHex(signer.signMessage(message));
  };
  const theirs = () => nacl.sign.detached(text, naclKey);
  if (ours() !== encodeHex(theirs())) throw new Error("TweetNaCl signs something else");
  return { name: "message, a text", peer: "tweetnacl", ours, theirs };
}
