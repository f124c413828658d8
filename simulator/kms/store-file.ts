/** The file of a simulated KMS: one JSON object, replaced whole. Version 1, from before rotation, is read too. */
import { createPrivateKey, createSecretKey, type KeyObject, randomUUID } from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { decodeHex, type JsonValue, parseStrictJson } from "../../protocol/index.ts";
import { KmsStoreError } from "./errors.ts";
import type { Grant } from "./grant.ts";
import { parseKeyPolicy } from "./policy-document.ts";
import {
  defaultUsageOf,
  KEY_SPECS,
  KEY_USAGES,
  type KeyMaterial,
  type KeyState,
  materialOf,
  type SimulatedKey,
} from "./simulated-key.ts";

const FORMAT_V1 = "cloister simulator KMS store v1: holds keys in the clear";
const FORMAT = "cloister simulator KMS store v2: holds keys in the clear";
const SECRET_BYTES = 32;

export interface StoreOwner {
  readonly region: string;
  readonly accountId: string;
}

export interface Alias {
  /** With `alias/` before it. */
  readonly name: string;
  readonly keyId: string;
  readonly createdMs: number;
  readonly updatedMs: number;
}

export interface StoreState {
  /** By key id. */
  readonly keys: ReadonlyMap<string, SimulatedKey>;
  /** By name. */
  readonly aliases: ReadonlyMap<string, Alias>;
}

/** KMS Developer Guide, "Key identifiers": a multi-region key's id is `mrk-` and 32 hex digits. */
export function isKeyId(text: string): boolean {
  return text.startsWith("mrk-") ? /^mrk-[0-9a-f]{32}$/.test(text) : /^[A-Za-z0-9-]{1,64}$/.test(text);
}

/** KMS API Reference, CreateAlias. */
export function isAliasName(text: string): boolean {
  return /^alias\/[a-zA-Z0-9/_-]{1,250}$/.test(text);
}

/** @throws {@link KmsStoreError}; the file is left as it was. */
export function readStoreFile(file: string, owner: StoreOwner): StoreState {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw new KmsStoreError("STORE_UNREADABLE", `cannot read ${file}`, { cause });
  }
  let store: Fields;
  try {
    store = new Fields(parseStrictJson(bytes));
    if (store.text("format") !== FORMAT && store.text("format") !== FORMAT_V1) throw new Error("another format");
  } catch (cause) {
    throw new KmsStoreError("STORE_MALFORMED", `${file} is not a store of the simulated KMS`, { cause });
  }
  try {
    const of = { region: store.text("region"), accountId: store.text("accountId") };
    if (of.region !== owner.region || of.accountId !== owner.accountId) {
      const { region, accountId } = owner;
      throw new KmsStoreError("STORE_OF_ANOTHER_ACCOUNT", `${file} is not of account ${accountId} in ${region}`);
    }
    const old = store.text("format") === FORMAT_V1;
    const keys = byName(
      store.list("keys").map((key) => (old ? parseKeyV1(key, owner) : parseKey(key, owner))),
      ({ keyId }) => keyId,
    );
    const aliases = byName(old ? [] : store.list("aliases").map(parseAlias), ({ name }) => name);
    for (const { name, keyId } of aliases.values()) if (!keys.has(keyId)) throw new Error(`${name} of no key`);
    return { keys, aliases };
  } catch (cause) {
    if (cause instanceof KmsStoreError) throw cause;
    throw new KmsStoreError("STORE_MALFORMED", `${file} holds a key that cannot be read`, { cause });
  }
}

/** Old content or new content, whenever the machine stops. Readable by its owner alone. */
export function writeStoreFile(file: string, owner: StoreOwner, { keys, aliases }: StoreState): void {
  const store = {
    format: FORMAT,
    ...owner,
    keys: [...keys.values()].map(serializeKey),
    aliases: [...aliases.values()],
  };
  const fresh = `${file}.${randomUUID()}.new`;
  try {
    withFile(fresh, "wx", (handle) => {
      writeFileSync(handle, `${JSON.stringify(store, null, 2)}\n`);
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

function serializeKey({ arn: _derived, policy, materials, tags, grants, ...key }: SimulatedKey) {
  return {
    ...key,
    policy: policy.text,
    tags: Object.fromEntries(tags),
    grants: grants.map(({ encryptionContextEquals: equals, encryptionContextSubset: subset, ...grant }) => ({
      ...grant,
      ...(equals && { encryptionContextEquals: Object.fromEntries(equals) }),
      ...(subset && { encryptionContextSubset: Object.fromEntries(subset) }),
    })),
    materials: materials.map(({ createdMs, origin, secret }) => ({ createdMs, origin, secret: secretText(secret) })),
  };
}

function secretText(secret: KeyObject): string {
  const bytes = secret.type === "secret" ? secret.export() : secret.export({ type: "pkcs8", format: "der" });
  return bytes.toString("hex");
}

function parseKeyV1(fields: Fields, owner: StoreOwner): SimulatedKey {
  const keyId = keyIdOf(fields);
  const createdMs = fields.number("createdMs");
  return {
    keyId,
    arn: arnOf(keyId, owner),
    createdMs,
    description: "",
    spec: "SYMMETRIC_DEFAULT",
    usage: "ENCRYPT_DECRYPT",
    policy: parseKeyPolicy(fields.text("policy")),
    state: { name: "Enabled" },
    materials: [materialOf(parseSecret(fields.text("backingKey"), true), { createdMs, origin: "FIRST" })],
    rotation: null,
    tags: new Map(),
    grants: [],
  };
}

function parseKey(fields: Fields, owner: StoreOwner): SimulatedKey {
  const keyId = keyIdOf(fields);
  const spec = fields.word("spec", KEY_SPECS);
  const [first, ...later] = fields.list("materials").map((material) => parseMaterial(material, spec));
  if (first === undefined) throw new Error("a key without material");
  const rotation = fields.optionalFields("rotation");
  return {
    keyId,
    arn: arnOf(keyId, owner),
    createdMs: fields.number("createdMs"),
    description: fields.text("description"),
    spec,
    usage: fields.has("usage") ? fields.word("usage", KEY_USAGES) : defaultUsageOf(spec),
    policy: parseKeyPolicy(fields.text("policy")),
    state: parseState(fields.fields("state")),
    materials: [first, ...later],
    rotation: rotation && { periodDays: rotation.number("periodDays"), sinceMs: rotation.number("sinceMs") },
    tags: fields.texts("tags"),
    grants: fields.list("grants").map(parseGrant),
  };
}

function keyIdOf(fields: Fields): string {
  const keyId = fields.text("keyId");
  if (!isKeyId(keyId)) throw new Error("keyId");
  return keyId;
}

function arnOf(keyId: string, { region, accountId }: StoreOwner): string {
  return `arn:aws:kms:${region}:${accountId}:key/${keyId}`;
}

function parseState(fields: Fields): KeyState {
  const name = fields.word("name", ["Enabled", "Disabled", "PendingDeletion"]);
  return name === "PendingDeletion" ? { name, deletionMs: fields.number("deletionMs") } : { name };
}

function parseMaterial(fields: Fields, spec: SimulatedKey["spec"]): KeyMaterial {
  const createdMs = fields.number("createdMs");
  const origin = fields.word("origin", ["FIRST", "AUTOMATIC", "ON_DEMAND"]);
  return materialOf(parseSecret(fields.text("secret"), spec === "SYMMETRIC_DEFAULT"), { createdMs, origin });
}

function parseSecret(hex: string, symmetric: boolean): KeyObject {
  const bytes = decodeHex(hex);
  if (!symmetric) return createPrivateKey({ key: Buffer.from(bytes), format: "der", type: "pkcs8" });
  if (bytes.length !== SECRET_BYTES) throw new Error("a secret of another length");
  return createSecretKey(bytes);
}

function parseGrant(fields: Fields): Grant {
  const equals = fields.has("encryptionContextEquals") ? fields.texts("encryptionContextEquals") : undefined;
  const subset = fields.has("encryptionContextSubset") ? fields.texts("encryptionContextSubset") : undefined;
  return {
    grantId: fields.text("grantId"),
    name: fields.optionalText("name"),
    granteePrincipal: fields.text("granteePrincipal"),
    retiringPrincipal: fields.optionalText("retiringPrincipal"),
    operations: fields.textList("operations"),
    createdMs: fields.number("createdMs"),
    ...(equals && { encryptionContextEquals: equals }),
    ...(subset && { encryptionContextSubset: subset }),
  };
}

function parseAlias(fields: Fields): Alias {
  const name = fields.text("name");
  if (!isAliasName(name)) throw new Error("an alias's name");
  const [createdMs, updatedMs] = [fields.number("createdMs"), fields.number("updatedMs")];
  return { name, keyId: keyIdOf(fields), createdMs, updatedMs };
}

function byName<Entry>(entries: readonly Entry[], nameOf: (entry: Entry) => string): ReadonlyMap<string, Entry> {
  const named = new Map(entries.map((entry) => [nameOf(entry), entry]));
  if (named.size !== entries.length) throw new Error("one name twice");
  return named;
}

/** Reads members of one object of the file; any other type than the one asked for is an error. */
class Fields {
  readonly #json: Readonly<Record<string, JsonValue>>;

  constructor(json: JsonValue | undefined) {
    if (typeof json !== "object" || json === null || Array.isArray(json)) throw new Error("expected an object");
    this.#json = json;
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#json, name);
  }

  text(name: string): string {
    const value = this.#json[name];
    if (typeof value !== "string") throw new Error(`${name}: expected a string`);
    return value;
  }

  optionalText(name: string): string | null {
    return this.#json[name] === null ? null : this.text(name);
  }

  word<Word extends string>(name: string, words: readonly Word[]): Word {
    const value = this.text(name);
    const word = words.find((one) => one === value);
    if (word === undefined) throw new Error(`${name}: expected ${words.join(" or ")}`);
    return word;
  }

  number(name: string): number {
    const value = this.#json[name];
    if (typeof value !== "number") throw new Error(`${name}: expected a number`);
    return value;
  }

  list(name: string): Fields[] {
    return this.#array(name).map((item) => new Fields(item));
  }

  textList(name: string): string[] {
    return this.#array(name).map((item) => {
      if (typeof item !== "string") throw new Error(`${name}: expected strings`);
      return item;
    });
  }

  texts(name: string): ReadonlyMap<string, string> {
    const members = this.fields(name);
    return new Map(Object.keys(members.#json).map((key) => [key, members.text(key)]));
  }

  fields(name: string): Fields {
    return new Fields(this.#json[name]);
  }

  optionalFields(name: string): Fields | null {
    return this.#json[name] === null ? null : this.fields(name);
  }

  #array(name: string): JsonValue[] {
    const value = this.#json[name];
    if (!Array.isArray(value)) throw new Error(`${name}: expected a list`);
    return value;
  }
}
