/** The keys of one account in one region, and the file that keeps them. */
import { createSecretKey, type KeyObject, randomBytes, randomUUID } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { decodeHex, type JsonValue, parseStrictJson } from "../../protocol/index.ts";
import { KmsError, KmsStoreError } from "./errors.ts";
import { type KeyPolicy, type KeyPolicyInput, parseKeyPolicy } from "./policy-document.ts";

const STORE_FORMAT = "cloister simulator KMS store v1: holds keys in the clear";
const KEY_ID = /^[A-Za-z0-9-]{1,64}$/;
const BACKING_KEY_BYTES = 32;

export interface SimulatedKey {
  readonly keyId: string;
  readonly arn: string;
  readonly createdMs: number;
  readonly policy: KeyPolicy;
  readonly backingKey: KeyObject;
}

export class KeyStore {
  readonly #arnPrefix: string;
  readonly #owner: { readonly region: string; readonly accountId: string };
  readonly #file: string | null;
  #keys: ReadonlyMap<string, SimulatedKey>;

  /** @throws {@link KmsStoreError} if the file is there and cannot be used. */
  constructor(options: { readonly region: string; readonly accountId: string; readonly storeFile: string | null }) {
    const { region, accountId, storeFile } = options;
    this.#arnPrefix = `arn:aws:kms:${region}:${accountId}:key/`;
    this.#owner = { region, accountId };
    this.#file = storeFile;
    this.#keys = storeFile !== null && existsSync(storeFile) ? this.#load(storeFile) : new Map();
  }

  arns(): string[] {
    return [...this.#keys.values()].map(({ arn }) => arn);
  }

  /** @throws {@link KmsError} `AlreadyExistsException`, `ValidationException`, `MalformedPolicyDocumentException` */
  create(options: { readonly keyId?: string; readonly policy: KeyPolicyInput; readonly nowMs: number }): SimulatedKey {
    const { keyId = randomUUID() } = options;
    if (!KEY_ID.test(keyId))
      throw new KmsError("ValidationException", "expected a key id of letters, digits and hyphens");
    if (this.#keys.has(keyId)) throw new KmsError("AlreadyExistsException", `Key '${keyId}' exists`);
    const key = this.#key(keyId, options.nowMs, parseKeyPolicy(options.policy), randomBytes(BACKING_KEY_BYTES));
    this.#replace(key);
    return key;
  }

  /** @throws {@link KmsError} `NotFoundException`, `MalformedPolicyDocumentException` */
  putPolicy(keyIdOrArn: string, policy: KeyPolicyInput): void {
    this.#replace({ ...this.find(keyIdOrArn), policy: parseKeyPolicy(policy) });
  }

  /**
   * @param keyIdOrArn - A key id or a key's full ARN; aliases do not exist here.
   * @throws {@link KmsError} `NotFoundException`
   */
  find(keyIdOrArn: string): SimulatedKey {
    const keyId = keyIdOrArn.startsWith(this.#arnPrefix) ? keyIdOrArn.slice(this.#arnPrefix.length) : keyIdOrArn;
    const key = this.#keys.get(keyId);
    if (key !== undefined) return key;
    if (keyIdOrArn.startsWith("arn:") || keyIdOrArn.startsWith("alias/")) {
      throw new KmsError("NotFoundException", `${keyIdOrArn} is not found: expected a key of ${this.#arnPrefix}`);
    }
    throw new KmsError("NotFoundException", `Key '${this.#arnPrefix}${keyIdOrArn}' does not exist`);
  }

  #key(keyId: string, createdMs: number, policy: KeyPolicy, backingKey: Uint8Array): SimulatedKey {
    return { keyId, arn: `${this.#arnPrefix}${keyId}`, createdMs, policy, backingKey: createSecretKey(backingKey) };
  }

  /** On disk first: what a caller has been given must still be there after a crash. */
  #replace(key: SimulatedKey): void {
    const keys = new Map(this.#keys).set(key.keyId, key);
    if (this.#file !== null) writeAtomically(this.#file, this.#serialize(keys));
    this.#keys = keys;
  }

  #serialize(keys: ReadonlyMap<string, SimulatedKey>): string {
    const entries = [...keys.values()].map(({ keyId, createdMs, policy, backingKey }) => {
      return { keyId, createdMs, policy: policy.text, backingKey: backingKey.export().toString("hex") };
    });
    return `${JSON.stringify({ format: STORE_FORMAT, ...this.#owner, keys: entries }, null, 2)}\n`;
  }

  #load(file: string): ReadonlyMap<string, SimulatedKey> {
    let bytes: Uint8Array;
    try {
      bytes = readFileSync(file);
    } catch (cause) {
      throw new KmsStoreError("STORE_UNREADABLE", `cannot read ${file}`, { cause });
    }
    let store: Record<string, JsonValue>;
    try {
      store = objectOf(parseStrictJson(bytes));
      if (store["format"] !== STORE_FORMAT) throw new Error("another format");
    } catch (cause) {
      throw new KmsStoreError("STORE_MALFORMED", `${file} is not a store of the simulated KMS`, { cause });
    }
    if (store["region"] !== this.#owner.region || store["accountId"] !== this.#owner.accountId) {
      const { region, accountId } = this.#owner;
      throw new KmsStoreError("STORE_OF_ANOTHER_ACCOUNT", `${file} is not of account ${accountId} in ${region}`);
    }
    try {
      const entries = Array.isArray(store["keys"]) ? store["keys"] : null;
      if (entries === null) throw new Error("no list of keys");
      const keys = entries.map((entry) => this.#parseKey(objectOf(entry)));
      if (new Set(keys.map(({ keyId }) => keyId)).size !== keys.length) throw new Error("a key twice");
      return new Map(keys.map((key) => [key.keyId, key]));
    } catch (cause) {
      throw new KmsStoreError("STORE_MALFORMED", `${file} holds a key that cannot be read`, { cause });
    }
  }

  #parseKey({ keyId, createdMs, policy, backingKey }: Record<string, JsonValue>): SimulatedKey {
    if (typeof keyId !== "string" || !KEY_ID.test(keyId)) throw new Error("keyId");
    if (typeof createdMs !== "number" || typeof policy !== "string" || typeof backingKey !== "string") {
      throw new Error(`fields of ${keyId}`);
    }
    const bytes = decodeHex(backingKey);
    if (bytes.length !== BACKING_KEY_BYTES) throw new Error(`backing key of ${keyId}`);
    return this.#key(keyId, createdMs, parseKeyPolicy(policy), bytes);
  }
}

function objectOf(json: JsonValue | undefined): Record<string, JsonValue> {
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw new Error("expected an object");
  return json;
}

/** Old content or new content, whenever the machine stops. Readable by its owner alone. */
function writeAtomically(file: string, text: string): void {
  const fresh = `${file}.${randomUUID()}.new`;
  try {
    withFile(fresh, "wx", (handle) => {
      writeFileSync(handle, text);
      fsyncSync(handle);
    });
    renameSync(fresh, file);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw error;
  }
  // The rename itself lives in the folder.
  withFile(dirname(file), "r", fsyncSync);
}

function withFile(path: string, flags: "wx" | "r", work: (handle: number) => void): void {
  const handle = openSync(path, flags, 0o600);
  try {
    work(handle);
  } finally {
    closeSync(handle);
  }
}
