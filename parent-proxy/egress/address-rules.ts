/**
 * Which addresses a name may resolve to. An allow-listed name whose owner, or whose DNS, points it inwards would let
 * traffic from the enclave reach the instance's own services (IMDS on 169.254.169.254) and the operator's network.
 * Sources: IANA's special-purpose address registries (RFC 6890), IPv4 and IPv6.
 */
import { BlockList, isIP } from "node:net";

const SPECIAL_IPV4 = [
  ["0.0.0.0", 8], // this network, unspecified
  ["10.0.0.0", 8], // private, RFC 1918
  ["100.64.0.0", 10], // shared, RFC 6598
  ["127.0.0.0", 8], // loopback
  ["169.254.0.0", 16], // link-local, RFC 3927
  ["172.16.0.0", 12], // private, RFC 1918
  ["192.0.0.0", 24], // protocol assignments
  ["192.0.2.0", 24], // documentation
  ["192.88.99.0", 24], // 6to4 relays, deprecated
  ["192.168.0.0", 16], // private, RFC 1918
  ["198.18.0.0", 15], // benchmarking
  ["198.51.100.0", 24], // documentation
  ["203.0.113.0", 24], // documentation
  ["224.0.0.0", 4], // multicast
  ["240.0.0.0", 4], // reserved, broadcast
] as const;

/** Inside global unicast, which is all that IPv6 offers (RFC 4291, 2.4); the rest is refused by not being that. */
const SPECIAL_IPV6 = [
  ["2001::", 23], // protocol assignments, Teredo among them
  ["2001:db8::", 32], // documentation
  ["2002::", 16], // 6to4: an IPv4 address inside
  ["3fff::", 20], // documentation
] as const;

const special = new BlockList();
const globalUnicast = new BlockList();
const nat64 = new BlockList();
globalUnicast.addSubnet("2000::", 3, "ipv6");
// RFC 6052, 2.1: DNS64 puts an IPv4 address behind this prefix, which AWS's IPv6-only subnets use.
nat64.addSubnet("64:ff9b::", 96, "ipv6");
for (const [network, bits] of SPECIAL_IPV6) special.addSubnet(network, bits, "ipv6");
for (const [network, bits] of SPECIAL_IPV4) {
  special.addSubnet(network, bits, "ipv4");
  special.addSubnet(`64:ff9b::${network}`, 96 + bits, "ipv6");
}

/** Whether an address is one of the public Internet's. IPv4-mapped IPv6 is not: resolvers have no need of it. */
export function isPublicAddress(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !special.check(address, "ipv4");
    case 6:
      // A zone ("fe80::1%eth0") belongs to a link.
      if (address.includes("%")) return false;
      return (globalUnicast.check(address, "ipv6") || nat64.check(address, "ipv6")) && !special.check(address, "ipv6");
    default:
      return false;
  }
}
