/** A folder for what a build unpacks, gone when the build ends: with a result, an error or a signal. */
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";

/**
 * @param parent - Where there is room for the unpacked image: beside the output, since /tmp may be memory.
 * @param work - May be cut short by the process's end: the folder is then removed on the way out.
 */
export async function withStaging<T>(parent: string, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(parent, ".cloister-eif-"));
  const removeNow = (): void => rmSync(folder, { recursive: true, force: true });
  process.once("exit", removeNow);
  try {
    return await work(folder);
  } finally {
    process.off("exit", removeNow);
    await rm(folder, { recursive: true, force: true });
  }
}
