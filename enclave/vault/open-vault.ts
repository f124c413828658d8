/** Opens the vault, or makes it where there is none. */
import { bytesOf, encodeCbor, RequestError, z } from "../../protocol/index.ts";
import { StartError } from "../errors.ts";
import type { AttestedKms } from "../kms/attested-kms.ts";
import type { Manifest } from "../manifest.ts";
import type { Randomness } from "../nsm/randomness.ts";
import { Ids } from "./ids.ts";
import { RecordCipher } from "./record-cipher.ts";
import type { RecordStore, StoredChange } from "./record-store.ts";
import { type ReadRecord, type RecordKind, Records } from "./records.ts";
import { unwrapVaultSecret, VAULT_SECRET_BYTES, type VaultContext, wrapVaultSecret } from "./vault-secret.ts";

const FIRST_GENERATION = 1;
/** Two while the vault is rotated; more are a parent's doing, and each costs a call to KMS. */
const MAX_GENERATIONS = 4;
const ID_KEY_BYTES = 32;

/** Ids must outlive a change of the vault secret, so their key is a record of its own. */
export const idKeys: RecordKind<{ key: Uint8Array }> = {
  prefix: "keys/",
  schema: z.strictObject({ key: bytesOf(ID_KEY_BYTES) }),
};
export const ID_KEY = "ids";

/** Which generations there are: what the parent lists beside these is not opened. */
const generationsSchema = z.strictObject({
  current: z.int(),
  /** The current one among them. */
  readable: z.array(z.int()).check(z.minLength(1), z.maxLength(MAX_GENERATIONS)),
});
export type Generations = z.output<typeof generationsSchema>;
export const generationRecords: RecordKind<Generations> = { prefix: "keys/", schema: generationsSchema };
export const GENERATIONS = "vault";

export interface Vault {
  readonly store: RecordStore;
  readonly records: Records;
  readonly cipher: RecordCipher;
  readonly ids: Ids;
  readonly generations: Generations;
  /** True if it was made by this start: there was none. */
  readonly isNew: boolean;
}

export interface OpenVaultOptions {
  readonly store: RecordStore;
  readonly kms: AttestedKms;
  readonly manifest: Manifest;
  readonly randomness: Randomness;
  /** The trusted clock. */
  readonly nowMs?: () => number;
}

/** The wrapped secret of one generation. It is not sealed by the vault: it opens it. */
export function wrappedSecretName(generation: number): string {
  return `vault/${generation}`;
}

/** Another enclave may bring in a generation, or retire one, between two looks at the store. */
const MAX_LOOKS = 5;

/**
 * Wrapped secret, generations and id key are written together and only where none stands: of two enclaves that start at
 * once on an empty store, one makes the vault and the other opens it.
 *
 * @throws {@link StartError}
 */
export async function openVault(options: OpenVaultOptions): Promise<Vault> {
  const { store } = options;
  const isNew = (await listWrapped(store)).length === 0 && (await makeVault(options));
  for (let look = 1; ; look += 1) {
    const wrapped = await listWrapped(store);
    if (wrapped.length === 0) {
      throw new StartError("VAULT_INVALID", "the parent says that it stored the vault, and has none");
    }
    try {
      return { ...(await openWith(wrapped, options)), isNew };
    } catch (error) {
      // What was listed may have been retired, or succeeded, by another enclave since. Then the list is another one now.
      if (!(error instanceof StartError) || error.code !== "VAULT_INVALID" || look === MAX_LOOKS) throw error;
      if (sameGenerations(wrapped, await listWrapped(store))) throw error;
    }
  }
}

async function openWith(wrapped: readonly WrappedSecret[], options: OpenVaultOptions): Promise<Omit<Vault, "isNew">> {
  const { store, nowMs } = options;
  const cipher = await openGenerations(wrapped, options);
  const records = new Records(store, cipher, undefined, nowMs);
  const { value: generations } = await readKey(records, generationRecords, GENERATIONS);
  keepOnly(generations, wrapped, cipher);
  const idKey = await readKey(records, idKeys, ID_KEY);
  const ids = new Ids(idKey.value.key);
  idKey.value.key.fill(0);
  return { store, records, cipher, ids, generations };
}

function sameGenerations(one: readonly WrappedSecret[], another: readonly WrappedSecret[]): boolean {
  const names = (list: readonly WrappedSecret[]) => list.map(({ generation }) => generation).join();
  return names(one) === names(another);
}

interface WrappedSecret {
  readonly generation: number;
  readonly message: Uint8Array;
}

async function openGenerations(
  wrapped: readonly WrappedSecret[],
  { kms, manifest }: OpenVaultOptions,
): Promise<RecordCipher> {
  let cipher: RecordCipher | undefined;
  for (const { generation, message } of wrapped) {
    const context = { deployment: manifest.deployment, generation };
    const secret = await unwrapVaultSecret(message, context, kms, manifest.kmsKeyArn);
    try {
      if (cipher === undefined) cipher = new RecordCipher(secret, context);
      else cipher.add(generation, secret);
    } finally {
      secret.fill(0);
    }
  }
  if (cipher === undefined) throw new Error("unreachable: at least one generation was listed");
  return cipher;
}

/** The sealed record says which generations count; the parent cannot add one that was retired, nor keep one back. */
function keepOnly({ current, readable }: Generations, wrapped: readonly WrappedSecret[], cipher: RecordCipher): void {
  const listed = wrapped.map(({ generation }) => generation);
  const missing = readable.find((generation) => !listed.includes(generation));
  if (missing !== undefined) {
    throw new StartError("VAULT_INVALID", `the parent has not given generation ${missing} of the vault`);
  }
  cipher.use(current);
  for (const generation of listed) if (!readable.includes(generation)) cipher.remove(generation);
}

async function readKey<Value>(records: Records, kind: RecordKind<Value>, name: string): Promise<ReadRecord<Value>> {
  const record = await records.read(kind, name).catch((cause: unknown) => {
    if (cause instanceof RequestError && cause.code === "RECORDS_UNAVAILABLE") storeUnavailable(cause);
    throw new StartError("VAULT_INVALID", `keys/${name} does not open under the vault secret`, { cause });
  });
  if (record === null) throw new StartError("VAULT_INVALID", `the parent has the vault secret without keys/${name}`);
  return record;
}

async function makeVault({ store, kms, manifest, randomness }: OpenVaultOptions): Promise<boolean> {
  const context = { deployment: manifest.deployment, generation: FIRST_GENERATION };
  const secret = randomness.bytes(VAULT_SECRET_BYTES);
  const idKey = randomness.bytes(ID_KEY_BYTES);
  try {
    const wrapped = await wrapVaultSecret(secret, context, kms, manifest.kmsKeyArn);
    return await writeVault({ secret, idKey, wrapped }, context, store);
  } finally {
    for (const bytes of [secret, idKey]) bytes.fill(0);
  }
}

async function writeVault(
  { secret, idKey, wrapped }: Readonly<Record<"secret" | "idKey" | "wrapped", Uint8Array>>,
  context: VaultContext,
  store: RecordStore,
): Promise<boolean> {
  const cipher = new RecordCipher(secret, context);
  const sealed = (name: string, value: object): StoredChange => {
    const plaintext = encodeCbor(value);
    const change = { name, expectedVersion: 0, version: 1, value: cipher.seal({ name, version: 1 }, plaintext) };
    plaintext.fill(0);
    return change;
  };
  const changes: StoredChange[] = [
    { name: wrappedSecretName(FIRST_GENERATION), expectedVersion: 0, version: 1, value: wrapped },
    sealed(idKeys.prefix + ID_KEY, { key: idKey }),
    sealed(generationRecords.prefix + GENERATIONS, { current: FIRST_GENERATION, readable: [FIRST_GENERATION] }),
  ];
  // A conflict means that another enclave was first: its vault is the one to open.
  return await store.write(changes).catch(storeUnavailable);
}

async function listWrapped(store: RecordStore): Promise<readonly WrappedSecret[]> {
  const records = await store.list(wrappedSecretName(0).slice(0, -1), null).catch(storeUnavailable);
  if (records.length > MAX_GENERATIONS) {
    throw new StartError("VAULT_INVALID", `${records.length} generations of the vault, at most ${MAX_GENERATIONS}`);
  }
  return records.map(({ name, value }) => {
    const generation = Number(/^vault\/([1-9][0-9]{0,8})$/.exec(name)?.[1]);
    if (Number.isNaN(generation)) throw new StartError("VAULT_INVALID", "a generation of the vault with no number");
    return { generation, message: value };
  });
}

function storeUnavailable(cause: unknown): never {
  throw new StartError("RECORDS_UNAVAILABLE", "the parent's record store does not answer", { cause });
}
