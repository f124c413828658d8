/** From a wish of the enclave to the addresses that may serve it. */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { EgressAnswer, EgressCall } from "../../protocol/index.ts";
import { isPublicAddress } from "./address-rules.ts";

export interface EgressOptions {
  /** `host:port`, exact and lower case: what is not named is refused. */
  readonly allow: readonly string[];
  /**
   * `host:port` → `ip:port` (or `[ip]:port`), as curl's `--connect-to`: where the name's own addresses are not to be
   * used. Only these may be loopback or private, such as an interface endpoint of a VPC. The name must be allowed too.
   */
  readonly connectTo: ReadonlyMap<string, string>;
  /** {@link DEFAULT_STREAMS_PER_DESTINATION} unless given. */
  readonly maxStreamsPerDestination?: number;
}

/** Half of all streams: one destination that hangs must leave room for the others, KMS above all. */
export const DEFAULT_STREAMS_PER_DESTINATION = 128;

/** Every address of a name, in the resolver's order. Rejects when there is none. */
export type Resolve = (host: string) => Promise<readonly string[]>;

export type Refusal = Extract<EgressAnswer, { readonly kind: "refused" }>["reason"];

export type Destination =
  | { readonly kind: "addresses"; readonly addresses: readonly string[]; readonly port: number }
  | { readonly kind: "refused"; readonly reason: Refusal; readonly cause?: unknown };

/** `getaddrinfo`, on a thread of its own: /etc/hosts and the VPC's resolver count. Nothing is cached here. */
export const systemResolve: Resolve = async (host) => {
  const found = await lookup(host, { all: true, order: "verbatim" });
  return found.map(({ address }) => address);
};

/** The addresses are judged after the name is resolved, and are what is connected to: no second look-up can differ. */
export async function findDestination(
  { host, port }: EgressCall,
  { allow, connectTo }: EgressOptions,
  resolve: Resolve,
): Promise<Destination> {
  const name = `${host}:${port}`;
  if (!allow.includes(name)) return { kind: "refused", reason: "NOT_ALLOWED" };
  const override = connectTo.get(name);
  if (override !== undefined) {
    const target = parseAddressAndPort(override);
    if (target === undefined) return { kind: "refused", reason: "UNREACHABLE", cause: new Error("bad connectTo") };
    return { kind: "addresses", addresses: [target.address], port: target.port };
  }
  let addresses: readonly string[];
  try {
    addresses = isIP(host) === 0 ? await resolve(host) : [host];
  } catch (cause) {
    return { kind: "refused", reason: "NAME_NOT_FOUND", cause };
  }
  const publicOnes = addresses.filter(isPublicAddress);
  if (publicOnes.length === 0) {
    return { kind: "refused", reason: addresses.length === 0 ? "NAME_NOT_FOUND" : "NOT_ALLOWED" };
  }
  return { kind: "addresses", addresses: publicOnes, port };
}

/** `10.0.0.7:443` or `[fd00::7]:443`. */
export function parseAddressAndPort(text: string): { readonly address: string; readonly port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([1-9][0-9]{0,4})$/.exec(text);
  const address = match?.[1] ?? match?.[2] ?? "";
  const port = Number(match?.[3]);
  if (isIP(address) !== (match?.[1] === undefined ? 4 : 6) || !(port <= 65_535)) return undefined;
  return { address, port };
}
