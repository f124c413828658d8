/** Whose word for where a request comes from is taken: nobody's, unless they are named. */
import { BlockList, isIP } from "node:net";

const ENTRY = /^([0-9a-f.:]+)(?:\/([0-9]{1,3}))?$/i;

/** @returns Undefined for what is neither an address nor `address/bits`. */
export function parseProxies(entries: readonly string[]): ((address: string) => boolean) | undefined {
  const list = new BlockList();
  for (const entry of entries) {
    const [, address = "", bits] = ENTRY.exec(entry) ?? [];
    const family = isIP(address);
    const most = family === 4 ? 32 : 128;
    if (family === 0 || Number(bits ?? 0) > most) return undefined;
    list.addSubnet(address, Number(bits ?? most), family === 4 ? "ipv4" : "ipv6");
  }
  return (address) => {
    const plain = address.replace(/^::ffff:(?=[0-9.]+$)/i, "");
    const family = isIP(plain);
    return family !== 0 && list.check(plain, family === 4 ? "ipv4" : "ipv6");
  };
}
