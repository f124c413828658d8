/**
 * Secrets where they stay. V8 keeps short arrays on its heap, whose collector moves them about: wiping one wipes the last
 * place where it lay, and none of those before.
 */

export function copyOffHeap(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(new ArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}

/** Wipes where they were. */
export function moveOffHeap(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const moved = copyOffHeap(bytes);
  bytes.fill(0);
  return moved;
}
