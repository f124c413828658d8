import type { ClientRequestArgs } from "node:http";
import { Agent } from "node:https";
import type { Duplex } from "node:stream";
import type { Egress } from "./egress.ts";

const CONNECT_TIMEOUT_MS = 10_000;

/** node:https over {@link Egress}. Connections are kept: a TLS handshake through the parent costs two round trips. */
export class EgressAgent extends Agent {
  readonly #egress: Egress;
  readonly #roots: readonly string[];

  constructor(egress: Egress, roots: readonly string[]) {
    super({ keepAlive: true, maxSockets: 16 });
    this.#egress = egress;
    this.#roots = roots;
  }

  override createConnection(
    { host, port }: ClientRequestArgs,
    done?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    this.#egress
      .connectTls({ host: host ?? "", port: Number(port ?? 443), roots: this.#roots, timeoutMs: CONNECT_TIMEOUT_MS })
      .then(
        (socket) => done?.(null, socket),
        // Node's types want a stream beside an error; it reads none.
        (error: unknown) => (done as ((error: Error) => void) | undefined)?.(error as Error),
      );
    return undefined;
  }
}
