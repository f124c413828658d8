/** Opens the vault, or makes it where there is none. */
import { bytesOf, encodeCbor, RequestError, z } from "../../protocol/index.ts";
import { StartError } from "../errors.ts";
import type { AttestedKms } from "../kms/attested-kms.ts";
import type { Manifest } from "../manifest.ts";
import type { Randomness } from "../nsm/randomness.ts";
import { Ids } from "./ids.ts";
import { RecordCipher } from "./record-cipher.ts";
import type { RecordStore, StoredChange } from "./record-store.ts";
import { type RecordKind, Records } from "./records.ts";
import { unwrapVaultSecret, VAULT_SECRET_BYTES, wrapVaultSecret } from "./vault-secret.ts";

const FIRST_GENERATION = 1;
const WRAPPED_SECRET = "vault/1";
const ID_KEY_BYTES = 32;
const ID_KEY = "ids";

/** Ids must outlive a change of the vault secret, so their key is a record of its own. */
const keyRecords: RecordKind<{ key: Uint8Array }> = {
  prefix: "keys/",
  schema: z.strictObject({
    key: bytesOf(ID_KEY_BYTES),
  }),
};

export interface Vault {
  readonly records: Records;
  readonly ids: Ids;
  /** True if it was made by this start: there was none. */
  readonly isNew: boolean;
}

export interface OpenVaultOptions {
  readonly store: RecordStore;
  readonly kms: AttestedKms;
  readonly manifest: Manifest;
  readonly randomness: Randomness;
}

/**
 * Wrapped secret and id key are written together and only where neither stands: of two enclaves that start at once on
 * an empty store, one makes the vault and the other opens it.
 *
 * @throws {@link StartError}
 */
export async function openVault(options: OpenVaultOptions): Promise<Vault> {
  const { store, kms, manifest } = options;
  const context = { deployment: manifest.deployment, generation: FIRST_GENERATION };
  const isNew = (await getWrapped(store)) === null && (await makeVault(options));
  const wrapped = await getWrapped(store);
  if (wrapped === null) throw new StartError("VAULT_INVALID", "the parent says that it stored the vault, and has none");

  const secret = await unwrapVaultSecret(wrapped, context, kms, manifest.kmsKeyArn);
  const records = new Records(store, new RecordCipher(secret, context));
  secret.fill(0);
  const idKey = await records.read(keyRecords, ID_KEY).catch((cause: unknown) => {
    if (cause instanceof RequestError && cause.code === "RECORDS_UNAVAILABLE") storeUnavailable(cause);
    throw new StartError("VAULT_INVALID", "the id key does not open under the vault secret", { cause });
  });
  if (idKey === null) throw new StartError("VAULT_INVALID", "the parent has the vault secret without the id key");
  const ids = new Ids(idKey.value.key);
  idKey.value.key.fill(0);
  return { records, ids, isNew };
}

async function makeVault({ store, kms, manifest, randomness }: OpenVaultOptions): Promise<boolean> {
  const context = { deployment: manifest.deployment, generation: FIRST_GENERATION };
  const secret = randomness.bytes(VAULT_SECRET_BYTES);
  const idKey = randomness.bytes(ID_KEY_BYTES);
  const wrapped = await wrapVaultSecret(secret, context, kms, manifest.kmsKeyArn);
  const name = keyRecords.prefix + ID_KEY;
  const idKeyRecord = encodeCbor({ key: idKey });
  const changes: StoredChange[] = [
    { name: WRAPPED_SECRET, expectedVersion: 0, version: 1, value: wrapped },
    {
      name,
      expectedVersion: 0,
      version: 1,
      value: new RecordCipher(secret, context).seal({ name, version: 1 }, idKeyRecord),
    },
  ];
  for (const bytes of [secret, idKey, idKeyRecord]) bytes.fill(0);
  // A conflict means that another enclave was first: its vault is the one to open.
  return await store.write(changes).catch(storeUnavailable);
}

async function getWrapped(store: RecordStore): Promise<Uint8Array | null> {
  const record = await store.get(WRAPPED_SECRET).catch(storeUnavailable);
  return record?.value ?? null;
}

function storeUnavailable(cause: unknown): never {
  throw new StartError("RECORDS_UNAVAILABLE", "the parent's record store does not answer", { cause });
}
