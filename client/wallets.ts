/**
 * Secrets of wallets at the caller's end: taken out to a key that is made for it, and brought in to one that the enclave's
 * attestation names. What is held here in the meantime is wiped; what the runtime has copied cannot be.
 */
import {
  audienceOf,
  decodeBase64url,
  decodeHex,
  type ExportedSecret,
  encodeHex,
  type OperationName,
  openExport,
  type Params,
  ProtocolError,
  type Result,
  sealImport,
} from "../protocol/index.ts";
import type { CallOptions, Client } from "./client.ts";
import { ClientError } from "./errors.ts";

const NONCE_BYTES = 32;

/** Who calls: a session, or a backend with an API key. */
export interface WalletCaller {
  readonly client: Client;
  readonly appId: string;
  /** `app` for an API key: the wallets are the app's own. */
  readonly userId: string;
  readonly call: <Name extends OperationName>(
    name: Name,
    params: Params<Name>,
    options: CallOptions,
  ) => Promise<Result<Name>>;
}

export type ExportOptions = Omit<Params<"export_wallet">, "recipientPublicKey">;
export type ImportOptions = Omit<Params<"begin_import">, "nonce"> & {
  /**
   * Of an `hd` wallet the words in UTF-8, in any case and with any white space; of a single key its 32 bytes. The caller's
   * to wipe.
   */
  readonly secret: Uint8Array;
};

/**
 * Takes a wallet's secret out: words, a key, or a keystore's JSON. Nobody on the way can read it; the caller wipes it.
 *
 * @throws {@link ClientError} `EXPORT_NOT_OPENED` for a bundle that is not for this request; and as {@link Client.call}
 */
export async function exportWallet(
  { client, appId, userId, call }: WalletCaller,
  asked: ExportOptions,
  options: CallOptions = {},
): Promise<ExportedSecret> {
  const pair = (await crypto.subtle.generateKey("X25519", false, ["deriveBits"])) as CryptoKeyPair;
  const recipient = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const requestId = options.requestId ?? crypto.randomUUID();
  const params = { ...asked, recipientPublicKey: encodeHex(recipient) };
  const { enc, ciphertext } = await call("export_wallet", params, { ...options, requestId });
  const context = { audience: audienceOf(client.deployment, appId), userId, walletId: asked.walletId, requestId };
  try {
    const bundle = { enc: decodeHex(enc.slice(2)), ciphertext: decodeHex(ciphertext.slice(2)) };
    return await openExport(pair, context, bundle);
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw new ClientError("EXPORT_NOT_OPENED", "what came back is not sealed to this request", { cause });
  }
}

/**
 * Brings a secret in. It is sealed only after the enclave's document for this very import was verified, with the
 * expectations that the client connected with.
 *
 * @throws {@link ClientError} `IMPORT_TARGET_MISMATCH`, AttestationError; and as {@link Client.call}
 */
export async function importWallet(
  { client, appId, userId, call }: WalletCaller,
  { secret, ...asked }: ImportOptions,
  options: CallOptions = {},
): Promise<Result<"import_wallet">> {
  const audience = audienceOf(client.deployment, appId);
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const { secondFactor, ...others } = options;
  // The target stands in one enclave's memory, and whatever is asked beside this may be answered by another.
  let boot: string | undefined;
  const onBoot = (answered: string) => {
    boot = answered;
  };
  const begun = await call("begin_import", { ...asked, nonce: encodeHex(nonce) }, { ...withoutId(others), onBoot });
  const { importId, deadlineMs } = begun;
  const document = decodeBase64url(begun.attestation);
  const target = await client.verifyImport(document, nonce, { audience, userId, importId, deadlineMs });
  const form = asked.kind === "hd" ? "mnemonic" : "private-key";
  const own = form === "mnemonic" ? asciiWords(secret) : Uint8Array.from(secret);
  try {
    const { enc, ciphertext } = await sealImport(target, { audience, userId, importId }, { form, secret: own });
    const params = { importId, enc: `0x${encodeHex(enc)}`, ciphertext: `0x${encodeHex(ciphertext)}` };
    return await call("import_wallet", params, boot === undefined ? options : { ...options, boot });
  } finally {
    own.fill(0);
  }
}

/** Two requests, two ids. */
function withoutId({ requestId: _id, ...options }: CallOptions): CallOptions {
  return options;
}

/** Lower case, one space between words, without a string on the way. */
function asciiWords(text: Uint8Array): Uint8Array {
  const words = new Uint8Array(text.length);
  let length = 0;
  for (const byte of text) {
    const isSpace = byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
    if (isSpace && (length === 0 || words[length - 1] === 0x20)) continue;
    words[length] = isSpace ? 0x20 : byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
    length += 1;
  }
  if (words[length - 1] === 0x20) length -= 1;
  const trimmed = words.slice(0, length);
  words.fill(0);
  return trimmed;
}
