/** P-256 keys in files: an administrator's, a backend's. */
import { generateStampPair, type StampKey, stampKeyFromJwk, stampKeyOf } from "../client/index.ts";
import { encodeHex, z } from "../protocol/index.ts";
import { KeyFileError } from "./errors.ts";
import { createPrivateFile, readPrivateFile } from "./private-file.ts";
import { openJson, sealedJson, sealJson } from "./sealed-json.ts";

const keyFile = z.strictObject({
  kind: z.literal("cloister-key"),
  version: z.literal(1),
  /** Compressed, hex: to be read without the passphrase. */
  publicKey: z.string().check(z.regex(/^0[23][0-9a-f]{64}$/)),
  sealed: sealedJson,
});

/**
 * Makes a P-256 key and writes it, encrypted, for its owner alone.
 *
 * @returns The public key, compressed, in hex: as a manifest and an app's API keys name it.
 * @throws {@link KeyFileError} `KEY_FILE_EXISTS`, `KEY_FILE_UNREADABLE`
 */
export async function createKeyFile(path: string, passphrase: string): Promise<string> {
  const pair = await generateStampPair(true);
  const publicKey = encodeHex((await stampKeyOf(pair)).publicKey);
  const jwk = await crypto.subtle.exportKey("jwk", pair.privateKey);
  const sealed = await sealJson(jwk, passphrase, publicKey);
  const file: z.output<typeof keyFile> = { kind: "cloister-key", version: 1, publicKey, sealed };
  await createPrivateFile(path, `${JSON.stringify(file, null, 2)}\n`);
  return publicKey;
}

/**
 * Opens a key file, or a P-256 key as bare JWK, such as the simulator's.
 *
 * @param passphrase - Asked for only if the file is encrypted.
 * @throws {@link KeyFileError}
 */
export async function openKeyFile(path: string, passphrase: () => Promise<string>): Promise<StampKey> {
  const json = await readKeyFile(path);
  const parsed = keyFile.safeParse(json);
  if (!parsed.success) return fromJwk(json, path);
  const { publicKey, sealed } = parsed.data;
  const given = await passphrase();
  let jwk: unknown;
  try {
    jwk = await openJson(sealed, given, publicKey);
  } catch (cause) {
    throw new KeyFileError("PASSPHRASE_WRONG", `${path}: not this passphrase, or the file was changed`, { cause });
  }
  const key = await fromJwk(jwk, path);
  if (encodeHex(key.publicKey) !== publicKey) throw malformed(path);
  return key;
}

/** The public key of a key file, without its passphrase. @throws {@link KeyFileError} */
export async function publicKeyOfFile(path: string): Promise<string> {
  const json = await readKeyFile(path);
  const parsed = keyFile.safeParse(json);
  return parsed.success ? parsed.data.publicKey : encodeHex((await fromJwk(json, path)).publicKey);
}

async function readKeyFile(path: string): Promise<unknown> {
  const text = await readPrivateFile(path);
  if (text === null) throw new KeyFileError("KEY_FILE_UNREADABLE", `${path}: no such file`);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw malformed(path, cause);
  }
}

async function fromJwk(json: unknown, path: string): Promise<StampKey> {
  try {
    return await stampKeyFromJwk(json as JsonWebKey);
  } catch (cause) {
    throw malformed(path, cause);
  }
}

function malformed(path: string, cause?: unknown): KeyFileError {
  return new KeyFileError("KEY_FILE_MALFORMED", `${path} is no P-256 key`, { cause });
}
