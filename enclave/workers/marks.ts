/**
 * What all threads see at once: that something newer is known of a record. Each name has one of some slots, and the slot
 * counts. Whoever keeps what was read keeps the count of before it was asked for; another count since means that it is to
 * be looked at again. Names that share a slot cost each other a look and nothing else.
 */
const SLOTS = 1 << 16;

export class Marks {
  readonly buffer: SharedArrayBuffer;
  readonly #slots: Uint32Array;

  /** @param buffer - Another thread's. */
  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(SLOTS * Uint32Array.BYTES_PER_ELEMENT)) {
    this.buffer = buffer;
    this.#slots = new Uint32Array(buffer);
  }

  of(name: string): number {
    return Atomics.load(this.#slots, slotOf(name));
  }

  bump(name: string): void {
    Atomics.add(this.#slots, slotOf(name), 1);
  }
}

function slotOf(name: string): number {
  return hashOf(name) & (SLOTS - 1);
}

/** FNV-1a, 32 bits. Nothing rests on its being hard to meet. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  // The low bits of the last character alone would choose among few.
  return (hash ^ (hash >>> 16)) >>> 0;
}
