/** A sealed deletion, as a parent can tell it: generation, nonce, one byte and its tag. Nothing else is as short. */
const SEALED_DELETION_BYTES = 34;

export function isDeletion(value: Uint8Array | null): boolean {
  return value?.length === SEALED_DELETION_BYTES;
}
