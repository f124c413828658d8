/** A session's key in a file, for programs that are started again. */
import { rm } from "node:fs/promises";
import type { SessionStore, StoredSession } from "../client/index.ts";
import { z } from "../protocol/index.ts";
import { KeyFileError } from "./errors.ts";
import { readPrivateFile, replacePrivateFile } from "./private-file.ts";
import { openJson, sealedJson, sealJson } from "./sealed-json.ts";

const P256 = { name: "ECDSA", namedCurve: "P-256" } as const;

const session = z.strictObject({
  deployment: z.string(),
  appId: z.string(),
  sessionId: z.string(),
  userId: z.string(),
  expiresAtMs: z.int(),
  lifetimeMs: z.int(),
});
const jwk = z.object({ kty: z.literal("EC"), crv: z.literal("P-256"), x: z.string(), y: z.string(), d: z.string() });
const sessionFile = z.strictObject({
  kind: z.literal("cloister-session"),
  version: z.literal(1),
  session,
  key: z.union([jwk, sealedJson]),
});

/**
 * @param options.passphrase - Encrypts the key, and nothing else is read then: a key that is not encrypted may have been put
 *   there by somebody who does not know it. Null leaves it to the file's permissions, which let only its owner read it.
 *   A session's key is worth as much as the session's lifetime and scope.
 */
export function fileStore(path: string, options: { readonly passphrase: string | null }): SessionStore {
  const { passphrase } = options;
  return {
    extractable: true,
    async load() {
      const text = await readPrivateFile(path);
      return text === null ? null : read(text, path, passphrase);
    },
    async save({ pair, deployment, appId, sessionId, userId, expiresAtMs, lifetimeMs }: StoredSession) {
      const kept = { deployment, appId, sessionId, userId, expiresAtMs, lifetimeMs };
      const { kty, crv, x, y, d } = await crypto.subtle.exportKey("jwk", pair.privateKey);
      const exported = { kty, crv, x, y, d };
      const key = passphrase === null ? exported : await sealJson(exported, passphrase, JSON.stringify(kept));
      await replacePrivateFile(
        path,
        `${JSON.stringify({ kind: "cloister-session", version: 1, session: kept, key })}\n`,
      );
    },
    clear: () => rm(path, { force: true }),
  };
}

async function read(text: string, path: string, passphrase: string | null): Promise<StoredSession> {
  const { session: kept, key } = parse(text, path);
  if (passphrase !== null && !("kdf" in key)) {
    throw new KeyFileError("KEY_FILE_MALFORMED", `${path} is not encrypted, though there is a passphrase`);
  }
  const opened = "kdf" in key ? await open(key, passphrase, JSON.stringify(kept), path) : key;
  try {
    const { d, ...publicPart } = jwk.parse(opened);
    return {
      ...kept,
      pair: {
        privateKey: await crypto.subtle.importKey("jwk", { ...publicPart, d }, P256, true, ["sign"]),
        publicKey: await crypto.subtle.importKey("jwk", publicPart, P256, true, ["verify"]),
      },
    };
  } catch (cause) {
    throw new KeyFileError("KEY_FILE_MALFORMED", `${path} is no session's file`, { cause });
  }
}

function parse(text: string, path: string): z.output<typeof sessionFile> {
  try {
    return sessionFile.parse(JSON.parse(text));
  } catch (cause) {
    throw new KeyFileError("KEY_FILE_MALFORMED", `${path} is no session's file`, { cause });
  }
}

async function open(
  sealed: z.output<typeof sealedJson>,
  passphrase: string | null,
  head: string,
  path: string,
): Promise<unknown> {
  try {
    return await openJson(sealed, passphrase ?? "", head);
  } catch (cause) {
    throw new KeyFileError("PASSPHRASE_WRONG", `${path}: not this passphrase, or the file was changed`, { cause });
  }
}
