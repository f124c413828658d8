/**
 * Requests that must not be acted on by two enclaves. Each remembers which requests it has acted on itself
 * (`replay-guard.ts`), and of what another did it knows only what stands in the records. Most operations are as good once as
 * twice. The others are for one boot alone, because they are sealed to it or name it; where neither is so, they are
 * written down before they are acted on. The table is in docs/scale-out.md.
 */
import {
  ACCESS,
  type Access,
  type OperationName,
  type RequestEnvelope,
  RequestError,
  z,
} from "../../protocol/index.ts";
import type { Ids } from "../vault/ids.ts";
import { change, type RecordKind, type Records } from "../vault/records.ts";

/** Over what the clocks of two enclaves differ by, and what a request may be dated ahead. */
const MARGIN_MS = 60_000;

const claimSchema = z.strictObject({ issuedAtMs: z.int(), expiresAtMs: z.int() });
type Claim = z.output<typeof claimSchema>;

/** `claim/<id>`: a request that was acted on, for as long as it is not refused by its age. */
const claimRecords: RecordKind<Claim> = {
  prefix: "claim/",
  schema: claimSchema,
  expiresAtMs: ({ expiresAtMs }) => expiresAtMs,
};

export class OnceForAll {
  readonly #records: Records;
  readonly #ids: Ids;

  constructor(options: { readonly records: Records; readonly ids: Ids }) {
    this.#records = options.records;
    this.#ids = options.ids;
  }

  /**
   * Takes note of a request for all enclaves, if it needs that. As with the replay guard, the same id with a later date is
   * a retry.
   *
   * @param asker - Whoever stamped it.
   * @param windowMs - How old such a request may be.
   * @throws {@link RequestError} `REQUEST_REPLAYED`, and what records throw
   */
  async claim(
    operation: OperationName,
    { envelope, isSealed }: { readonly envelope: RequestEnvelope; readonly isSealed: boolean },
    asker: string,
    windowMs: number,
  ): Promise<void> {
    const { once }: Access = ACCESS[operation];
    if (once !== true || isSealed || envelope.boot !== undefined) return;
    const { requestId, issuedAtMs } = envelope;
    const name = this.#ids.derive("clm", [asker, requestId]);
    const before = await this.#records.read(claimRecords, name);
    const claim = { issuedAtMs, expiresAtMs: issuedAtMs + windowMs + MARGIN_MS };
    const isNew = before === null || issuedAtMs > before.value.issuedAtMs;
    if (isNew && (await this.#records.write([change(claimRecords, name, before, claim)]))) return;
    throw new RequestError("REQUEST_REPLAYED", "this request was acted on already");
  }
}
