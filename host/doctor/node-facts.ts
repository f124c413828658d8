/** The facts of this machine. */
import { open, readdir, stat, statfs } from "node:fs/promises";
import { userInfo } from "node:os";
import { CommandError, runCommand } from "../command.ts";
import { FactError, type FactErrorCode, type Facts } from "./facts.ts";

const MAX_FILE_BYTES = 1024 * 1024;
const COMMAND_TIMEOUT_MS = 15_000;
const FETCH_TIMEOUT_MS = 5_000;
const PERMISSION_BITS = 0o777;

export interface NodeFactsOptions {
  /** kms:GetKeyPolicy. Throws what the SDK throws. */
  readonly fetchKeyPolicy: (keyArn: string) => Promise<string>;
}

export function nodeFacts({ fetchKeyPolicy }: NodeFactsOptions): Facts {
  return {
    readFile: (path) => asFact(path, () => readUpTo(path, MAX_FILE_BYTES)),
    stat: (path) =>
      asFact(path, async () => {
        const found = await stat(path);
        const { size: sizeBytes, uid, gid } = found;
        return { isFolder: found.isDirectory(), sizeBytes, mode: found.mode & PERMISSION_BITS, uid, gid };
      }),
    list: (path) => asFact(path, () => readdir(path)),
    freeBytes: (path) =>
      asFact(path, async () => {
        const { bavail, bsize } = await statfs(path);
        return bavail * bsize;
      }),
    async run(command, args) {
      try {
        return await runCommand(command, args, { timeoutMs: COMMAND_TIMEOUT_MS });
      } catch (cause) {
        if (!(cause instanceof CommandError)) throw cause;
        throw new FactError(cause.code, cause.message, { cause });
      }
    },
    async fetch(method, url, headers = {}) {
      try {
        const signal = AbortSignal.timeout(FETCH_TIMEOUT_MS);
        // A redirect is an answer: whoever sends one is not whom we ask.
        const answer = await fetch(url, { method, headers, signal, redirect: "manual" });
        const body = (await answer.text()).slice(0, MAX_FILE_BYTES);
        return { status: answer.status, headers: new Map(answer.headers), body };
      } catch (cause) {
        const isLate = (cause as Error).name === "TimeoutError";
        throw new FactError(isLate ? "TIMED_OUT" : "FAILED", `${url}: ${reasonOf(cause)}`, { cause });
      }
    },
    async keyPolicy(keyArn) {
      try {
        return await fetchKeyPolicy(keyArn);
      } catch (cause) {
        const { name, message } = cause as Error;
        // Without credentials nobody was asked; with them KMS says that they are not enough.
        const denied = name === "AccessDeniedException" || name === "CredentialsProviderError";
        throw new FactError(denied ? "DENIED" : "FAILED", `kms:GetKeyPolicy: ${name}: ${message}`, { cause });
      }
    },
    nowMs: Date.now,
    user() {
      const { uid, username } = userInfo();
      return { uid, name: username };
    },
  };
}

/** Not readFile: what /proc and /sys hold has no size, and a file may have no end. */
async function readUpTo(path: string, maxBytes: number): Promise<Uint8Array> {
  const file = await open(path);
  try {
    const buffer = Buffer.alloc(64 * 1024);
    const chunks: Buffer[] = [];
    let size = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
      if (bytesRead === 0) return Buffer.concat(chunks);
      size += bytesRead;
      if (size > maxBytes) throw new FactError("FAILED", `${path} has more than ${maxBytes} bytes`);
      chunks.push(Buffer.from(buffer.subarray(0, bytesRead)));
    }
  } finally {
    await file.close();
  }
}

async function asFact<Value>(path: string, read: () => Promise<Value>): Promise<Value> {
  try {
    return await read();
  } catch (cause) {
    if (cause instanceof FactError) throw cause;
    throw new FactError(codeOf(cause), `${path}: ${(cause as Error).message}`, { cause });
  }
}

function codeOf(cause: unknown): FactErrorCode {
  switch ((cause as NodeJS.ErrnoException).code) {
    case "ENOENT":
    case "ENOTDIR":
      return "ABSENT";
    case "EACCES":
    case "EPERM":
      return "DENIED";
    default:
      return "FAILED";
  }
}

function reasonOf(cause: unknown): string {
  const inner = (cause as { cause?: unknown }).cause;
  return inner instanceof Error ? inner.message : (cause as Error).message;
}
