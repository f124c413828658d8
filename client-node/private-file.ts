/** Files that only their owner may read, who is this process's user. */
import { randomBytes } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { KeyFileError } from "./errors.ts";

const OWNER_ONLY = 0o600;
const ROOT = 0;
const MAX_BYTES = 64 * 1024;

/** @throws {@link KeyFileError} `KEY_FILE_EXISTS`: a key is never written over another. */
export async function createPrivateFile(path: string, text: string): Promise<void> {
  const file = await open(path, "wx", OWNER_ONLY).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "EEXIST") throw new KeyFileError("KEY_FILE_EXISTS", `${path} is there already`, { cause });
    throw new KeyFileError("KEY_FILE_UNREADABLE", `${path} cannot be written`, { cause });
  });
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Puts a file in the place of another, so that whoever reads it finds one of the two whole. */
export async function replacePrivateFile(path: string, text: string): Promise<void> {
  const next = `${path}.${randomBytes(6).toString("hex")}`;
  await createPrivateFile(next, text);
  try {
    await rename(next, path);
  } catch (cause) {
    await rm(next, { force: true });
    throw new KeyFileError("KEY_FILE_UNREADABLE", `${path} cannot be written`, { cause });
  }
}

/**
 * @param ourUid - Of this process, where there are such.
 * @returns Null if there is no such file.
 * @throws {@link KeyFileError} `KEY_FILE_EXPOSED` if others may read it, or could have written it; `KEY_FILE_UNREADABLE`,
 *   `KEY_FILE_MALFORMED`
 */
export async function readPrivateFile(path: string, ourUid = process.geteuid?.()): Promise<string | null> {
  const file = await open(path, "r").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return null;
    throw new KeyFileError("KEY_FILE_UNREADABLE", `${path} cannot be read`, { cause });
  });
  if (file === null) return null;
  try {
    const { mode, size, uid } = await file.stat();
    if ((mode & 0o077) !== 0 && process.platform !== "win32") {
      throw new KeyFileError("KEY_FILE_EXPOSED", `${path} can be read by others: chmod 600 it`);
    }
    // Root may read and write everybody's anyway.
    if (ourUid !== undefined && uid !== ourUid && uid !== ROOT) {
      throw new KeyFileError("KEY_FILE_EXPOSED", `${path} belongs to another user, who can change it`);
    }
    if (size > MAX_BYTES) throw new KeyFileError("KEY_FILE_MALFORMED", `${path} is no key file`);
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}
