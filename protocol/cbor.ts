/** CBOR (RFC 8949) as our own messages use it: definite lengths, minimal heads, text keys, no duplicate keys, no tags. */
import { decode, encode } from "cborg";
import { ProtocolError } from "./errors.ts";
import type { z } from "./zod.ts";

/** Messages and records nest five deep at most: a user, its sessions, one of them, its scope, the wallets in it. */
const MAX_DEPTH = 5;

/** Encodes one message. Keys keep the order in which they are written: wire fixtures are fixed bytes. */
export function encodeCbor(message: unknown): Uint8Array<ArrayBuffer> {
  return encode(message, { mapSorter: keepOrder });
}

/**
 * Decodes one message and checks its shape.
 *
 * @throws {@link ProtocolError} `MALFORMED_MESSAGE`
 */
export function decodeCbor<Schema extends z.ZodMiniType>(schema: Schema, bytes: Uint8Array): z.output<Schema> {
  let decoded: unknown;
  try {
    decoded = mapsToObjects(
      decode(bytes, {
        strict: true,
        allowIndefinite: false,
        allowUndefined: false,
        allowInfinity: false,
        allowNaN: false,
        rejectDuplicateMapKeys: true,
        useMaps: true,
      }),
      0,
    );
  } catch (cause) {
    throw new ProtocolError("MALFORMED_MESSAGE", `${bytes.length} bytes that are not one CBOR message`, { cause });
  }
  const parsed = schema.safeParse(decoded);
  if (!parsed.success) {
    throw new ProtocolError("MALFORMED_MESSAGE", `a message of ${bytes.length} bytes with the wrong fields`, {
      cause: parsed.error,
    });
  }
  return parsed.data;
}

function keepOrder(): number {
  return 0;
}

/** Maps were asked of the decoder because assignment to an object would let the key `__proto__` reach its prototype. */
function mapsToObjects(value: unknown, depth: number): unknown {
  if (depth > MAX_DEPTH) throw new Error(`nested deeper than ${MAX_DEPTH}`);
  if (Array.isArray(value)) return value.map((item) => mapsToObjects(item, depth + 1));
  if (!(value instanceof Map)) return value;
  const entries: [string, unknown][] = [];
  for (const [key, item] of value as Map<unknown, unknown>) {
    if (typeof key !== "string") throw new Error("a key that is not text");
    entries.push([key, mapsToObjects(item, depth + 1)]);
  }
  return Object.fromEntries(entries);
}
