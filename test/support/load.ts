/**
 * Users at work, through the balancer, whatever happens behind it: each makes wallets and signs with them, asks again under
 * the same request id until it has an answer, and keeps account of what it was told. {@link Load.settle} then holds the
 * enclaves to that.
 */
import { randomUUID } from "node:crypto";
import { type Client, ClientError, RefusedError, type Session } from "../../client/index.ts";
import { ERROR_CODES } from "../../protocol/index.ts";
import type { Cluster } from "../../simulator/index.ts";
import { logIn } from "./app.ts";
import { usdcTransfer } from "./transactions.ts";

export interface Settled {
  readonly acknowledged: number;
  readonly signatures: number;
  /** Tries that ended without an answer, or with one that asks for another try. */
  readonly interrupted: number;
}

/** A further thing for each user to do over and over, such as to spend from a limit. */
export type Work = (user: { readonly session: Session; readonly walletId: string }) => Promise<void>;

interface User {
  readonly subject: string;
  session: Session;
  /** By the request id that asked for it. */
  readonly wallets: Map<string, string>;
  readonly signatures: Map<string, string>;
}

const TRANSACTION = usdcTransfer();
const PAUSE_MS = 50;

export class Load {
  readonly #cluster: Cluster;
  readonly #appId: string;
  readonly #work: Work | undefined;
  readonly #users: User[] = [];
  #running: Promise<unknown> = Promise.resolve();
  #isOver = false;
  #interrupted = 0;
  /** When answers came: `performance.now()`. */
  readonly #answeredAt: number[] = [];
  /** What no fault excuses. */
  #failure: unknown;

  private constructor(cluster: Cluster, appId: string, work: Work | undefined) {
    this.#cluster = cluster;
    this.#appId = appId;
    this.#work = work;
  }

  static async start(cluster: Cluster, appId: string, users: number, work?: Work): Promise<Load> {
    const load = new Load(cluster, appId, work);
    const clients = await Promise.all(Array.from({ length: users }, () => cluster.connect()));
    for (const [at, client] of clients.entries()) {
      const subject = `user-${at}-${randomUUID()}`;
      const { session } = await logIn(cluster, client, appId, subject);
      load.#users.push({ subject, session, wallets: new Map(), signatures: new Map() });
    }
    load.#running = Promise.all(load.#users.map((user) => load.#run(user)));
    return load;
  }

  /** @throws what no fault excuses, as soon as there is such a thing */
  async during<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = await work();
    this.#check();
    return result;
  }

  async wait(ms: number): Promise<void> {
    for (const end = performance.now() + ms; performance.now() < end; ) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(PAUSE_MS, ms)));
      this.#check();
    }
  }

  /** From `sinceMs` (`performance.now()`) on: the longest time in which nobody had an answer. */
  longestSilenceMs(sinceMs: number): number {
    const times = [sinceMs, ...this.#answeredAt.filter((at) => at >= sinceMs), performance.now()];
    return Math.round(Math.max(...times.slice(1).map((at, before) => at - (times[before] ?? at))));
  }

  /** Lets everybody finish, then looks at each user's wallets as every enclave has them. */
  async settle(): Promise<Settled> {
    this.#isOver = true;
    await this.#running;
    this.#check();
    let acknowledged = 0;
    let signatures = 0;
    for (const member of this.#cluster.members) {
      const client = await this.#cluster.connect({ url: member.url });
      for (const user of this.#users) await this.#hold(client, user);
    }
    for (const { wallets, signatures: signed } of this.#users) {
      acknowledged += wallets.size;
      signatures += signed.size;
    }
    return { acknowledged, signatures, interrupted: this.#interrupted };
  }

  async #hold(client: Client, { subject, wallets, signatures }: User): Promise<void> {
    const { session } = await logIn(this.#cluster, client, this.#appId, subject);
    const listed: string[] = [];
    for (let after: string | null = null, more = true; more; after = listed.at(-1) ?? null) {
      const page: Awaited<ReturnType<Session["listWallets"]>> = await session.listWallets({ after });
      listed.push(...page.wallets.map(({ walletId }) => walletId));
      more = page.more;
    }
    // Neither one fewer than was acknowledged, nor one more than was asked for.
    const expected = [...wallets.values()].sort();
    if (listed.join() !== expected.join()) {
      throw new Error(`${subject}: ${listed.length} wallets are there, ${expected.length} were acknowledged`);
    }
    for (const [walletId, before] of [...signatures].slice(-3)) {
      const { signedTransaction } = await session.signTransaction({
        ...{ walletId, chainId: "1", unsignedTransaction: TRANSACTION },
      });
      if (signedTransaction !== before) throw new Error(`${walletId} signs with another key`);
    }
  }

  async #run(user: User): Promise<void> {
    while (!this.#isOver && this.#failure === undefined) {
      try {
        const requestId = randomUUID();
        const { walletId } = await this.#until(() => user.session.createWallet({ kind: "single-key" }, { requestId }));
        user.wallets.set(requestId, walletId);
        const again = await this.#until(() => user.session.createWallet({ kind: "single-key" }, { requestId }));
        if (again.walletId !== walletId) throw new Error("the same request made another wallet");
        const params = { walletId, chainId: "1", unsignedTransaction: TRANSACTION };
        const { signedTransaction } = await this.#until(() => user.session.signTransaction(params));
        user.signatures.set(walletId, signedTransaction);
        const { session } = user;
        await this.#until(async () => this.#work?.({ session, walletId }));
      } catch (error) {
        this.#failure = error;
      }
    }
  }

  /** Asks until there is an answer: of what was never answered nobody knows whether it was done. */
  async #until<Result>(ask: () => Promise<Result>): Promise<Result> {
    for (;;) {
      try {
        const result = await ask();
        this.#answeredAt.push(performance.now());
        return result;
      } catch (error) {
        if (this.#failure !== undefined || !mayPass(error)) throw error;
        this.#interrupted += 1;
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    }
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/** What a fault excuses: no answer, and an answer that says itself that it may pass. Nothing else, and no wrong answer. */
function mayPass(error: unknown): boolean {
  if (error instanceof RefusedError) return ERROR_CODES[error.code].retry;
  return error instanceof ClientError && (error.code === "UNREACHABLE" || error.code === "ATTESTATION_UNAVAILABLE");
}
