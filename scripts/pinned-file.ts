/** Downloads that a lock file pins by size and SHA-256, kept outside the tree under their hash. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";

const TIMEOUT_MS = 300_000;

export interface PinnedFile {
  /** Below each mirror. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** No mirror has these bytes, or none can be reached. */
export class PinnedFileError extends Error {
  override readonly name = "PinnedFileError";
}

/**
 * Fetches a file, or finds it among those fetched before.
 *
 * @returns Its path in the folder.
 * @throws {@link PinnedFileError} naming each mirror with what was wrong there.
 */
export async function fetchPinned(
  { path, sizeBytes, sha256 }: PinnedFile,
  { mirrors, folder }: { readonly mirrors: readonly string[]; readonly folder: string },
): Promise<string> {
  const kept = join(folder, `${sha256.slice(0, 16)}-${basename(path)}`);
  if (existsSync(kept) && sha256Of(await readFile(kept)) === sha256) return kept;
  await mkdir(folder, { recursive: true });
  const wrong: string[] = [];
  for (const mirror of mirrors) {
    // Debian's versions hold "+" and "~", which stand for themselves in a path.
    const url = `${mirror}/${path}`;
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      const bytes = Buffer.from(await response.arrayBuffer());
      if (bytes.length !== sizeBytes) throw new Error(`${bytes.length} bytes, expected ${sizeBytes}`);
      const found = sha256Of(bytes);
      if (found !== sha256) throw new Error(`SHA-256 ${found}, expected ${sha256}`);
      const part = `${kept}.${process.pid}.part`;
      await writeFile(part, bytes, { flush: true });
      await rename(part, kept);
      return kept;
    } catch (error) {
      const { message, cause } = error as Error;
      wrong.push(`  ${url}: ${message}${cause instanceof Error ? ` (${cause.message})` : ""}`);
    }
  }
  throw new PinnedFileError(`cannot fetch ${basename(path)}:\n${wrong.join("\n")}`);
}

function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
