/** The keys and aliases of one account in one region, kept in a file if there is one. */
import { type KeyObject, randomBytes, randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { KmsError } from "./errors.ts";
import { type KeyPolicyInput, parseKeyPolicy } from "./policy-document.ts";
import {
  defaultUsageOf,
  freshSecret,
  type KeySpec,
  type KeyUsage,
  materialOf,
  rotateIfDue,
  type SimulatedKey,
} from "./simulated-key.ts";
import { type Alias, isKeyId, readStoreFile, type StoreOwner, type StoreState, writeStoreFile } from "./store-file.ts";

export interface NewKey {
  /** `mrk-` and 32 hex digits make it a multi-region key. A fresh one unless given. */
  readonly keyId?: string;
  readonly policy: KeyPolicyInput;
  readonly nowMs: number;
  /** `SYMMETRIC_DEFAULT` unless given. */
  readonly spec?: KeySpec;
  /** What a key of that spec is for most, unless given. */
  readonly usage?: KeyUsage;
  readonly multiRegion?: boolean;
  readonly description?: string;
  readonly tags?: ReadonlyMap<string, string>;
  /** Fresh unless given. */
  readonly secret?: KeyObject;
}

export class KeyStore {
  readonly #owner: StoreOwner;
  readonly #file: string | null;
  #state: StoreState;

  /** @throws {@link KmsStoreError} if the file is there and cannot be used. */
  constructor(options: StoreOwner & { readonly storeFile: string | null }) {
    const { region, accountId, storeFile } = options;
    this.#owner = { region, accountId };
    this.#file = storeFile;
    const empty: StoreState = { keys: new Map(), aliases: new Map() };
    this.#state = storeFile !== null && existsSync(storeFile) ? readStoreFile(storeFile, this.#owner) : empty;
  }

  get #arnPrefix(): string {
    return `arn:aws:kms:${this.#owner.region}:${this.#owner.accountId}:`;
  }

  get region(): string {
    return this.#owner.region;
  }

  get keys(): readonly SimulatedKey[] {
    return [...this.#state.keys.values()];
  }

  get aliases(): readonly Alias[] {
    return [...this.#state.aliases.values()];
  }

  arns(): string[] {
    return this.keys.map(({ arn }) => arn);
  }

  /** @throws {@link KmsError} `AlreadyExistsException`, `ValidationException`, `MalformedPolicyDocumentException` */
  create(options: NewKey): SimulatedKey {
    const { nowMs, spec = "SYMMETRIC_DEFAULT", multiRegion = false } = options;
    const { keyId = multiRegion ? `mrk-${randomBytes(16).toString("hex")}` : randomUUID() } = options;
    if (!isKeyId(keyId)) {
      throw new KmsError("ValidationException", "expected a key id of letters, digits and hyphens, or mrk- and 32 hex");
    }
    if (this.#state.keys.has(keyId)) throw new KmsError("AlreadyExistsException", `Key '${keyId}' exists`);
    const key: SimulatedKey = {
      keyId,
      arn: `${this.#arnPrefix}key/${keyId}`,
      createdMs: nowMs,
      description: options.description ?? "",
      spec,
      usage: options.usage ?? defaultUsageOf(spec),
      policy: parseKeyPolicy(options.policy),
      state: { name: "Enabled" },
      materials: [materialOf(options.secret ?? freshSecret(spec), { createdMs: nowMs, origin: "FIRST" })],
      rotation: null,
      tags: options.tags ?? new Map(),
      grants: [],
    };
    this.update(key);
    return key;
  }

  /** @throws {@link KmsError} `NotFoundException`, `MalformedPolicyDocumentException` */
  putPolicy(keyIdOrArn: string, policy: KeyPolicyInput): void {
    this.update({ ...this.find(keyIdOrArn), policy: parseKeyPolicy(policy) });
  }

  /** Puts a changed key in place of the one of its id. */
  update(...keys: readonly SimulatedKey[]): void {
    const changed = new Map(this.#state.keys);
    for (const key of keys) changed.set(key.keyId, key);
    this.#save({ ...this.#state, keys: changed });
  }

  putAlias(alias: Alias): void {
    this.#save({ ...this.#state, aliases: new Map(this.#state.aliases).set(alias.name, alias) });
  }

  deleteAlias(name: string): void {
    const aliases = new Map(this.#state.aliases);
    aliases.delete(name);
    this.#save({ ...this.#state, aliases });
  }

  /** What time has done: keys whose waiting period is over are gone with their aliases, and rotations are made. */
  advanceTo(nowMs: number): void {
    const gone = this.keys.filter(({ state }) => state.name === "PendingDeletion" && state.deletionMs <= nowMs);
    if (gone.length > 0) {
      const ids = new Set(gone.map(({ keyId }) => keyId));
      const keys = new Map([...this.#state.keys].filter(([keyId]) => !ids.has(keyId)));
      const aliases = new Map([...this.#state.aliases].filter(([, { keyId }]) => !ids.has(keyId)));
      this.#save({ keys, aliases });
    }
    const rotated = this.keys.map((key) => [key, rotateIfDue(key, nowMs)] as const).filter(([old, key]) => old !== key);
    if (rotated.length > 0) this.update(...rotated.map(([, key]) => key));
  }

  /**
   * @param keyIdOrArn - A key id or a key's full ARN.
   * @throws {@link KmsError} `NotFoundException`
   */
  find(keyIdOrArn: string): SimulatedKey {
    const prefix = `${this.#arnPrefix}key/`;
    const keyId = keyIdOrArn.startsWith(prefix) ? keyIdOrArn.slice(prefix.length) : keyIdOrArn;
    const key = this.#state.keys.get(keyId);
    if (key !== undefined) return key;
    if (keyIdOrArn.startsWith("arn:") || keyIdOrArn.startsWith("alias/")) {
      throw new KmsError("NotFoundException", `${keyIdOrArn} is not found: expected a key of ${prefix}`);
    }
    throw new KmsError("NotFoundException", `Key '${prefix}${keyIdOrArn}' does not exist`);
  }

  /**
   * @param name - As {@link find} takes, or an alias's name or ARN.
   * @returns The key, and the alias by which it was called.
   * @throws {@link KmsError} `NotFoundException`
   */
  resolve(name: string): { readonly key: SimulatedKey; readonly alias: Alias | null } {
    const aliasName = this.aliasNameOf(name);
    if (aliasName === null) return { key: this.find(name), alias: null };
    const alias = this.#state.aliases.get(aliasName);
    if (alias === undefined) {
      throw new KmsError("NotFoundException", `Alias ${this.aliasArn(aliasName)} is not found.`);
    }
    return { key: this.find(alias.keyId), alias };
  }

  /** `alias/…` out of a name or an ARN of this account and region; null for anything else. */
  aliasNameOf(name: string): string | null {
    if (name.startsWith("alias/")) return name;
    return name.startsWith(`${this.#arnPrefix}alias/`) ? name.slice(this.#arnPrefix.length) : null;
  }

  aliasArn(name: string): string {
    return `${this.#arnPrefix}${name}`;
  }

  aliasesOf({ keyId }: SimulatedKey): string[] {
    return this.aliases.filter((alias) => alias.keyId === keyId).map(({ name }) => name);
  }

  /** On disk first: what a caller has been given must still be there after a crash. */
  #save(state: StoreState): void {
    if (this.#file !== null) writeStoreFile(this.#file, this.#owner, state);
    this.#state = state;
  }
}
