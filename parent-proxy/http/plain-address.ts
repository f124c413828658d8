/** One spelling for each address, so that nobody is two. */
import { isIPv6, SocketAddress } from "node:net";

/**
 * IPv4 as such also where it comes mapped into IPv6, in dots (`::ffff:127.0.0.1`) or in hex (`::ffff:7f00:1`); IPv6 as
 * RFC 5952 has it, without its zone. What is no address stays as it is.
 */
export function plainAddress(text: string): string {
  const [address = ""] = text.split("%");
  if (!isIPv6(address)) return text;
  const canonical = new SocketAddress({ address, family: "ipv6" }).address;
  return canonical.replace(/^::ffff:(?=[0-9.]+$)/, "");
}
