/** Records, disk, and who may read and write what. */
import { dirname } from "node:path";
import { type Check, failure, ok, type Result, skipped, unless, warning } from "../check.ts";
import type { Context } from "../context.ts";
import { FactError, type FileFacts } from "../facts.ts";
import { PARENT_USER, usersOf } from "./instance.ts";

const BYTES_PER_MIB = 1024 * 1024;
/** Records are small; a write-ahead log that cannot grow stops every write. */
const MIN_FREE_MIB = 256;
const GROUP_OR_OTHERS_WRITE = 0o022;
const GROUP_OR_OTHERS = 0o077;
const OTHERS_READ = 0o004;

export const checkRecords: Check = async (context) => {
  const { records } = await context.needed(context.parentConfig, "parent.json");
  if (records.kind === "postgres") return skipped(`they are kept by PostgreSQL on ${records.host}; see parent`);
  const recordsFile = records.file;
  const owner = (await usersOf(context)).get(PARENT_USER);
  if (owner === undefined) return skipped(`there is no user ${PARENT_USER}; see users`);
  const folder = await statOrNull(context, dirname(recordsFile));
  if (folder === null) {
    return failure(`${dirname(recordsFile)} is not there`, "systemctl start cloister-parent makes /var/lib/cloister");
  }
  const problems: Result[] = [];
  if (folder.uid !== owner.uid) {
    problems.push(
      failure(`${dirname(recordsFile)} is not ${PARENT_USER}'s`, `chown -R ${PARENT_USER}: ${dirname(recordsFile)}`),
    );
  }
  const file = await statOrNull(context, recordsFile);
  if (file === null) return unless(problems, `${recordsFile} is not there yet: the parent makes it`);
  if (file.uid !== owner.uid) {
    problems.push(failure(`${recordsFile} is not ${PARENT_USER}'s`, `chown ${PARENT_USER}: ${recordsFile}`));
  }
  if ((file.mode & GROUP_OR_OTHERS) !== 0 && (folder.mode & GROUP_OR_OTHERS) !== 0) {
    problems.push(
      warning(`${recordsFile} is open to others of this host (${octal(file)})`, `chmod 600 ${recordsFile}`),
    );
  }
  return unless(problems, `${recordsFile}, ${Math.ceil(file.sizeBytes / BYTES_PER_MIB)} MiB`);
};

export const checkDisk: Check = async (context) => {
  const { records } = await context.needed(context.parentConfig, "parent.json");
  if (records.kind === "postgres") return skipped(`records are kept by PostgreSQL on ${records.host}`);
  const folder = dirname(records.file);
  const recordsBytes = (await statOrNull(context, records.file))?.sizeBytes ?? 0;
  const freeMib = Math.floor((await context.facts.freeBytes(folder)) / BYTES_PER_MIB);
  if (freeMib < MIN_FREE_MIB) {
    return failure(
      `${freeMib} MiB are free for ${folder}`,
      "make room: without it no wallet and no session is written",
    );
  }
  // A copy is what a backup or a vacuum needs.
  if (freeMib * BYTES_PER_MIB < recordsBytes) {
    return warning(`${freeMib} MiB are free for ${folder}, less than the records take`, "make room for a copy of them");
  }
  return ok(`${freeMib} MiB are free for ${folder}`);
};

export const checkPermissions: Check = async (context) => {
  const { enclaveConfig, parentConfig, measurements, allocator } = context.paths;
  const image = await context.enclaveConfig().then(
    ({ eifPath }) => [eifPath],
    () => [],
  );
  const problems: Result[] = [];
  let seen = 0;
  for (const path of [enclaveConfig, parentConfig, measurements, allocator, ...image]) {
    const file = await statOrNull(context, path);
    if (file === null) continue;
    seen += 1;
    if (file.uid !== 0) problems.push(warning(`${path} is not root's`, `chown root: ${path}`));
    if ((file.mode & GROUP_OR_OTHERS_WRITE) !== 0) {
      problems.push(failure(`others than root may write ${path} (${octal(file)})`, `chmod go-w ${path}`));
    }
  }
  const config = await context.parentConfig().catch(() => null);
  const file = await statOrNull(context, parentConfig);
  if (config?.credentials.kind === "static" && file !== null && (file.mode & OTHERS_READ) !== 0) {
    problems.push(failure(`${parentConfig} has a secret and everybody may read it`, `chmod 640 ${parentConfig}`));
  }
  const passwordFile = config?.records.kind === "postgres" ? config.records.passwordFile : null;
  const password = passwordFile === null ? null : await statOrNull(context, passwordFile);
  if (password !== null && (password.mode & OTHERS_READ) !== 0) {
    problems.push(
      failure(`everybody may read ${passwordFile}`, `chmod 640 ${passwordFile}; chgrp ${PARENT_USER} ${passwordFile}`),
    );
  }
  return seen === 0 ? skipped("none of the files is there") : unless(problems, `${seen} files, writable by root alone`);
};

async function statOrNull({ facts }: Context, path: string): Promise<FileFacts | null> {
  try {
    return await facts.stat(path);
  } catch (error) {
    if (error instanceof FactError && error.code === "ABSENT") return null;
    throw error;
  }
}

function octal({ mode }: FileFacts): string {
  return mode.toString(8).padStart(4, "0");
}
