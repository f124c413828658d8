/**
 * Keeps two simulators off one file. The lock is SQLite's, on a file beside it: the kernel lets go of it when its holder
 * dies, so none is ever stale. Who holds it stands in a second file, for the message only.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { KmsStoreError } from "./errors.ts";

/**
 * @param holder - Names this process to whoever comes second.
 * @returns What lets go of the lock.
 * @throws {@link KmsStoreError} `STORE_IN_USE`, saying by whom; `STORE_UNREADABLE` if there can be no file.
 */
export async function lockStore(storeFile: string, holder: string): Promise<() => void> {
  const { DatabaseSync } = await import("node:sqlite");
  const holderFile = `${storeFile}.holder`;
  let database: InstanceType<typeof DatabaseSync>;
  try {
    database = new DatabaseSync(`${storeFile}.lock`);
  } catch (cause) {
    throw new KmsStoreError("STORE_UNREADABLE", `cannot make ${storeFile}.lock`, { cause });
  }
  try {
    database.exec("BEGIN EXCLUSIVE");
  } catch (cause) {
    database.close();
    throw new KmsStoreError("STORE_IN_USE", `${storeFile} is in use by ${holderIn(holderFile)}`, { cause });
  }
  writeFileSync(holderFile, `${holder}\n`, { mode: 0o600 });
  return () => {
    rmSync(holderFile, { force: true });
    database.close();
  };
}

function holderIn(file: string): string {
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    return "another process";
  }
}
