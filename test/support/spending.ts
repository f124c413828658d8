/**
 * A limit that all users spend from at once, whatever happens meanwhile. Each keeps to one request id until it has an answer, so what
 * was acknowledged is what must have been counted: {@link Spending.settle} asks for one more than is left, and for all that is.
 */
import { randomUUID } from "node:crypto";
import { serializeTransaction } from "viem";
import { RefusedError, type Session } from "../../client/index.ts";
import type { Policy } from "../../protocol/index.ts";
import type { Work } from "./load.ts";

const LIMIT = 1_000_000n;
const CHAIN = 137;
const RECIPIENT = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045";

/** Ethereum without a limit, for the rest of the load; Polygon's coin up to a sum, of all users together. */
export const SPENDING_POLICY: Policy = {
  v: 1,
  rules: [
    { id: "ethereum", effect: "allow", when: [{ field: "chain", in: ["eip155:1"] }] },
    {
      id: "spending",
      effect: "allow",
      when: [{ field: "chain", in: [`eip155:${CHAIN}`] }],
      limits: [{ asset: "value", amount: String(LIMIT), windowS: 86_400, per: "app" }],
    },
  ],
};

interface Asked {
  readonly requestId: string;
  readonly nonce: number;
  readonly walletId: string;
}

export class Spending {
  /** Without an answer yet. */
  readonly #asked = new Map<Session, Asked>();
  #nonce = 0;
  #spent = 0n;

  get spent(): bigint {
    return this.#spent;
  }

  /** One unit; the same one again where the last try brought no answer. */
  readonly work: Work = async ({ session, walletId }) => {
    const asked = this.#asked.get(session) ?? { ...this.#next(), walletId };
    this.#asked.set(session, asked);
    await sign(session, asked, 1n);
    this.#asked.delete(session);
    this.#spent += 1n;
  };

  /** @throws Error where the enclaves let more through than the limit says, or counted more than was acknowledged. */
  async settle(session: Session): Promise<void> {
    if (this.#asked.size > 0) throw new Error(`${this.#asked.size} were never answered`);
    const { walletId } = await session.createWallet({ kind: "single-key" });
    const isLetThrough = async (value: bigint) => {
      try {
        await sign(session, { ...this.#next(), walletId }, value);
        return true;
      } catch (error) {
        if (error instanceof RefusedError && error.code === "POLICY_DENIED") return false;
        throw error;
      }
    };
    const left = LIMIT - this.#spent;
    if (await isLetThrough(left + 1n)) throw new Error(`more than the ${left} that are left was let through`);
    if (!(await isLetThrough(left))) throw new Error(`the ${left} that are left were refused: something counted twice`);
    if (await isLetThrough(1n)) throw new Error("one over the limit was let through");
  }

  #next(): Omit<Asked, "walletId"> {
    this.#nonce += 1;
    return { requestId: randomUUID(), nonce: this.#nonce };
  }
}

async function sign(session: Session, { requestId, nonce, walletId }: Asked, value: bigint): Promise<void> {
  const unsignedTransaction = serializeTransaction({
    ...{ type: "eip1559", chainId: CHAIN, nonce, to: RECIPIENT, value, gas: 21_000n },
    ...{ maxFeePerGas: 30_000_000_000n, maxPriorityFeePerGas: 1_000_000_000n },
  });
  await session.signTransaction({ walletId, chainId: String(CHAIN), unsignedTransaction }, { requestId });
}
