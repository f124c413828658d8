/**
 * A new generation of the vault: new records are sealed under it at once, old ones when they are next written or when
 * the background pass reaches them, and the old generation is retired when none is left. Whatever interrupts it, both
 * generations stay readable until then, and the next boot goes on.
 */
import { timingSafeEqual } from "node:crypto";
import { RequestError, type VaultStatus } from "../../protocol/index.ts";
import { StartError } from "../errors.ts";
import type { AttestedKms } from "../kms/attested-kms.ts";
import type { Log } from "../log.ts";
import type { Manifest } from "../manifest.ts";
import type { Randomness } from "../nsm/randomness.ts";
import {
  GENERATIONS,
  type Generations,
  generationRecords,
  ID_KEY,
  idKeys,
  type Vault,
  wrappedSecretName,
} from "./open-vault.ts";
import { generationOf } from "./record-cipher.ts";
import { change, type ReadRecord } from "./records.ts";
import { unwrapVaultSecret, VAULT_SECRET_BYTES, wrapVaultSecret } from "./vault-secret.ts";

/** A write that was under way when the generation changed has been made or given up by then: far over its deadline. */
const SETTLE_MS = 60_000;
const POLL_MS = 250;
const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 30_000;

export interface VaultRotationOptions {
  readonly vault: Vault;
  readonly kms: AttestedKms;
  readonly manifest: Manifest;
  readonly randomness: Randomness;
  readonly nowMs: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export class VaultRotation {
  readonly #options: VaultRotationOptions;
  #generations: Generations;
  #resealed = 0;
  #switchedAtMs: number;
  #beginning: Promise<void> | undefined;
  #resealing: Promise<void> | undefined;

  constructor(options: VaultRotationOptions) {
    this.#options = options;
    this.#generations = options.vault.generations;
    this.#switchedAtMs = options.nowMs();
    this.#resealIfNeeded();
  }

  status(): VaultStatus {
    const { current, readable } = this.#generations;
    return {
      generation: current,
      retiring: readable.filter((generation) => generation !== current),
      resealed: this.#resealed,
    };
  }

  /**
   * Begins a new generation, unless one is being brought in already.
   *
   * @throws {@link RequestError} `KMS_FAILED`, `RECORD_CONFLICT`, and what records throw
   */
  async begin(): Promise<VaultStatus> {
    this.#beginning ??= this.#begin().finally(() => {
      this.#beginning = undefined;
    });
    await this.#beginning;
    return this.status();
  }

  async #begin(): Promise<void> {
    const { records, cipher } = this.#options.vault;
    // Read anew: an earlier attempt whose answer was lost may have been made.
    const read = await records.read(generationRecords, GENERATIONS);
    const idKey = await records.read(idKeys, ID_KEY);
    if (read === null || idKey === null)
      throw new RequestError("RECORD_ROLLED_BACK", "the vault's own records are gone");
    try {
      if (read.value.readable.length === 1) await this.#makeGeneration(read, idKey, read.value.current + 1);
      else if (read.value.current !== this.#generations.current) this.#adopt(read.value);
    } finally {
      idKey.value.key.fill(0);
    }
    cipher.use(this.#generations.current);
    this.#resealIfNeeded();
  }

  async #makeGeneration(
    read: ReadRecord<Generations>,
    idKey: ReadRecord<{ key: Uint8Array }>,
    generation: number,
  ): Promise<void> {
    const { vault, randomness } = this.#options;
    const secret = randomness.bytes(VAULT_SECRET_BYTES);
    try {
      const wrapped = await this.#wrap(secret, generation);
      vault.cipher.add(generation, secret);
      const generations = { current: generation, readable: [...read.value.readable, generation] };
      const isWritten = await vault.records.write(
        [
          change(generationRecords, GENERATIONS, read, generations),
          change(idKeys, ID_KEY, idKey, { key: idKey.value.key }),
        ],
        {
          generation,
          unsealed: [{ name: wrappedSecretName(generation), expectedVersion: 0, version: 1, value: wrapped }],
        },
      );
      if (!isWritten) {
        vault.cipher.remove(generation);
        throw new RequestError(
          "RECORD_CONFLICT",
          "the vault was rotated by another enclave, or by an attempt thought lost: boot this one anew",
        );
      }
      this.#adopt(generations);
    } finally {
      secret.fill(0);
    }
  }

  /** Wraps and opens again: nothing is sealed under a secret that KMS would not give back. */
  async #wrap(secret: Uint8Array, generation: number): Promise<Uint8Array> {
    const { kms, manifest } = this.#options;
    const context = { deployment: manifest.deployment, generation };
    try {
      const wrapped = await wrapVaultSecret(secret, context, kms, manifest.kmsKeyArn);
      const opened = await unwrapVaultSecret(wrapped, context, kms, manifest.kmsKeyArn);
      const isSame = timingSafeEqual(opened, secret);
      opened.fill(0);
      if (!isSame) throw new StartError("VAULT_INVALID", "KMS gives back another secret");
      return wrapped;
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      throw new RequestError("KMS_FAILED", `${error.code}: ${error.message}`, { cause: error });
    }
  }

  #adopt(generations: Generations): void {
    this.#generations = generations;
    this.#switchedAtMs = this.#options.nowMs();
    this.#resealed = 0;
  }

  #resealIfNeeded(): void {
    if (this.#generations.readable.length === 1 || this.#resealing !== undefined) return;
    this.#resealing = this.#resealWithRetries().finally(() => {
      this.#resealing = undefined;
    });
  }

  /** Never rejects: the parent may be away for as long as it likes. */
  async #resealWithRetries(): Promise<void> {
    const { log, sleep, signal } = this.#options;
    log.info("vault-resealing", { generation: this.#generations.current });
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      try {
        await this.#resealAll();
        log.info("vault-generation-retired", { count: this.#resealed });
        return;
      } catch (error) {
        log.warn("vault-resealing-waits", { code: error instanceof RequestError ? error.code : "INTERNAL", attempt });
        await sleep(Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** attempt));
      }
    }
  }

  /** Passes over all records until one finds none of an older generation, after every old write has settled. */
  async #resealAll(): Promise<void> {
    const { nowMs, sleep, signal } = this.#options;
    while (!signal.aborted) {
      const isSettled = nowMs() >= this.#switchedAtMs + SETTLE_MS;
      const found = await this.#pass();
      if (found > 0) continue;
      if (isSettled) return await this.#retire();
      while (nowMs() < this.#switchedAtMs + SETTLE_MS && !signal.aborted) await sleep(POLL_MS);
    }
  }

  /** @returns How many records of an older generation there were. */
  async #pass(): Promise<number> {
    const { records, cipher } = this.#options.vault;
    let found = 0;
    let after: string | null = null;
    do {
      const page = await records.pageOfAll(after);
      after = page.at(-1)?.name ?? null;
      for (const record of page) {
        const isWrapped = record.name.startsWith("vault/");
        if (isWrapped || generationOf(record.value) === cipher.generation) continue;
        found += 1;
        if (await records.reseal(record)) this.#resealed += 1;
      }
    } while (after !== null && !this.#options.signal.aborted);
    return found;
  }

  async #retire(): Promise<void> {
    const { records, cipher } = this.#options.vault;
    const read = await records.read(generationRecords, GENERATIONS);
    if (read === null) throw new RequestError("RECORD_ROLLED_BACK", "the vault's own records are gone");
    const { current, readable } = read.value;
    const retired = readable.filter((generation) => generation !== current);
    const generations = { current, readable: [current] };
    const isWritten = await records.write([change(generationRecords, GENERATIONS, read, generations)], {
      unsealed: retired.map((generation) => ({
        name: wrappedSecretName(generation),
        expectedVersion: 1,
        version: 2,
        value: null,
      })),
    });
    if (!isWritten) throw new RequestError("RECORD_CONFLICT", "the vault's generations changed meanwhile");
    for (const generation of retired) cipher.remove(generation);
    this.#generations = generations;
  }
}
