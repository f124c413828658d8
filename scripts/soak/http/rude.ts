/**
 * Callers as a server on the internet has them: who go away in the middle, close half, send what is no HTTP, or too much, never
 * read, or come by hundreds. What must be refused and is done ends the run.
 */
import type { ReceivedRequest } from "../../../enclave/answer.ts";
import { MAX_BODY_BYTES } from "../../../protocol/index.ts";
import { transactionWithData } from "../../../test/support/transactions.ts";
import { Connection, type HttpAnswer, headOf, requestOf } from "./connection.ts";

export interface RudeOptions {
  readonly port: number;
  readonly random: () => number;
  /** One that would be done: signs this transaction, or any. */
  readonly request: (unsignedTransaction?: string) => ReceivedRequest;
  readonly count: (outcome: string) => void;
}

const PATH = "/v1/sign_transaction";
/** More than the parent lets one address have under way. */
const CROWD = 520;
/** Answered with as much, a quarter of a megabyte: so many are more than the kernel's buffers between the two ends take (4 MiB). */
const LONG_TRANSACTION = transactionWithData(new Uint8Array(124 * 1024).fill(0x5a));
const UNREAD = 30;
/** One after another: more than sixteen that wait for their answers would end the connection before. */
const UNREAD_EVERY_MS = 100;
const READS_ON_AFTER_MS = 3_000;
/** Longer than the parent gives an answer to be taken. */
const CUT_WITHIN_MS = 40_000;
const METRICS = "GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";

export class RudeCallers {
  readonly #options: RudeOptions;
  readonly #acts: readonly (() => Promise<unknown>)[];
  readonly #open = new Set<Connection>();
  #next = 0;

  constructor(options: RudeOptions) {
    this.#options = options;
    this.#acts = [
      () => this.#goesAway("destroy"),
      () => this.#goesAway("reset"),
      () => this.#sendsHalf("destroy"),
      () => this.#sendsHalf("reset"),
      () => this.#closesHalf(),
      () => this.#isSilent(),
      () => this.#sendsInPieces(),
      () => this.#asksFor("garbage", "\u0016\u0003\u0001\u0002\u0000\r\n\r\n", [400]),
      () => this.#asksFor("unknownPath", requestOf("/v2/sign", Buffer.from("{}")), [404]),
      () => this.#asksFor("noStamp", requestOf(PATH, this.#options.request().body), [401]),
      () => this.#asksFor("tooLarge", headOf(PATH, MAX_BODY_BYTES + 1), [413]),
      () => this.#asksFor("emptyBody", requestOf(PATH, new Uint8Array()), [400]),
      () => this.#asksFor("readyz", "GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", [200]),
      () => this.#asksFor("metrics", METRICS, [200]),
      () => this.#asksFor("preflight", `OPTIONS ${PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`, [204]),
      () =>
        this.#asksFor("attestation", `GET /v1/attestation?nonce=${"5a".repeat(16)} HTTP/1.1\r\nhost: x\r\n\r\n`, [200]),
    ];
  }

  /** The next of them in turn. Counts as one request. */
  async act(): Promise<1> {
    const act = this.#acts[this.#next % this.#acts.length];
    this.#next += 1;
    await act?.();
    return 1;
  }

  /** Asks for more than it reads. @param readsOn - After a while; else it waits until it is cut. */
  async neverReads(readsOn: boolean): Promise<void> {
    const { count, request } = this.#options;
    const connection = this.#connect();
    const { socket } = connection;
    socket.pause();
    const answers: Promise<HttpAnswer>[] = [];
    for (let at = 0; at < UNREAD && connection.isOpen; at += 1) {
      const { body, stamps } = request(LONG_TRANSACTION);
      answers.push(connection.ask(requestOf(PATH, body, stamps)));
      await sleep(UNREAD_EVERY_MS);
    }
    if (readsOn) {
      await sleep(READS_ON_AFTER_MS);
      socket.resume();
      for (const answer of await Promise.all(answers)) count(`slowReader: ${outcomeOf(answer)}`);
    } else {
      // Whether it was cut shows only in a write: what has come before is not read.
      const until = performance.now() + CUT_WITHIN_MS;
      while (connection.isOpen && performance.now() < until) {
        await sleep(500);
        socket.write("\r\n");
      }
      count(`neverReads: ${connection.isOpen ? "still there" : "cut"}`);
    }
    await connection.close("destroy");
  }

  /** Several hundred callers at once, each with a connection, whose requests all begin before any ends. */
  async crowd(): Promise<number> {
    const { count, request } = this.#options;
    const crowd = Array.from({ length: CROWD }, () => {
      const { body, stamps } = request();
      return { connection: this.#connect(), bytes: requestOf(PATH, body, stamps) };
    });
    const answers = crowd.map(({ connection, bytes }) => connection.ask(bytes.subarray(0, -2)));
    await sleep(300);
    for (const { connection, bytes } of crowd) connection.socket.write(bytes.subarray(-2));
    for (const answer of await Promise.all(answers)) count(`crowd: ${outcomeOf(answer)}`);
    await Promise.all(
      crowd.map(({ connection }) => connection.close(this.#options.random() < 0.5 ? "end" : "destroy")),
    );
    return CROWD;
  }

  /** Why the parent has closed connections, and how many, as it says itself. */
  async cuts(): Promise<ReadonlyMap<string, number>> {
    const connection = this.#connect();
    const { body } = await connection.ask(METRICS);
    await connection.close();
    const lines = body
      .toString("utf8")
      .matchAll(/^cloister_http_connections_cut_total\{reason="([a-z-]+)"\} ([0-9]+)$/gm);
    return new Map(Array.from(lines, ([, reason = "", times]) => [reason, Number(times)]));
  }

  /** Ends what has been begun. */
  stop(): void {
    for (const { socket } of this.#open) socket.destroy();
  }

  #connect(): Connection {
    const connection = new Connection(this.#options.port);
    this.#open.add(connection);
    connection.socket.once("close", () => this.#open.delete(connection));
    return connection;
  }

  /** Once its request is under way, or perhaps not yet. */
  async #goesAway(how: "destroy" | "reset"): Promise<void> {
    const connection = this.#connect();
    const { body, stamps } = this.#options.request();
    void connection.ask(requestOf(PATH, body, stamps));
    if (this.#options.random() < 0.8) await connected(connection);
    await sleep(this.#options.random() * 6);
    await connection.close(how);
    this.#options.count("goesAway: gone");
  }

  async #sendsHalf(how: "destroy" | "reset"): Promise<void> {
    const connection = this.#connect();
    const { body, stamps } = this.#options.request();
    const bytes = requestOf(PATH, body, stamps);
    await connected(connection);
    connection.socket.write(bytes.subarray(0, Math.floor(bytes.length * this.#options.random())));
    await sleep(2);
    await connection.close(how);
    this.#options.count("sendsHalf: gone");
  }

  /** Says that nothing more will come, and waits for its answer. */
  async #closesHalf(): Promise<void> {
    const connection = this.#connect();
    const { body, stamps } = this.#options.request();
    const answered = connection.ask(requestOf(PATH, body, stamps));
    connection.socket.end();
    this.#options.count(`closesHalf: ${outcomeOf(await answered)}`);
    await connection.close();
  }

  async #isSilent(): Promise<void> {
    const connection = this.#connect();
    await connected(connection);
    await connection.close();
    this.#options.count("isSilent: gone");
  }

  async #sendsInPieces(): Promise<void> {
    const connection = this.#connect();
    const { body, stamps } = this.#options.request();
    const bytes = requestOf(PATH, body, stamps);
    const answered = connection.answer();
    for (let at = 0; at < bytes.length; at += 200) {
      connection.socket.write(bytes.subarray(at, at + 200));
      await sleep(5);
    }
    this.#options.count(`sendsInPieces: ${outcomeOf(await answered)}`);
    await connection.close();
  }

  /** @throws Error for any other status, but those that belong to the load. */
  async #asksFor(what: string, request: Uint8Array | string, statuses: readonly number[]): Promise<void> {
    const connection = this.#connect();
    const answer = await connection.ask(request);
    await connection.close();
    this.#options.count(`${what}: ${outcomeOf(answer)}`);
    const { status } = answer;
    if (statuses.includes(status) || [0, 408, 429, 503, 504].includes(status)) return;
    throw new Error(`${what}: ${status}, expected ${statuses.join(" or ")}: ${answer.body.toString("utf8", 0, 300)}`);
  }
}

export function outcomeOf({ status, body }: HttpAnswer): string {
  if (status >= 200 && status < 300) return "done";
  try {
    return (JSON.parse(body.toString("utf8")) as { readonly error: { readonly code: string } }).error.code;
  } catch {
    return String(status);
  }
}

async function connected({ socket }: Connection): Promise<void> {
  if (!socket.connecting) return;
  await new Promise<void>((resolve) => socket.once("connect", () => resolve()).once("close", () => resolve()));
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
