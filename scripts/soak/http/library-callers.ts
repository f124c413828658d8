/** Callers who use the client library: each verifies the enclave, logs in, signs and lists, and some time later is another. */
import { randomUUID } from "node:crypto";
import { ClientError, generateStampKey, loginNonce, RefusedError, type Session } from "../../../client/index.ts";
import type { Simulator } from "../../../simulator/index.ts";
import { usdcTransfer } from "../../../test/support/transactions.ts";
import { tokenOf } from "./deployment.ts";

const CALLERS = 8;
/** After so many requests another takes a caller's place. */
const STAYS_FOR = 200;
const UNSIGNED = usdcTransfer();

interface LibraryCaller {
  readonly session: Session;
  readonly walletId: string;
}

/** Undici's, of Node's `fetch`. */
interface Dispatcher {
  destroy(): Promise<void>;
}

const DISPATCHER = Symbol.for("undici.globalDispatcher.1");

export class LibraryCallers {
  readonly #simulator: Simulator;
  readonly #appId: string;
  readonly #count: (outcome: string) => void;
  readonly #callers: LibraryCaller[] = [];
  readonly #subjects = Array.from({ length: CALLERS }, () => randomUUID());
  #asked = 0;
  #replacing = false;

  constructor(simulator: Simulator, appId: string, count: (outcome: string) => void) {
    this.#simulator = simulator;
    this.#appId = appId;
    this.#count = count;
  }

  async populate(): Promise<void> {
    while (this.#callers.length < CALLERS) this.#callers.push(await this.#arrive(this.#callers.length));
  }

  /** @returns How many requests that were, about. */
  async act(): Promise<number> {
    this.#asked += 1;
    const at = this.#asked % CALLERS;
    try {
      if (this.#asked % STAYS_FOR === 0 && !this.#replacing) {
        this.#replacing = true;
        this.#callers[at] = await this.#arrive(at).finally(() => {
          this.#replacing = false;
        });
        this.#count("library: logged in");
        return 3;
      }
      const caller = this.#callers[at];
      if (caller === undefined) return 0;
      const { session, walletId } = caller;
      if (this.#asked % 10 === 0) await session.listWallets();
      else await session.signTransaction({ walletId, chainId: "1", unsignedTransaction: UNSIGNED });
      this.#count("library: done");
    } catch (error) {
      // A pause makes requests late, and what is refused for want of room has been tried again by then.
      if (!(error instanceof ClientError || error instanceof RefusedError)) throw error;
      this.#count(`library: ${error.code}`);
    }
    return 1;
  }

  async #arrive(at: number): Promise<LibraryCaller> {
    const client = await this.#simulator.connect();
    const key = await generateStampKey();
    const nonce = await loginNonce(key);
    const subject = this.#subjects[at] ?? randomUUID();
    const jwt = await tokenOf(this.#simulator, subject, nonce);
    const session = await client.login({ appId: this.#appId, jwt, key });
    const walletId = this.#callers[at]?.walletId ?? (await session.createWallet({ kind: "single-key" })).walletId;
    return { session, walletId };
  }
}

/** Connections that `fetch` keeps alive, for as long as the server has said, end now. */
export async function closeFetch(): Promise<void> {
  const holder = globalThis as { [DISPATCHER]?: Dispatcher };
  const dispatcher = holder[DISPATCHER];
  if (dispatcher === undefined) return;
  holder[DISPATCHER] = new (dispatcher.constructor as new () => Dispatcher)();
  await dispatcher.destroy();
}
