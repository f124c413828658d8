/** Connections that are kept alive, with so many requests at once; some end after an answer, and a new one takes their place. */
import { Connection, type HttpAnswer } from "./connection.ts";

export class Pool {
  readonly #port: number;
  readonly #random: () => number;
  /** Of answers after which a connection ends. */
  readonly #share: number;
  readonly #idle: Connection[] = [];
  readonly #all = new Set<Connection>();
  opened = 0;

  constructor(options: { readonly port: number; readonly random: () => number; readonly endAfter: number }) {
    this.#port = options.port;
    this.#random = options.random;
    this.#share = 1 / options.endAfter;
  }

  async ask(request: Uint8Array | string): Promise<HttpAnswer> {
    const connection = this.#take();
    const answer = await connection.ask(request);
    if (answer.status === 0 || /^connection: *close/im.test(answer.head)) {
      this.#all.delete(connection);
      await connection.close("destroy");
    } else if (this.#random() < this.#share) {
      this.#all.delete(connection);
      const chance = this.#random();
      await connection.close(chance < 0.5 ? "end" : chance < 0.8 ? "destroy" : "reset");
    } else {
      this.#idle.push(connection);
    }
    return answer;
  }

  async close(): Promise<void> {
    const all = [...this.#all];
    this.#all.clear();
    this.#idle.length = 0;
    await Promise.all(all.map((connection) => connection.close()));
  }

  #take(): Connection {
    for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
      if (connection.isOpen) return connection;
      this.#all.delete(connection);
    }
    const connection = new Connection(this.#port);
    this.opened += 1;
    this.#all.add(connection);
    return connection;
  }
}
