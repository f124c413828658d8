/**
 * What a limit has let through within its window. The window slides in sixtieths: what was reserved counts for the whole of
 * it and up to a sixtieth longer, never shorter. Requests are remembered by a digest, so that one that is asked again is
 * not counted again.
 */
import { bytesUpTo, z } from "../../protocol/index.ts";
import type { RecordKind } from "../vault/records.ts";

const BUCKETS = 60;
const MIN_BUCKET_MS = 1000;
export const REQUEST_KEY_BYTES = 16;
/** The last ones. One that is asked again later than that is counted again: never over the limit, perhaps under it. */
const MAX_REMEMBERED_REQUESTS = 1024;

const counter = z.strictObject({
  /** By their number since 1970; the oldest first. */
  buckets: z.array(z.strictObject({ at: z.int(), sum: z.string().check(z.regex(/^[0-9]{1,100}$/)) })),
  /** Keys of requests that were counted, one after another, the latest last. */
  requests: bytesUpTo(REQUEST_KEY_BYTES * MAX_REMEMBERED_REQUESTS),
});
type CounterValue = z.output<typeof counter>;

/** `limit/<appId>/<usr_… or app>/<lim_…>` */
export const counterRecords: RecordKind<CounterValue> = { prefix: "limit/", schema: counter };

export class Counter {
  readonly #bucketMs: number;
  readonly #windowMs: number;
  readonly #sums: Map<number, bigint>;
  /** In hex; in order of arrival. */
  readonly #requests: Set<string>;
  #isChanged = false;

  constructor(windowS: number, value: CounterValue | null) {
    this.#windowMs = windowS * 1000;
    this.#bucketMs = Math.max(MIN_BUCKET_MS, Math.ceil(this.#windowMs / BUCKETS));
    this.#sums = new Map(value?.buckets.map(({ at, sum }) => [at, BigInt(sum)]));
    const requests = Buffer.from(value?.requests ?? []).toString("hex");
    this.#requests = new Set(requests.match(new RegExp(`.{${2 * REQUEST_KEY_BYTES}}`, "g")));
  }

  get isChanged(): boolean {
    return this.#isChanged;
  }

  has(requestKey: string): boolean {
    return this.#requests.has(requestKey);
  }

  /** What counts now. A bucket that the clock of another enclave has begun already counts too. */
  total(nowMs: number): bigint {
    let total = 0n;
    for (const [at, sum] of this.#sums) if (this.#isWithin(at, nowMs)) total += sum;
    return total;
  }

  add(requestKey: string, amount: bigint, nowMs: number): void {
    const at = Math.floor(nowMs / this.#bucketMs);
    this.#sums.set(at, (this.#sums.get(at) ?? 0n) + amount);
    this.#requests.add(requestKey);
    this.#isChanged = true;
  }

  toValue(nowMs: number): CounterValue {
    const buckets = [...this.#sums]
      .filter(([at]) => this.#isWithin(at, nowMs))
      .sort(([first], [second]) => first - second);
    const requests = [...this.#requests].slice(-MAX_REMEMBERED_REQUESTS);
    return {
      buckets: buckets.map(([at, sum]) => ({ at, sum: sum.toString() })),
      requests: Uint8Array.from(Buffer.from(requests.join(""), "hex")),
    };
  }

  #isWithin(at: number, nowMs: number): boolean {
    return (at + 1) * this.#bucketMs > nowMs - this.#windowMs;
  }
}
