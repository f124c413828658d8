/** How much memory an image needs, and how long its start may take (nitro.md 5.8). */

export const BYTES_PER_MIB = 1024 * 1024;
const BYTES_PER_GIB = 1024 * BYTES_PER_MIB;
/** The image itself, what it unpacks to, and room to run: nitro-cli refuses less. */
const MEMORY_FACTOR = 4;
/** The driver's own limit. */
const MIN_MEMORY_MIB = 64;
const START_STEP_MS = 90_000;

export function neededMemoryMib(imageBytes: number): number {
  return Math.max(MIN_MEMORY_MIB, Math.ceil((MEMORY_FACTOR * imageBytes) / BYTES_PER_MIB));
}

/** How long nitro-cli itself waits, for one that waits for nitro-cli. */
export function startTimeoutMs(imageBytes: number, memoryMib: number): number {
  const forImage = 1 + Math.floor(Math.max(0, imageBytes - 1) / (6 * BYTES_PER_GIB));
  const forMemory = 1 + Math.floor(Math.max(0, memoryMib * BYTES_PER_MIB - 1) / (100 * BYTES_PER_GIB));
  return START_STEP_MS * (forImage + forMemory);
}
