/** A device's shares in files, one for each wallet. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { type DeviceStore, recoveryRecipient, type StoredDevice } from "../client/index.ts";
import { audienceOf, encodeBase64url, openSealedShare, recoverySchema, sealedShare, z } from "../protocol/index.ts";
import { KeyFileError } from "./errors.ts";
import { readPrivateFile, replacePrivateFile } from "./private-file.ts";
import { openJson, sealedJson, sealJson } from "./sealed-json.ts";

const X25519 = { name: "X25519" } as const;

const device = z.strictObject({
  deployment: z.string(),
  appId: z.string(),
  walletId: z.string(),
  sealedShare: z.nullable(sealedShare),
  pending: z.exactOptional(
    z.strictObject({
      operation: z.enum(["recover_wallet", "reshare_wallet"]),
      requestId: z.string(),
      recovery: recoverySchema,
      recipient: z.nullable(recoveryRecipient),
    }),
  ),
});
const jwk = z.object({ kty: z.literal("OKP"), crv: z.literal("X25519"), x: z.string(), d: z.string() });
const jwks = z.object({ ...jwk.shape, pending: z.exactOptional(jwk) });
const deviceFile = z.strictObject({
  kind: z.literal("cloister-device-share"),
  version: z.literal(1),
  device,
  /** With that of `device.pending`, if there is one: a passphrase takes its time, once for both. */
  key: z.union([jwks, sealedJson]),
});

/**
 * @param options.passphrase - Encrypts the key; as {@link fileStore}'s. A share lasts until the wallet is shared anew, so it
 *   deserves one.
 */
export function deviceFileStore(folder: string, options: { readonly passphrase: string | null }): DeviceStore {
  const pathOf = (walletId: string) => {
    // A name of a file is made of it.
    if (!/^wal_[0-9a-f]{32}$/.test(walletId)) throw new TypeError("not the id of a wallet");
    return join(folder, `${walletId}.json`);
  };
  return {
    extractable: true,
    async load(walletId) {
      const text = await readPrivateFile(pathOf(walletId));
      return text === null ? null : read(text, pathOf(walletId), options.passphrase);
    },
    async save({ pair, deployment, appId, walletId, sealedShare, pending }: StoredDevice) {
      const { pair: pendingPair, ...asked } = pending ?? { pair: null };
      const waits = pendingPair === null ? {} : { pending: asked };
      // In the order in which it is read again: an encrypted key is bound to this text.
      const kept = device.parse({ deployment, appId, walletId, sealedShare, ...waits });
      const keys = await exportedOf(pair);
      const both = pendingPair === null ? keys : { ...keys, pending: await exportedOf(pendingPair) };
      const { passphrase } = options;
      const key = passphrase === null ? both : await sealJson(both, passphrase, JSON.stringify(kept));
      const file = { kind: "cloister-device-share", version: 1, device: kept, key };
      await replacePrivateFile(pathOf(walletId), `${JSON.stringify(file)}\n`);
    },
    clear: (walletId) => rm(pathOf(walletId), { force: true }),
  };
}

/**
 * Opens the share that a {@link deviceFileStore} has written.
 *
 * @param passphrase - Asked for only if the file is encrypted.
 * @returns The share, base64url.
 * @throws {@link KeyFileError}; ProtocolError `SHARE_NOT_OPENED`
 */
export async function openDeviceShare(path: string, passphrase: () => Promise<string>): Promise<string> {
  const text = await readPrivateFile(path);
  if (text === null) throw new KeyFileError("KEY_FILE_UNREADABLE", `${path}: no such file`);
  const given = "kdf" in parse(text, path).key ? await passphrase() : null;
  const { deployment, appId, walletId, sealedShare, pair } = await read(text, path, given);
  if (sealedShare === null) throw new KeyFileError("KEY_FILE_MALFORMED", `${path} waits for a share and has none`);
  const address = { audience: audienceOf(deployment, appId), walletId, role: "device" } as const;
  const share = await openSealedShare(pair, address, sealedShare);
  try {
    return encodeBase64url(share);
  } finally {
    share.fill(0);
  }
}

async function read(text: string, path: string, passphrase: string | null): Promise<StoredDevice> {
  const { device: kept, key } = parse(text, path);
  if (passphrase !== null && !("kdf" in key)) {
    throw new KeyFileError("KEY_FILE_MALFORMED", `${path} is not encrypted, though there is a passphrase`);
  }
  const opened = "kdf" in key ? await open(key, passphrase ?? "", JSON.stringify(kept), path) : key;
  try {
    const { pending, ...device } = kept;
    const keys = jwks.parse(opened);
    const found = { ...device, pair: await shareKeyFromJwk(keys) };
    if (pending === undefined) return found;
    return { ...found, pending: { ...pending, pair: await shareKeyFromJwk(keys.pending) } };
  } catch (cause) {
    throw malformed(path, cause);
  }
}

async function exportedOf({ privateKey }: CryptoKeyPair) {
  const { kty, crv, x, d } = await crypto.subtle.exportKey("jwk", privateKey);
  return { kty, crv, x, d };
}

/** A private X25519 key as JWK (RFC 8037), such as a recovery file's. @throws Error for anything else */
export async function shareKeyFromJwk(json: unknown): Promise<CryptoKeyPair> {
  const { d, ...publicPart } = jwk.parse(json);
  return {
    privateKey: (await crypto.subtle.importKey("jwk", { ...publicPart, d }, X25519, true, ["deriveBits"])) as CryptoKey,
    publicKey: (await crypto.subtle.importKey("jwk", publicPart, X25519, true, [])) as CryptoKey,
  };
}

function parse(text: string, path: string): z.output<typeof deviceFile> {
  try {
    return deviceFile.parse(JSON.parse(text));
  } catch (cause) {
    throw malformed(path, cause);
  }
}

async function open(sealed: z.output<typeof sealedJson>, passphrase: string, head: string, path: string) {
  try {
    return await openJson(sealed, passphrase, head);
  } catch (cause) {
    throw new KeyFileError("PASSPHRASE_WRONG", `${path}: not this passphrase, or the file was changed`, { cause });
  }
}

function malformed(path: string, cause: unknown): KeyFileError {
  return new KeyFileError("KEY_FILE_MALFORMED", `${path} is no device's share`, { cause });
}
