/**
 * Policy documents, by what pins them. A document's digest stands in the record of the app or the user whom it binds, and
 * the document itself in parts beside it, which are never written over: whoever stores records can neither hide that
 * there is a policy nor put another, or an older one, in its place, without bringing back all of that app or user.
 */
import { createHash } from "node:crypto";
import {
  bytesOf,
  bytesUpTo,
  encodePolicy,
  MAX_POLICY_BYTES,
  type Policy,
  policy,
  RequestError,
  z,
} from "../../protocol/index.ts";
import { type Change, change, type RecordKind, type Records } from "../vault/records.ts";
import { SizedCache } from "../vault/sized-cache.ts";
import { type CompiledPolicy, compilePolicy } from "./compile.ts";

const PART_BYTES = 48 * 1024;
const MAX_PARTS = Math.ceil(MAX_POLICY_BYTES / PART_BYTES);
/** As they are stored. Some ten times as much once they are compiled (measured: docs/policies.md). */
const MAX_CACHED_BYTES = 16 * 1024 * 1024;

/** Which document binds. */
export const policyPin = z.strictObject({
  /** SHA-256 of its bytes. */
  digest: bytesOf(32),
  parts: z.int().check(z.minimum(1), z.maximum(MAX_PARTS)),
});
export type PolicyPin = z.output<typeof policyPin>;

const part = z.strictObject({ text: bytesUpTo(PART_BYTES) });
/** `policy/<place>/<half of the digest>/<part>` */
const partRecords: RecordKind<z.output<typeof part>> = { prefix: "policy/", schema: part };

/** Allows nothing. It is known without being stored: nobody can withhold it, and it takes no room. */
const NOTHING = split({ v: 1, rules: [] });
const COMPILED_NOTHING = compilePolicy({ v: 1, rules: [] });
/** Of a policy that allows nothing: what is pinned in the place of one whose wallet is gone. */
export const NOTHING_ALLOWED: PolicyPin = NOTHING.pin;

interface Cached {
  readonly compiled: CompiledPolicy;
  readonly sizeBytes: number;
}

export class PolicyDocuments {
  readonly #records: Records;
  readonly #cache: SizedCache<Cached>;

  /** @param part - Of what one thread may keep: 1 where there is but one. */
  constructor(records: Records, part = 1) {
    this.#records = records;
    this.#cache = new SizedCache(MAX_CACHED_BYTES * part);
  }

  /**
   * What pins a document, and the changes that store it: to be written together with the pin.
   *
   * @param place - Of the app, the user or the wallet.
   * @throws {@link RequestError} `INVALID_PARAMS` for a document that does not compile, and what reading records throws
   */
  async store(place: string, document: Policy): Promise<{ readonly pin: PolicyPin; readonly changes: Change[] }> {
    compilePolicy(document);
    const { pin, texts } = split(document);
    if (isNothing(pin)) return { pin, changes: [] };
    const changes = await Promise.all(
      texts.map(async (text, at) => {
        const name = nameOf(place, pin, at);
        return change(partRecords, name, await this.#records.read(partRecords, name), { text });
      }),
    );
    return { pin, changes };
  }

  /** The changes that do away with a document that binds no more. */
  async remove(place: string, pin: PolicyPin): Promise<Change[]> {
    const names = Array.from({ length: pin.parts }, (_, at) => nameOf(place, pin, at));
    const read = await Promise.all(names.map((name) => this.#records.read(partRecords, name)));
    return names.flatMap((name, at) => {
      const record = read[at] ?? null;
      return record === null ? [] : [change(partRecords, name, record, undefined)];
    });
  }

  /** As {@link remove}, with nothing else in the write. */
  async erase(place: string, pin: PolicyPin): Promise<void> {
    const changes = await this.remove(place, pin);
    if (changes.length === 0 || (await this.#records.write(changes))) return;
    throw new RequestError("RECORD_CONFLICT", "a policy keeps changing: try again");
  }

  /** @throws {@link RequestError} `RECORD_ROLLED_BACK`, `RECORD_TAMPERED`, and what reading records throws */
  async get(place: string, pin: PolicyPin): Promise<CompiledPolicy> {
    if (isNothing(pin)) return COMPILED_NOTHING;
    const key = Buffer.from(pin.digest).toString("hex");
    const cached = this.#cache.get(key);
    if (cached !== undefined) return cached.compiled;
    const names = Array.from({ length: pin.parts }, (_, at) => nameOf(place, pin, at));
    const read = await Promise.all(names.map((name) => this.#records.read(partRecords, name)));
    const texts = read.map((record) => {
      if (record === null) throw new RequestError("RECORD_ROLLED_BACK", "the parent withholds a policy");
      return record.value.text;
    });
    const text = Buffer.concat(texts);
    if (Buffer.compare(digestOf(text), pin.digest) !== 0) {
      throw new RequestError("RECORD_TAMPERED", "not the policy that is pinned");
    }
    const compiled = compilePolicy(policy.parse(JSON.parse(text.toString("utf8"))));
    this.#cache.set(key, { compiled, sizeBytes: text.length });
    return compiled;
  }
}

/** Whether a document is the one that is pinned. */
export function isPinned(document: Policy | null, pin: PolicyPin | null): boolean {
  if (document === null || pin === null) return document === null && pin === null;
  return Buffer.compare(split(document).pin.digest, pin.digest) === 0;
}

/** Whether what is pinned is the policy that allows nothing. */
export function isNothing({ digest }: PolicyPin): boolean {
  return Buffer.compare(digest, NOTHING_ALLOWED.digest) === 0;
}

function split(document: Policy): { readonly pin: PolicyPin; readonly texts: readonly Uint8Array[] } {
  const text = encodePolicy(document);
  const parts = Math.max(1, Math.ceil(text.length / PART_BYTES));
  const texts = Array.from({ length: parts }, (_, at) => text.slice(at * PART_BYTES, (at + 1) * PART_BYTES));
  return { pin: { digest: digestOf(text), parts }, texts };
}

function digestOf(text: Uint8Array): Uint8Array {
  return Uint8Array.from(createHash("sha256").update(text).digest());
}

function nameOf(place: string, { digest }: PolicyPin, at: number): string {
  return `${place}/${Buffer.from(digest.subarray(0, 16)).toString("hex")}/${at}`;
}
