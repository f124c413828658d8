/**
 * Requests as many users of several apps send them, one after another at random, and what may come of each: what must be refused
 * and is done, or must be done and is refused, ends the run.
 */
import { randomUUID } from "node:crypto";
import type { ReceivedRequest } from "../../enclave/answer.ts";
import {
  type AppOperation,
  encodeRequest,
  type JsonValue,
  MAX_FUTURE_MS,
  REQUEST_WINDOW_MS,
} from "../../protocol/index.ts";
import { usdcTransfer } from "../../test/support/transactions.ts";
import { type Caller, newKey, type SoakKey, stampOf } from "./callers.ts";

/** As many requests of each kind as these numbers to one another. */
export interface Mix {
  readonly sign: number;
  readonly signMessage: number;
  readonly signBatch: number;
  readonly list: number;
  readonly createWallet: number;
  readonly createWallets: number;
  /** Somebody new, in place of who has been there longest. */
  readonly logIn: number;
  /** The same user with another key. */
  readonly logInAgain: number;
  readonly revoke: number;
  readonly replay: number;
  readonly outOfTime: number;
  readonly malformed: number;
  readonly badStamp: number;
  readonly stranger: number;
}

export type Kind = keyof Mix;

export interface TrafficOptions {
  readonly answer: (
    request: ReceivedRequest,
    kind: Kind,
  ) => Promise<{ readonly status: number; readonly body: Uint8Array }>;
  /** Whether such an outcome belongs to the load, whatever was asked: who is told so asks again, or does without. */
  readonly isForLater: (code: string) => boolean;
  /** A token that logs this subject in with this key. */
  readonly token: (subject: string, key: SoakKey, nowMs: number) => string | Promise<string>;
  /** Of the enclave, in hex: some requests name it. */
  readonly boot: string;
  /** Of the apps. */
  readonly audiences: readonly string[];
  readonly population: number;
  /** What one create_wallets makes. */
  readonly walletsPerBatch: number;
  /** Keys that stamp and have no session. */
  readonly strangers: number;
  /** Whom transactions pay. */
  readonly recipients: number;
  /** How long most sessions last; one in twenty ends after a minute. */
  readonly sessionS: number;
  readonly nowMs: () => number;
  /** Hears of each answer, those that say `BUSY` as well: the clock moves by them, else whoever waits would wait for ever. */
  readonly onAnswer: () => void;
  /** From 0 to 1. */
  readonly random: () => number;
}

interface Answered {
  readonly code: string;
  readonly result: Readonly<Record<string, unknown>>;
}

/** Half of the requests come from so many. */
const REGULARS = 1_500;
const SHORT_SESSION_S = 60;
const REPLAYABLE = 256;
/** Of each user's wallets, the newest: few enough that all know as many from the beginning. */
const MAX_WALLETS = 4;
/** Of those whose session is over, before they ask for anything. */
const LOG_IN_AGAIN = 0.1;
const OPERATIONS_IN_BATCH = 8;
const RECIPIENT = "d8da6bf26964af9d7eed9e03e53415d37aa96045";
const [HEAD = "", TAIL = ""] = usdcTransfer().split(RECIPIENT);

export class Traffic {
  readonly outcomes = new Map<string, number>();
  readonly #options: TrafficOptions;
  readonly #callers: Caller[] = [];
  readonly #done: { readonly request: ReceivedRequest; readonly by: Caller }[] = [];
  readonly #strangers: SoakKey[] = [];
  #made = 0;
  #replaced = 0;

  constructor(options: TrafficOptions) {
    this.#options = options;
  }

  /** As many strangers and users as there are to be; these with a wallet each. */
  async populate(): Promise<void> {
    const { population, strangers } = this.#options;
    // Ed25519: the quickest to make.
    for (let at = 0; at < strangers; at += 1) this.#strangers.push(newKey(2));
    for (let at = 0; at < population; at += 16) {
      const some = Array.from({ length: Math.min(16, population - at) }, () => this.#logInAnew());
      this.#callers.push(...(await Promise.all(some)));
    }
  }

  async send(mix: Mix): Promise<void> {
    const kind = this.#pick(mix);
    const caller = this.#caller();
    const isOver = caller.isRevoked || caller.endsAtMs <= this.#options.nowMs();
    if (isOver && this.#options.random() < LOG_IN_AGAIN) return this.#logInAgain(caller);
    switch (kind) {
      case "sign":
        return this.#ask(caller, kind, "sign_transaction", this.#signing(caller));
      case "signMessage": {
        const message = `0x${randomUUID().replaceAll("-", "")}`;
        return this.#ask(caller, kind, "sign_message", { walletId: this.#walletOf(caller), message });
      }
      case "signBatch": {
        const requests = Array.from({ length: OPERATIONS_IN_BATCH }, () => {
          return { operation: "sign_transaction", params: this.#signing(caller) };
        });
        return this.#ask(caller, kind, "sign_batch", { requests });
      }
      case "list":
        return this.#ask(caller, kind, "list_wallets", { after: null });
      case "createWallet":
        return this.#createWallet(caller);
      case "createWallets": {
        const wallets = Array(this.#options.walletsPerBatch).fill({ kind: "single-key" });
        return this.#ask(caller, kind, "create_wallets", { wallets });
      }
      case "logIn": {
        const at = this.#replaced % this.#callers.length;
        this.#replaced += 1;
        const newcomer = await this.#logInAnew();
        this.#callers[at] = newcomer;
        return;
      }
      case "logInAgain":
        return this.#logInAgain(caller);
      case "revoke": {
        caller.isRevoked = true;
        return this.#ask(caller, kind, "revoke_session", { sessionId: caller.sessionId });
      }
      case "replay": {
        const done = this.#done[Math.floor(this.#options.random() * this.#done.length)];
        if (done === undefined) return;
        await this.#expect(kind, done.request, done.by, ["REQUEST_REPLAYED", "REQUEST_STALE"]);
        return;
      }
      case "outOfTime": {
        const isStale = this.#options.random() < 0.8;
        const offMs = isStale ? -REQUEST_WINDOW_MS - 1_000 : MAX_FUTURE_MS + 1_000;
        const body = this.#body(caller, "sign_transaction", this.#signing(caller), { offMs });
        const codes = [isStale ? "REQUEST_STALE" : "REQUEST_FROM_FUTURE"];
        await this.#expect(kind, { body, stamps: this.#anotherStamp() }, caller, codes);
        return;
      }
      case "malformed": {
        const body = this.#body(caller, "sign_transaction", this.#signing(caller));
        const stamps = this.#anotherStamp();
        await this.#expect(kind, { body: body.subarray(0, -1), stamps }, caller, ["MALFORMED_JSON"]);
        return;
      }
      case "badStamp": {
        const body = this.#body(caller, "sign_transaction", this.#signing(caller));
        await this.#expect(kind, { body, stamps: this.#anotherStamp() }, caller, ["STAMP_INVALID"]);
        return;
      }
      case "stranger": {
        const key = this.#strangers[Math.floor(this.#options.random() * this.#strangers.length)];
        if (key === undefined) return;
        const body = this.#body(caller, "sign_transaction", this.#signing(caller));
        await this.#expect(kind, { body, stamps: [stampOf(key, body)] }, caller, ["SESSION_UNKNOWN"]);
        return;
      }
    }
  }

  /** One that would be done, for who does something else with it than to send it and wait. */
  signing(unsignedTransaction?: string): ReceivedRequest {
    const endsAfterMs = this.#options.nowMs() + REQUEST_WINDOW_MS;
    let caller = this.#caller();
    // Most are; and if none is found, it is refused.
    for (let tries = 0; tries < 20 && (caller.isRevoked || caller.endsAtMs < endsAfterMs); tries += 1) {
      caller = this.#caller();
    }
    const signing = this.#signing(caller);
    const params = unsignedTransaction === undefined ? signing : { ...signing, unsignedTransaction };
    const body = this.#body(caller, "sign_transaction", params);
    return { body, stamps: [stampOf(caller.key, body)] };
  }

  #pick(mix: Mix): Kind {
    const kinds = Object.entries(mix) as [Kind, number][];
    let left = this.#options.random() * kinds.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [kind, weight] of kinds) {
      left -= weight;
      if (left < 0) return kind;
    }
    return "sign";
  }

  /** Half the time one of the regulars, else anybody. */
  #caller(): Caller {
    const { random, population } = this.#options;
    const among = random() < 0.5 ? Math.min(REGULARS, population) : population;
    const caller = this.#callers[Math.floor(random() * among)];
    if (caller === undefined) throw new Error("nobody is there yet");
    return caller;
  }

  async #logInAnew(): Promise<Caller> {
    const { audiences, random } = this.#options;
    const at = this.#made;
    this.#made += 1;
    const caller: Caller = {
      audience: audiences[at % audiences.length] ?? "",
      subject: randomUUID(),
      key: newKey(at),
      ...{ userId: "", sessionId: "", wallets: [], endsAtMs: 0, isRevoked: false },
    };
    await this.#register(caller, caller.key, "logIn", random() < 0.05 ? SHORT_SESSION_S : this.#options.sessionS);
    await this.#createWallet(caller);
    return caller;
  }

  async #logInAgain(caller: Caller): Promise<void> {
    const key = newKey(this.#made);
    this.#made += 1;
    await this.#register(caller, key, "logInAgain", this.#options.sessionS);
  }

  async #register(caller: Caller, key: SoakKey, kind: Kind, lifetimeS: number): Promise<void> {
    const { token, isForLater, nowMs, random } = this.#options;
    // While there is no room for another request, a newcomer waits, as one at a counter does.
    for (;;) {
      const jwt = await token(caller.subject, key, nowMs());
      const boot = random() < 0.5 ? this.#options.boot : undefined;
      const body = this.#body(caller, "register_session", { jwt, lifetimeS }, boot === undefined ? {} : { boot });
      const { code, result } = await this.#expect(kind, { body, stamps: [stampOf(key, body)] }, caller, ["done"]);
      if (isForLater(code)) {
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      caller.key = key;
      caller.userId = String(result["userId"]);
      caller.sessionId = String(result["sessionId"]);
      caller.endsAtMs = nowMs() + lifetimeS * 1000;
      caller.isRevoked = false;
      return;
    }
  }

  async #createWallet(caller: Caller): Promise<void> {
    if (caller.wallets.length >= MAX_WALLETS) caller.wallets.shift();
    for (;;) {
      const params = { kind: "single-key" };
      const { code, result } = await this.#answer(caller, "createWallet", "create_wallet", params);
      if (code === "done") caller.wallets.push(String(result["walletId"]));
      else if (caller.wallets.length === 0 && this.#options.isForLater(code)) continue;
      return;
    }
  }

  async #ask(
    caller: Caller,
    kind: Kind,
    operation: AppOperation | "register_session",
    params: JsonValue,
  ): Promise<void> {
    await this.#answer(caller, kind, operation, params);
  }

  async #answer(
    caller: Caller,
    kind: Kind,
    operation: AppOperation | "register_session",
    params: JsonValue,
  ): Promise<Answered> {
    const body = this.#body(caller, operation, params);
    const request = { body, stamps: [stampOf(caller.key, body)] };
    const { sessionId } = caller;
    const answered = await this.#expect(kind, request, caller, ["done"], sessionId);
    if (answered.code === "done") {
      this.#done.push({ request, by: caller });
      if (this.#done.length > REPLAYABLE) this.#done.shift();
    }
    return answered;
  }

  /** @throws Error for any other outcome than these, or one that is for later. */
  async #expect(
    kind: Kind,
    request: ReceivedRequest,
    caller: Caller,
    codes: readonly string[],
    sessionId: string = caller.sessionId,
  ): Promise<Answered> {
    const { status, body } = await this.#options.answer(request, kind);
    this.#options.onAnswer();
    const said = JSON.parse(Buffer.from(body).toString("utf8")) as {
      readonly result?: Readonly<Record<string, unknown>>;
      readonly error?: { readonly code: string; readonly message: string };
    };
    const code = status === 200 ? "done" : (said.error?.code ?? "");
    const outcome = `${kind}: ${code}`;
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
    const hasEnded = caller.endsAtMs <= this.#options.nowMs() + 2_000;
    const isExcused =
      this.#options.isForLater(code) ||
      // Ended, revoked, or driven out by the same user's later logins: one of which may have come between.
      (code === "SESSION_EXPIRED" && (hasEnded || sessionId !== caller.sessionId)) ||
      (code === "SESSION_UNKNOWN" &&
        (hasEnded || caller.isRevoked || sessionId !== caller.sessionId || kind === "replay"));
    if (!codes.includes(code) && !isExcused) {
      throw new Error(`${outcome}, expected ${codes.join(" or ")}: ${said.error?.message ?? ""}`);
    }
    return { code, result: said.result ?? {} };
  }

  #body(
    caller: Caller,
    operation: AppOperation | "register_session",
    params: JsonValue,
    { offMs = 0, boot }: { readonly offMs?: number; readonly boot?: string } = {},
  ): Uint8Array<ArrayBuffer> {
    return encodeRequest({
      ...{ operation, audience: caller.audience, requestId: randomUUID(), params },
      issuedAtMs: Math.floor(this.#options.nowMs()) + offMs,
      ...(boot === undefined ? {} : { boot }),
    });
  }

  /** Well made, of something else. */
  #anotherStamp(): readonly string[] {
    return this.#done[Math.floor(this.#options.random() * this.#done.length)]?.request.stamps ?? [];
  }

  #signing(caller: Caller): { walletId: string; chainId: string; unsignedTransaction: string } {
    // Addresses are remembered too.
    const to = Math.floor(this.#options.random() * this.#options.recipients)
      .toString(16)
      .padStart(40, "d8da6bf26964af9d7eed9e03e53415d37aa96045".slice(0, 20));
    return { walletId: this.#walletOf(caller), chainId: "1", unsignedTransaction: HEAD + to + TAIL };
  }

  #walletOf({ wallets }: Caller): string {
    return wallets[Math.floor(this.#options.random() * wallets.length)] ?? "";
  }
}
