/** Whose word for where a request comes from is taken: nobody's, unless they are named. */
import { BlockList, isIP } from "node:net";
import { plainAddress } from "./plain-address.ts";

const ENTRY = /^([0-9a-f.:]+)(?:\/([0-9]{1,3}))?$/i;

/** @returns Undefined for what is neither an address nor `address/bits`. */
export function parseProxies(entries: readonly string[]): ((address: string) => boolean) | undefined {
  const list = new BlockList();
  for (const entry of entries) {
    const [, address = "", bits] = ENTRY.exec(entry) ?? [];
    const plain = plainAddress(address);
    const family = isIP(plain);
    // Of IPv4 that is mapped into IPv6 the first 96 bits are the mapping's.
    const mapping = family === 4 && isIP(address) === 6 ? 96 : 0;
    const most = family === 4 ? 32 : 128;
    const length = bits === undefined ? most : Number(bits) - mapping;
    if (family === 0 || length < 0 || length > most) return undefined;
    list.addSubnet(plain, length, family === 4 ? "ipv4" : "ipv6");
  }
  return (address) => {
    const plain = plainAddress(address);
    const family = isIP(plain);
    return family !== 0 && list.check(plain, family === 4 ? "ipv4" : "ipv6");
  };
}
