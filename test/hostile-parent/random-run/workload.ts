/** Callers of several apps: they log in, make wallets, sign, ask for what they may not, and ask again as the sane do. */
import { randomUUID } from "node:crypto";
import { serializeTransaction } from "viem";
import { AttestationError } from "../../../attestation/index.ts";
import {
  type Client,
  ClientError,
  connect,
  generateStampKey,
  loginNonce,
  RefusedError,
  type StampKey,
} from "../../../client/index.ts";
import {
  ACCESS,
  encodeHex,
  type OperationName,
  type Params,
  type Result,
  type Wallet,
} from "../../../protocol/index.ts";
import type { Random } from "../../../simulator/hostile-parent/random.ts";
import type { Simulator } from "../../../simulator/index.ts";
import { type Asked, Ledger } from "./ledger.ts";
import { ObservedFetch } from "./observed-fetch.ts";

const AUDIENCE = "hostile-run";
const MAX_ATTEMPTS = 6;
const RECIPIENT = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045";

interface App {
  readonly appId: string;
  readonly chainId: number;
  readonly messages: "allow" | "deny";
}

/** A person in an app, with the device of the moment. */
interface Actor {
  readonly owner: string;
  readonly app: App;
  readonly subject: string;
  key: StampKey;
}

/** A call that was given up: its outcome is unknown to the caller. */
export class GaveUp extends Error {
  override readonly name = "GaveUp";
}

export class Workload {
  readonly ledger = new Ledger();
  readonly observed = new ObservedFetch();
  readonly #simulator: Simulator;
  readonly #random: Random;
  readonly #actors: Actor[] = [];
  #client: Client | undefined;
  #nonce = 0;

  constructor(simulator: Simulator, random: Random) {
    this.#simulator = simulator;
    this.#random = random;
  }

  get actors(): readonly Actor[] {
    return this.#actors;
  }

  /** Apps, and people who have logged in. */
  async prepare(): Promise<void> {
    const { issuer, jwksUri } = this.#simulator.issuer;
    for (const [name, chainId, messages] of [
      ["first", 1, "allow"],
      ["second", 137, "deny"],
    ] as const) {
      const params: Params<"create_app"> = {
        name,
        issuers: [{ issuer, audiences: [AUDIENCE], jwksUri, algorithms: ["ES256"] }],
        sessionLifetimeS: 3600,
        signingPolicy: { evmChainIds: [String(chainId)], messages },
      };
      const keys = [this.#simulator.administratorKey];
      const { appId } = await this.#ask({ operation: "create_app" }, params, { appId: null, keys, mayBeDone: true });
      for (const subject of ["alice", "bob", "carol"]) {
        const app = { appId, chainId, messages };
        const actor = {
          owner: `${name}/${subject}`,
          app,
          subject: `${subject}-${randomUUID()}`,
          key: await generateStampKey(),
        };
        await this.logIn(actor);
        this.#actors.push(actor);
      }
    }
  }

  /** One call, chosen at random. What was given up is counted and forgotten. */
  async step(): Promise<void> {
    const actor = this.#actors[this.#random.below(this.#actors.length)];
    if (actor === undefined) throw new Error("nobody is logged in");
    const chance = this.#random.next();
    try {
      const [wallet] = this.#walletsOf(actor, this.#random.next());
      if (chance < 0.08) await this.logIn(actor);
      else if (chance < 0.22 || wallet === undefined) await this.createWallet(actor);
      else if (chance < 0.27) await this.createWallets(actor);
      else if (chance < 0.38) await this.listWallets(actor);
      else if (chance < 0.48) await this.signBatch(actor, wallet);
      else if (chance < 0.7) await this.signTransaction(actor, wallet);
      else if (chance < 0.82 && actor.app.messages === "allow") await this.signMessage(actor, wallet);
      else await this.#askForbidden(actor, wallet);
    } catch (error) {
      if (!(error instanceof GaveUp)) throw error;
    }
  }

  /** A new key each time, as from another device. */
  async logIn(actor: Actor): Promise<void> {
    const key = await generateStampKey();
    const jwt = await this.#simulator.issuer.mint({
      subject: actor.subject,
      audience: AUDIENCE,
      nonce: await loginNonce(key),
      algorithm: "ES256",
      lifetimeS: 3600,
    });
    this.ledger.tokens.push(jwt, actor.subject);
    await this.#ask(
      { operation: "register_session" },
      { jwt },
      { appId: actor.app.appId, keys: [key], mayBeDone: true },
    );
    actor.key = key;
  }

  async createWallet(actor: Actor): Promise<Wallet> {
    const kind = this.#random.next() < 0.3 ? "hd" : "single-key";
    const wallet = await this.#ask({ operation: "create_wallet", owner: actor.owner, kind }, { kind }, this.#as(actor));
    this.ledger.acknowledge(actor.owner, wallet);
    return wallet;
  }

  async createWallets(actor: Actor): Promise<void> {
    const count = 1 + this.#random.below(3);
    const wallets = Array.from({ length: count }, () => ({ kind: "single-key" as const }));
    const asked = { operation: "create_wallets", owner: actor.owner, count } as const;
    const { results } = await this.#ask(asked, { wallets }, this.#as(actor));
    for (const each of results) if ("wallet" in each) this.ledger.acknowledge(actor.owner, each.wallet);
  }

  /** Some for the chain that policy allows, some for another. */
  async signBatch(actor: Actor, wallet: Wallet): Promise<void> {
    const elements = Array.from({ length: 2 + this.#random.below(4) }, () => {
      const mayBeDone = this.#random.next() < 0.7;
      const params = this.#transaction(wallet, mayBeDone ? actor.app.chainId : 5);
      return { params, address: wallet.accounts[0].address, mayBeDone };
    });
    const requests = elements.map(({ params }) => ({ operation: "sign_transaction" as const, params }));
    await this.#ask({ operation: "sign_batch", elements }, { requests }, this.#as(actor));
  }

  async listWallets(actor: Actor): Promise<Wallet[]> {
    const wallets: Wallet[] = [];
    for (;;) {
      const after = wallets.at(-1)?.walletId ?? null;
      const page = await this.#ask({ operation: "list_wallets" }, { after }, this.#as(actor));
      wallets.push(...page.wallets);
      if (!page.more) return wallets;
    }
  }

  async signTransaction(actor: Actor, wallet: Wallet): Promise<void> {
    const params = this.#transaction(wallet, actor.app.chainId);
    await this.#ask(
      { operation: "sign_transaction", params, address: wallet.accounts[0].address },
      params,
      this.#as(actor),
    );
  }

  async signMessage(actor: Actor, wallet: Wallet): Promise<void> {
    const params = {
      walletId: wallet.walletId,
      message: `0x${encodeHex(this.#random.bytes(this.#random.below(3000)))}`,
    };
    await this.#ask(
      { operation: "sign_message", params, address: wallet.accounts[0].address },
      params,
      this.#as(actor),
    );
  }

  /** What must be refused, whoever stands between. */
  async #askForbidden(actor: Actor, wallet: Wallet): Promise<void> {
    const other = this.#actors[this.#random.below(this.#actors.length)] ?? actor;
    const [{ address }] = wallet.accounts;
    const refused = { ...this.#as(actor), mayBeDone: false };
    switch (this.#random.below(4)) {
      case 0: {
        const params = this.#transaction(wallet, 5);
        return this.#askInVain({ operation: "sign_transaction", params, address }, params, refused);
      }
      case 1: {
        // The chain that policy allows, said of a transaction for another.
        const params = { ...this.#transaction(wallet, 5), chainId: String(actor.app.chainId) };
        return this.#askInVain({ operation: "sign_transaction", params, address }, params, refused);
      }
      case 2: {
        if (other.owner === actor.owner) return;
        const params = this.#transaction(wallet, other.app.chainId);
        const asOther = { ...this.#as(other), mayBeDone: false };
        return this.#askInVain({ operation: "sign_transaction", params, address }, params, asOther);
      }
      default: {
        const params = this.#transaction(wallet, actor.app.chainId);
        const asNobody = { ...refused, keys: [await generateStampKey()] };
        return this.#askInVain({ operation: "sign_transaction", params, address }, params, asNobody);
      }
    }
  }

  async #askInVain(
    asked: Asked & { readonly operation: "sign_transaction" },
    params: Params<"sign_transaction">,
    options: AskOptions,
  ): Promise<void> {
    try {
      await this.#ask(asked, params, options);
    } catch (error) {
      if (!(error instanceof GaveUp)) throw error;
    }
  }

  #transaction(wallet: Wallet, chainId: number): Params<"sign_transaction"> {
    this.#nonce += 1;
    const unsignedTransaction = serializeTransaction({
      type: "eip1559",
      chainId,
      nonce: this.#nonce,
      to: RECIPIENT,
      value: BigInt(this.#random.below(1_000_000)),
      data: `0x${encodeHex(this.#random.bytes(this.#random.below(300)))}`,
      gas: 65_000n,
      maxFeePerGas: 30_000_000_000n,
      maxPriorityFeePerGas: 1_000_000_000n,
    });
    return { walletId: wallet.walletId, chainId: String(chainId), unsignedTransaction };
  }

  #walletsOf(actor: Actor, chance: number): Wallet[] {
    const wallets = this.ledger.wallets.get(actor.owner) ?? [];
    return wallets.slice(Math.floor(chance * wallets.length));
  }

  #as(actor: Actor): AskOptions {
    return { appId: actor.app.appId, keys: [actor.key], mayBeDone: true };
  }

  /** Asks under one request id until there is an answer; what cannot be the enclave's word is no answer. */
  async #ask<Name extends OperationName>(
    asked: Asked & { readonly operation: Name },
    params: Params<Name>,
    { appId, keys, mayBeDone }: AskOptions,
  ): Promise<Result<Name>> {
    const requestId = randomUUID();
    const entry = this.ledger.open(requestId, asked, mayBeDone);
    let last = "";
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
      try {
        this.#client ??= await this.#connect();
        entry.stamped += 1;
        const result = await this.#client.call(asked.operation, params, { requestId, appId, keys });
        this.#accept(requestId);
        this.ledger.count(`${asked.operation}: done`);
        return result;
      } catch (error) {
        last = codeOf(error);
        if (error instanceof RefusedError && error.isFromEnclave) this.#accept(requestId);
        this.ledger.count(`${asked.operation}: ${mayBeDone ? "" : "forbidden, "}${last}`);
        if (!mayBeDone && isFinal(last)) break;
        // A parent that told the client a wrong time or key is asked for the right one.
        if (attempt % 3 === 0) this.#client = undefined;
        await new Promise((resolve) => setTimeout(resolve, 10 * 2 ** attempt));
      }
    }
    throw new GaveUp(`${asked.operation}: ${last}`);
  }

  #accept(requestId: string): void {
    const entry = this.ledger.entries.get(requestId);
    // What came back sealed nobody outside can compare with what the enclave gave; sealed.test.ts looks at it.
    if (entry !== undefined && ACCESS[entry.operation].bearer) return;
    const answer = this.observed.lastOf.get(requestId);
    if (entry === undefined || answer === undefined || answer.signature === null) {
      throw new Error(`the client took something for an answer that never came: ${requestId}`);
    }
    entry.accepted = { status: answer.status, signature: answer.signature, body: answer.body };
  }

  #connect(): Promise<Client> {
    const { url, deployment, expected } = this.#simulator;
    const { fetch } = this.observed;
    return connect({ url, deployment, expected, fetch, nowMs: () => this.#simulator.nowMs(), attempts: 1 });
  }
}

interface AskOptions {
  readonly appId: string | null;
  readonly keys: readonly StampKey[];
  readonly mayBeDone: boolean;
}

/** Refusals that a forbidden request is meant to meet; others are the parent's doing, and it asks again. */
function isFinal(code: string): boolean {
  return ["POLICY_DENIED", "CHAIN_MISMATCH", "WALLET_NOT_FOUND", "SESSION_UNKNOWN"].includes(code);
}

function codeOf(error: unknown): string {
  if (error instanceof RefusedError || error instanceof ClientError || error instanceof AttestationError)
    return error.code;
  throw error;
}
