/** What every operation is given, and the steps that operations share. */
import { type KeyObject, randomInt } from "node:crypto";
import { type Access, type AttestationTrust, type Caller, checkAccess } from "../access.ts";
import type { EncryptionContext } from "../ciphertext-blob.ts";
import { type EnvelopeShape, sealEnvelope } from "../enveloped-data.ts";
import { KmsError } from "../errors.ts";
import { type Grant, readGrantToken } from "../grant.ts";
import { type KmsInput, mustHave } from "../input.ts";
import type { KeyStore } from "../key-store.ts";
import type { SimulatedKey } from "../simulated-key.ts";

/** KMS API Reference: the longest key id, ARN or alias, and how many grant tokens a request may name. */
const MAX_KEY_ID_LENGTH = 2048;
const MAX_GRANT_TOKENS = 10;
const MAX_GRANT_TOKEN_LENGTH = 8192;

/** Members as they go out in JSON. */
export type KmsAnswer = Readonly<Record<string, unknown>>;

export interface OperationCall {
  readonly input: KmsInput;
  readonly caller: Caller;
  readonly keys: KeyStore;
  readonly accountId: string;
  readonly trust: AttestationTrust;
  readonly envelopeShape: EnvelopeShape | "random";
  /** How long a new grant counts only for those who name its token; AWS: usually seconds. */
  readonly grantPropagationMs: number;
  readonly nowMs: number;
  /** Told as soon as it is known, so that refusals are logged with it. */
  readonly onKey: (keyArn: string) => void;
}

export type Operation = (call: OperationCall) => Promise<KmsAnswer>;

/** A key as the request names it. */
export interface NamedKey {
  readonly key: SimulatedKey;
  /** The alias in the request, with `alias/` before it. */
  readonly alias: string | null;
}

type ConditionKeys = readonly (readonly [key: string, values: string | readonly string[]])[];

export interface Admission {
  readonly key: NamedKey | null;
  readonly resource?: string;
  readonly encryptionContext?: EncryptionContext;
  readonly recipientDocument?: Uint8Array | null;
  readonly more?: ConditionKeys;
  readonly grantTokens?: readonly Grant[];
  /** Which grants may allow this at all; every one unless given. */
  readonly grantFits?: (grant: Grant) => boolean;
  /** Whose IAM decides where there is no key; the simulated account's unless given. */
  readonly accountId?: string;
}

/**
 * The last look at the request before anything secret is touched.
 *
 * @returns The recipient's key, if the request has one.
 */
export async function admit(call: OperationCall, operation: string, admission: Admission): Promise<KeyObject | null> {
  call.input.end();
  return checkAccess(accessOf(call, operation, admission));
}

export function accessOf(call: OperationCall, operation: string, admission: Admission): Access {
  const { caller, keys, trust, nowMs, grantPropagationMs } = call;
  const { key, resource, encryptionContext = new Map(), recipientDocument = null, more = [] } = admission;
  const { grantTokens = [], grantFits = () => true, accountId = call.accountId } = admission;
  return {
    operation,
    caller,
    key: key === null ? null : { key: key.key, aliases: keys.aliasesOf(key.key) },
    ...(resource === undefined ? {} : { resource }),
    owner: { accountId, region: keys.region },
    encryptionContext,
    recipientDocument,
    more: [...(key === null || key.alias === null ? [] : [["kms:RequestAlias", key.alias] as const]), ...more],
    isGrantKnown: (grant) =>
      grantFits(grant) &&
      (grant.createdMs + grantPropagationMs <= nowMs || grantTokens.some(({ grantId }) => grantId === grant.grantId)),
    trust,
    nowMs,
  };
}

/** After everything has been found good, and before anything is done. */
export function stopDryRun(dryRun: boolean): void {
  if (!dryRun) return;
  throw new KmsError("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.");
}

/** For an operation that may name its key by an alias. */
export function findKey({ keys, onKey }: OperationCall, name: string): NamedKey {
  const { key, alias } = keys.resolve(name);
  onKey(key.arn);
  return { key, alias: alias?.name ?? null };
}

/** For an operation that takes a key id or a key's ARN and no alias. */
export function findManagedKey({ keys, onKey }: OperationCall, name: string): NamedKey {
  if (keys.aliasNameOf(name) !== null) throw new KmsError("NotFoundException", `Invalid keyId '${name}'`);
  const key = keys.find(name);
  onKey(key.arn);
  return { key, alias: null };
}

export function readKeyId(input: KmsInput, name = "KeyId"): string | undefined {
  return input.string(name, { min: 1, max: MAX_KEY_ID_LENGTH });
}

export function mustReadKeyId(input: KmsInput): string {
  return mustHave("KeyId", readKeyId(input));
}

/** @throws {@link KmsError} `InvalidGrantTokenException` for a token of no grant. */
export function readGrantTokens({ input, keys }: OperationCall): Grant[] {
  const tokens = input.strings("GrantTokens", { min: 0, max: MAX_GRANT_TOKENS }) ?? [];
  return tokens.map((token) => findGrant(keys, token).grant);
}

export function findGrant(keys: KeyStore, token: string): { readonly key: SimulatedKey; readonly grant: Grant } {
  if (token.length > MAX_GRANT_TOKEN_LENGTH) throw new KmsError("InvalidGrantTokenException", "the token is too long");
  const { keyId, grantId } = readGrantToken(token);
  const key = keys.keys.find((one) => one.keyId === keyId);
  const grant = key?.grants.find((one) => one.grantId === grantId);
  if (key === undefined || grant === undefined) {
    throw new KmsError("InvalidGrantTokenException", "the grant of this token is gone");
  }
  return { key, grant };
}

/** Whoever sent a recipient gets nothing in the clear. */
export function deliver(
  { envelopeShape }: OperationCall,
  plaintext: Buffer,
  recipient: KeyObject | null,
  member = "Plaintext",
): KmsAnswer {
  if (recipient === null) return { [member]: base64(plaintext) };
  const shape = envelopeShape === "random" ? (randomInt(2) === 0 ? "constructed" : "primitive") : envelopeShape;
  const envelope = sealEnvelope(recipient, plaintext, shape);
  plaintext.fill(0);
  return { [member]: null, CiphertextForRecipient: base64(envelope) };
}

export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

/** The wire's timestamps are seconds, with a fraction. */
export function seconds(ms: number): number {
  return ms / 1000;
}

/** One page of a list, from behind `Marker` on. */
export function readPage<Item>(
  input: KmsInput,
  defaultLimit: number,
): (items: readonly Item[], nameOf: (item: Item) => string) => { readonly page: Item[]; readonly more: KmsAnswer } {
  const limit = input.integer("Limit", { min: 1, max: 1000 }) ?? defaultLimit;
  const marker = input.string("Marker", { min: 1, max: 1024 });
  return (items, nameOf) => {
    const after = marker === undefined ? undefined : Buffer.from(marker, "base64url").toString("utf8");
    const from = after === undefined ? 0 : items.findIndex((item) => nameOf(item) === after) + 1;
    if (after !== undefined && from === 0) throw new KmsError("InvalidMarkerException", "no list goes on from here");
    const page = items.slice(from, from + limit);
    const last = page.at(-1);
    if (last === undefined || from + limit >= items.length) return { page, more: { Truncated: false } };
    return { page, more: { Truncated: true, NextMarker: Buffer.from(nameOf(last), "utf8").toString("base64url") } };
  };
}
