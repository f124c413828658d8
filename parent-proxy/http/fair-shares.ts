/** Places of which nobody may hold more than are free: one who takes all they can stops at half, two at a third each. */
import { isIPv6 } from "node:net";
import { plainAddress } from "./plain-address.ts";

export class FairShares {
  readonly #places: number;
  readonly #heldBy = new Map<string, number>();
  #held = 0;

  constructor(places: number) {
    this.#places = places;
  }

  get held(): number {
    return this.#held;
  }

  /** What is taken must be given back: {@link release}. */
  take(holder: string): "taken" | "over-share" | "full" {
    const free = this.#places - this.#held;
    const own = this.#heldBy.get(holder) ?? 0;
    if (free <= 0) return "full";
    if (own >= free) return "over-share";
    this.#heldBy.set(holder, own + 1);
    this.#held += 1;
    return "taken";
  }

  release(holder: string): void {
    const left = (this.#heldBy.get(holder) ?? 0) - 1;
    if (left < 0) throw new RangeError("released more often than taken");
    if (left > 0) this.#heldBy.set(holder, left);
    else this.#heldBy.delete(holder);
    this.#held -= 1;
  }
}

/**
 * Whom an address stands for: of IPv6 the first 64 bits, since whoever has one has them all. Some proxies write a port behind
 * it, which is of one connection: each would have a share of its own.
 */
export function holderOf(text: string): string {
  const [, bracketed, plain] = /^(?:\[([^\]]*)\]|([0-9.]+))(?::[0-9]+)?$/.exec(text) ?? [];
  const address = plainAddress(bracketed ?? plain ?? text);
  if (!isIPv6(address)) return address;
  const [head = "", tail] = address.split("::");
  const first = head === "" ? [] : head.split(":");
  const last = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - first.length - last.length);
  const groups = [...first, ...Array<string>(zeros).fill("0"), ...last];
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`;
}
