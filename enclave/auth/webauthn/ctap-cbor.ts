/** CBOR as authenticators write it (CTAP 2.1, 8: canonical form): definite lengths, minimal heads, no duplicate keys. */
import { decodeFirst } from "cborg";
import { refuse } from "./rules.ts";

/** Keys are text in attestation objects and integers in COSE keys. */
export type CborMap = ReadonlyMap<unknown, unknown>;

/**
 * Takes one map off the front of `bytes`.
 *
 * @returns The map and what stands behind it.
 * @throws {@link RequestError} `PASSKEY_MALFORMED`
 */
export function takeCborMap(bytes: Uint8Array, what: string): readonly [CborMap, Uint8Array] {
  let first: readonly [unknown, Uint8Array];
  try {
    first = decodeFirst(bytes, {
      strict: true,
      allowIndefinite: false,
      allowUndefined: false,
      allowInfinity: false,
      allowNaN: false,
      rejectDuplicateMapKeys: true,
      useMaps: true,
    });
  } catch (cause) {
    throw refuse("PASSKEY_MALFORMED", `${what}: not CBOR as authenticators write it`, cause);
  }
  const [value, rest] = first;
  if (!(value instanceof Map)) throw refuse("PASSKEY_MALFORMED", `${what}: not a CBOR map`);
  return [value as CborMap, rest];
}
