/**
 * What is known of addresses beyond what names resolve to: which of them failed lately. Names are resolved for every
 * stream, so nothing here can grow stale; an address that failed is only tried after the others.
 */

/** After this an address has its place in the resolver's order again. */
const FAILED_FOR_MS = 30_000;
/** Names on the allow-list have a few addresses each; over this the oldest failure is forgotten. */
const MAX_REMEMBERED = 1024;

export class AddressBook {
  readonly #nowMs: () => number;
  /** When each address last failed, in the order of failing. */
  readonly #failedAtMs = new Map<string, number>();

  /** @param nowMs - Milliseconds from any moment; never runs backwards. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Those that did not fail lately first, in the resolver's order; then the others, the longest ago first. */
  inOrder(addresses: readonly string[]): string[] {
    const failed = addresses.filter((address) => this.#hasFailed(address));
    const at = (address: string) => this.#failedAtMs.get(address) ?? 0;
    return [
      ...addresses.filter((address) => !failed.includes(address)),
      ...failed.sort((one, other) => at(one) - at(other)),
    ];
  }

  failed(address: string): void {
    this.#failedAtMs.delete(address);
    this.#failedAtMs.set(address, this.#nowMs());
    const [oldest] = this.#failedAtMs.keys();
    if (this.#failedAtMs.size > MAX_REMEMBERED && oldest !== undefined) this.#failedAtMs.delete(oldest);
  }

  connected(address: string): void {
    this.#failedAtMs.delete(address);
  }

  #hasFailed(address: string): boolean {
    const at = this.#failedAtMs.get(address);
    return at !== undefined && this.#nowMs() - at < FAILED_FOR_MS;
  }
}
