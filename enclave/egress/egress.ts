/**
 * Connections to the outside. The parent carries the bytes; TLS ends here, against roots that are in the image, so all
 * it can do is refuse. The parent has an allow-list of its own; this one is measured.
 */
import type { Duplex } from "node:stream";
import { checkServerIdentity, connect as connectTls, type PeerCertificate, type TLSSocket } from "node:tls";
import { decodeCbor, EGRESS_PORT, egressAnswer, encodeCbor, encodeFrame } from "../../protocol/index.ts";
import { readFirstFrame, type Vsock } from "../../vsock/index.ts";

export type EgressErrorCode = "NOT_ALLOWED" | "PARENT_REFUSED" | "UNREACHABLE" | "TLS_REFUSED" | "TIMEOUT";

export class EgressError extends Error {
  override readonly name = "EgressError";
  readonly code: EgressErrorCode;

  constructor(code: EgressErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export interface EgressOptions {
  readonly vsock: Vsock;
  /** `host:port`, exact. */
  readonly allowed: ReadonlySet<string>;
  readonly nowMs: () => number;
}

export interface TlsTarget {
  readonly host: string;
  readonly port: number;
  /** PEM. Nothing else is trusted for this connection. */
  readonly roots: readonly string[];
  /** From the call to TLS being established. */
  readonly timeoutMs: number;
}

export class Egress {
  readonly #options: EgressOptions;

  constructor(options: EgressOptions) {
    this.#options = options;
  }

  isAllowed(host: string, port: number): boolean {
    return this.#options.allowed.has(`${host}:${port}`);
  }

  /**
   * Opens TLS to a host that the manifest names.
   *
   * @throws {@link EgressError}
   */
  async connectTls({ host, port, roots, timeoutMs }: TlsTarget): Promise<TLSSocket> {
    if (!this.isAllowed(host, port)) throw new EgressError("NOT_ALLOWED", `${host}:${port} is not in the manifest`);
    const deadline = performance.now() + timeoutMs;
    const leftMs = () => Math.max(1, deadline - performance.now());
    const stream = await this.#connectThroughParent(host, port, leftMs);
    const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
    const socket = connectTls({
      socket: stream,
      servername: host,
      ca: [...roots],
      minVersion: "TLSv1.2",
      ALPNProtocols: ["http/1.1"],
      checkServerIdentity: (name, certificate) =>
        checkServerIdentity(name, certificate) ?? this.#checkValidity(certificate),
    });
    const timer = setTimeout(
      () => reject(new EgressError("TIMEOUT", `no TLS with ${host} within ${timeoutMs} ms`)),
      leftMs(),
    );
    socket.once("secureConnect", () => resolve(socket));
    socket.once("error", (cause) => reject(new EgressError("TLS_REFUSED", `TLS with ${host} failed`, { cause })));
    socket.once("close", () => reject(new EgressError("TLS_REFUSED", `TLS with ${host} was cut off`)));
    try {
      return await promise;
    } catch (error) {
      socket.destroy();
      stream.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async #connectThroughParent(host: string, port: number, leftMs: () => number): Promise<Duplex> {
    let stream: Duplex;
    try {
      stream = await this.#options.vsock.connect(EGRESS_PORT, { timeoutMs: leftMs() });
    } catch (cause) {
      throw new EgressError("UNREACHABLE", "the parent's egress does not answer", { cause });
    }
    stream.write(encodeFrame(encodeCbor({ host, port })));
    try {
      const answer = decodeCbor(egressAnswer, await readFirstFrame(stream, { timeoutMs: leftMs() }));
      if (answer.kind === "refused") {
        throw new EgressError("PARENT_REFUSED", `the parent does not connect to ${host}:${port}: ${answer.reason}`);
      }
      return stream;
    } catch (error) {
      stream.destroy();
      if (error instanceof EgressError) throw error;
      throw new EgressError("UNREACHABLE", "the parent's egress gave no proper answer", { cause: error });
    }
  }

  /** OpenSSL compares with the wall clock; the certificate must hold by the trusted one as well. */
  #checkValidity({ valid_from, valid_to }: PeerCertificate): Error | undefined {
    const now = this.#options.nowMs();
    const holds = Date.parse(valid_from) <= now && now <= Date.parse(valid_to);
    return holds ? undefined : new Error("the certificate does not hold at the trusted time");
  }
}
