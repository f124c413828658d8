/** Users who spend from limits, wait for approval and hold shares, and a thief who has all of that but the right to it. */
import { createHash, createPublicKey, randomUUID, verify } from "node:crypto";
import { Transaction } from "@scure/btc-signer/transaction.js";
import { address, createNoopSigner } from "@solana/kit";
import { getTransferSolInstruction } from "@solana-program/system";
import { recoverTransactionAddress, type TransactionSerializedEIP1559 } from "viem";
import { AttestationError } from "../../../attestation/index.ts";
import {
  type CallOptions,
  type Client,
  ClientError,
  CustodyError,
  RefusedError,
  type Session,
} from "../../../client/index.ts";
import { decodeHex, encodeHex, type Policy, ProtocolError, type Wallet } from "../../../protocol/index.ts";
import type { Random } from "../../../simulator/hostile-parent/random.ts";
import type { Simulator } from "../../../simulator/index.ts";
import { createApp, logIn } from "../../support/app.ts";
import { foreignScript, payment, psbtOf } from "../../support/bitcoin.ts";
import { type Device, deviceOf, MESSAGE } from "../../support/custody.ts";
import { makeTransaction, named } from "../../support/solana.ts";
import { usdcTransfer } from "../../support/transactions.ts";
import type { Asked, SpendingLedger } from "./spending-ledger.ts";

/** Of each user, whatever the parent does: lamports, and what leaves a wallet in satoshis. */
export const LIMITS = { solana: 1_000, bitcoin: 60_000 } as const;
const PAID_SATS = 10_000;
const TRIES = 4;
const USERS = ["alice", "bob", "carol"] as const;

type Failure = Error & { readonly code: string; readonly details?: unknown };

interface Person extends Device {
  readonly name: string;
  readonly wallet: Wallet;
  readonly splitId: string;
  /** Shares that were good once. */
  readonly oldShares: string[];
  isTightened: boolean;
}

export class Spending {
  readonly violations: string[] = [];
  /** Signatures under a split wallet: they come sealed, and only who asked sees them. */
  splitSignatures = 0;
  readonly #ledger: SpendingLedger;
  readonly #random: Random;
  readonly #people: readonly Person[];
  readonly #approver: Session;
  #count = 0;

  private constructor(ledger: SpendingLedger, random: Random, people: readonly Person[], approver: Session) {
    this.#ledger = ledger;
    this.#random = random;
    this.#people = people;
    this.#approver = approver;
  }

  /** While the parent is honest. */
  static async prepare(
    simulator: Simulator,
    client: Client,
    ledger: SpendingLedger,
    random: Random,
  ): Promise<Spending> {
    const appId = await createApp(simulator, client, { policy: { v: 1, rules: [] } });
    const { session: approver } = await logIn(simulator, client, appId, "approver");
    const keys = [simulator.administratorKey];
    const { version, app } = await client.getApp(keys, appId);
    await client.updateApp(keys, {
      appId,
      expectedVersion: version,
      app: { ...app, policy: policyOf(approver.userId) },
    });
    const people = await Promise.all(
      USERS.map(async (name): Promise<Person> => {
        const device = await deviceOf(simulator, client, appId, name);
        const accounts = [{ format: "ethereum" }, { format: "solana" }, { format: "bitcoin-p2wpkh" }] as const;
        const wallet = await device.session.createWallet({ kind: "hd", accounts: [...accounts] });
        const splitId = (await device.custody.createWallet({ kind: "single-key" })).wallet.walletId;
        return { ...device, name, wallet, splitId, oldShares: [], isTightened: false };
      }),
    );
    return new Spending(ledger, random, people, approver);
  }

  /** One thing that somebody asks for, chosen at random. */
  async step(): Promise<void> {
    this.#count += 1;
    const person = this.#people[this.#random.below(this.#people.length)];
    if (person === undefined) throw new Error("nobody");
    const chance = this.#random.next();
    if (chance < 0.35) await this.#spendSol(person);
    else if (chance < 0.5) await this.#spendBitcoin(person);
    else if (chance < 0.65) await this.#askApproval(person);
    else if (chance < 0.9) await this.#signSplit(person);
    else if (chance < 0.96) await this.#reshare(person);
    else await this.#tighten(person);
  }

  async #spendSol({ name, session, wallet, isTightened }: Person): Promise<void> {
    const [, account] = wallet.accounts;
    if (account === undefined) throw new Error("no Solana account");
    const isForbidden = isTightened || this.#random.next() < 0.15;
    const amount = 1 + this.#random.below(200);
    const source = createNoopSigner(address(account.address));
    const destination = named(isForbidden && !isTightened ? "mallory" : "shop");
    const instruction = getTransferSolInstruction({ source, destination, amount: BigInt(amount) });
    const making = { feePayer: source.address, blockhash: named(`block ${this.#count}`) };
    const { wire, message } = makeTransaction([instruction], making);
    const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), decodeHex(account.publicKey)]);
    const key = createPublicKey({ key: der, format: "der", type: "spki" });
    await this.#ask(
      {
        ...{ what: "solana", user: name, amount, mayBeDone: !isForbidden, approvalId: null },
        isRight: ({ signature = "0x" }) => verify(null, message, key, decodeHex(signature.slice(2))),
      },
      (options) =>
        session.signSolanaTransaction({ walletId: wallet.walletId, transaction: `0x${encodeHex(wire)}` }, options),
    );
  }

  async #spendBitcoin({ name, session, wallet }: Person): Promise<void> {
    const sha = createHash("sha256")
      .update(decodeHex(wallet.accounts[2]?.publicKey ?? ""))
      .digest();
    const script = Buffer.concat([Uint8Array.of(0, 20), createHash("ripemd160").update(sha).digest()]);
    const { bytes, txid } = payment(script, BigInt(PAID_SATS), this.#count);
    const bytesOfPsbt = psbtOf(
      [{ txid, index: 1, nonWitnessUtxo: bytes }],
      [{ script: foreignScript("shop"), amount: BigInt(PAID_SATS - 500) }],
    );
    const psbt = Buffer.from(bytesOfPsbt).toString("base64");
    const unsigned = Buffer.from(Transaction.fromPSBT(bytesOfPsbt).unsignedTx);
    await this.#ask(
      {
        ...{ what: "bitcoin", user: name, amount: PAID_SATS, mayBeDone: true, approvalId: null },
        isRight: ({ finalTransaction = "0x" }) =>
          unsigned.equals(
            Transaction.fromRaw(decodeHex(finalTransaction.slice(2)), { allowUnknownOutputs: true }).unsignedTx,
          ),
      },
      (options) => session.signBitcoinTransaction({ walletId: wallet.walletId, network: "bitcoin", psbt }, options),
    );
  }

  /** Approved or not, collected by two requests at once. */
  async #askApproval({ name, session, wallet }: Person): Promise<void> {
    const unsignedTransaction = usdcTransfer({ nonce: this.#count });
    const params = { walletId: wallet.walletId, chainId: "1", unsignedTransaction };
    const isRight: Asked["isRight"] = async ({ signedTransaction = "0x" }) => {
      const serializedTransaction = signedTransaction as TransactionSerializedEIP1559;
      return (
        signedTransaction.includes(unsignedTransaction.slice(10)) &&
        (await recoverTransactionAddress({ serializedTransaction })) === wallet.accounts[0].address
      );
    };
    const asked = { what: "approved", user: name, amount: 1, isRight } as const;
    const ask = (mayBeDone: boolean, approvalId: string | null) =>
      this.#ask({ ...asked, mayBeDone, approvalId }, (options) =>
        session.signTransaction(params, approvalId === null ? options : { ...options, approvalId }),
      );
    const waiting = await ask(false, null);
    if (waiting === null || waiting.code !== "APPROVAL_REQUIRED") return;
    const { approvalId, digest } = waiting.details as { approvalId: string; digest: string };
    const isApproved = this.#random.next() < 0.7;
    if (isApproved) {
      this.#ledger.approved.add(approvalId);
      const requestId = randomUUID();
      await this.#tryTo(() => this.#approver.approveRequest({ approvalId, digest }, { requestId }));
    }
    await Promise.all([ask(isApproved, approvalId), ask(isApproved, approvalId)]);
  }

  async #signSplit(person: Person): Promise<void> {
    const { session, custody, splitId, oldShares } = person;
    const old = oldShares[this.#random.below(oldShares.length)];
    const thief = this.#people.find(({ name }) => name !== person.name);
    const isForbidden = this.#random.next() < 0.4;
    const wrong = old ?? (await thief?.custody.shareOf(thief.splitId));
    if (wrong === undefined) throw new Error("no other share");
    const share = isForbidden ? wrong : await custody.shareOf(splitId);
    const params = { walletId: splitId, message: MESSAGE };
    const refused = await this.#tryTo(() =>
      session.signMessage(params, isForbidden && old === undefined && this.#random.next() < 0.3 ? {} : { share }),
    );
    if (refused !== null) return;
    this.splitSignatures += 1;
    if (isForbidden) this.violations.push(`${person.name}: signed with a share that is worth nothing`);
  }

  /** From the moment when it is known to be done, shares of before are worth nothing. */
  async #reshare({ custody, splitId, oldShares }: Person): Promise<void> {
    const before = await custody.shareOf(splitId);
    if ((await this.#tryTo(() => custody.reshare(splitId))) === null) oldShares.push(before);
  }

  /** From the moment when it is known to be set, no lamport leaves. */
  async #tighten(person: Person): Promise<void> {
    if (person.isTightened || person.name !== "carol") return;
    const policy: Policy = {
      ...{ v: 1 },
      rules: [
        { id: "no-sol", effect: "deny", when: [{ field: "kind", in: ["solana-transaction"] }] },
        { id: "else", effect: "allow", when: [] },
      ],
    };
    const refused = await this.#tryTo(() => person.session.setPolicy({ of: "user", expectedVersion: 0, policy }));
    if (refused === null) person.isTightened = true;
  }

  /** Under one request id. @returns The last refusal, or null for what was done. */
  async #ask(asked: Asked, call: (options: CallOptions) => Promise<unknown>): Promise<Failure | null> {
    const requestId = randomUUID();
    this.#ledger.asked.set(requestId, asked);
    return await this.#tryTo(() => call({ requestId }));
  }

  async #tryTo(call: () => Promise<unknown>): Promise<Failure | null> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await call();
        return null;
      } catch (error) {
        if (!isExpected(error)) throw error;
        const isFinal = ["POLICY_DENIED", "APPROVAL_REQUIRED"].includes(error.code) || error.code.startsWith("SHARE_");
        if (isFinal || attempt === TRIES) return error;
        await new Promise((resolve) => setTimeout(resolve, 3));
      }
    }
  }
}

function isExpected(error: unknown): error is Failure {
  return [RefusedError, ClientError, AttestationError, CustodyError, ProtocolError].some(
    (each) => error instanceof each,
  );
}

function policyOf(approver: string): Policy {
  const kind = (name: string) => ({ field: "kind" as const, in: [name] });
  const limit = (amount: number) => [
    { asset: "value" as const, amount: String(amount), windowS: 86_400, per: "user" as const },
  ];
  return {
    v: 1,
    rules: [
      {
        ...{ id: "sol", effect: "allow", limits: limit(LIMITS.solana) },
        when: [
          kind("solana-transaction"),
          { every: "transfers", is: [{ field: "transfer.destination", in: [named("shop")] }] },
        ],
      },
      { id: "btc", effect: "allow", when: [kind("bitcoin-transaction")], limits: limit(LIMITS.bitcoin) },
      {
        ...{ id: "by-one", effect: "allow", when: [kind("evm-transaction")] },
        approvals: { of: [approver], threshold: 1, expiresS: 3600 },
      },
      { id: "talk", effect: "allow", when: [kind("evm-message")] },
    ],
  };
}
