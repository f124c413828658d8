/** From a wish of the enclave to an open connection. */
import type { Socket } from "node:net";
import type { EgressCall } from "../../protocol/index.ts";
import type { AddressBook } from "./address-book.ts";
import { connectFirst } from "./connect-first.ts";
import { type Destination, type EgressOptions, findDestination, type Refusal, type Resolve } from "./destination.ts";

/** A name whose addresses all failed is resolved once more: its owner may have moved it meanwhile. */
const RESOLUTIONS = 2;

export interface DialOptions {
  readonly egress: EgressOptions;
  readonly resolve: Resolve;
  readonly addresses: AddressBook;
  /** Gives up, with its reason. */
  readonly signal: AbortSignal;
  /** Told of each address that failed. */
  readonly onFailure: () => void;
  /** {@link connectFirst} unless given. */
  readonly connect?: typeof connectFirst;
}

export type Dialled =
  | { readonly kind: "connected"; readonly socket: Socket }
  | { readonly kind: "refused"; readonly reason: Refusal; readonly cause?: unknown };

/** Never rejects: what went wrong is the refusal's cause. */
export async function dial(call: EgressCall, options: DialOptions): Promise<Dialled> {
  const { egress, resolve, addresses, signal } = options;
  const tried = new Set<string>();
  let cause: unknown;
  try {
    for (let resolution = 1; resolution <= RESOLUTIONS; resolution += 1) {
      const found = await orAbort(findDestination(call, egress, resolve), signal);
      // A second look that fails says nothing better than the first addresses did.
      if (found.kind === "refused") return resolution === 1 ? found : { kind: "refused", reason: "UNREACHABLE", cause };
      const untried = addresses.inOrder(found.addresses).filter((address) => !tried.has(address));
      if (untried.length === 0) break;
      for (const address of untried) tried.add(address);
      const outcome = await connect(untried, found, options);
      if ("socket" in outcome) return { kind: "connected", socket: outcome.socket };
      cause = outcome.cause;
      signal.throwIfAborted();
    }
  } catch (error) {
    cause = error;
  }
  return { kind: "refused", reason: "UNREACHABLE", cause };
}

async function connect(
  untried: readonly string[],
  { port }: Extract<Destination, { kind: "addresses" }>,
  { addresses, signal, onFailure, connect: open = connectFirst }: DialOptions,
): Promise<{ readonly socket: Socket } | { readonly cause: unknown }> {
  try {
    const socket = await open(untried, {
      port,
      signal,
      onFailure: (address) => {
        addresses.failed(address);
        onFailure();
      },
    });
    if (socket.remoteAddress !== undefined) addresses.connected(socket.remoteAddress);
    return { socket };
  } catch (cause) {
    return { cause };
  }
}

/** A look-up cannot be cancelled, only left. */
async function orAbort<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  return Promise.race([work, promise]);
}
