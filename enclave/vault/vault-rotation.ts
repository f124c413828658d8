/**
 * A new generation of the vault: new records are sealed under it at once, old ones when they are next written or when
 * the background pass reaches them, and the old generation is retired when none is left. Whatever interrupts it, both
 * generations stay readable until then, and the next boot goes on.
 *
 * Several enclaves agree on it through records alone (docs/decisions/0512-generations-and-several-enclaves.md). What is
 * current stands in `keys/vault`; no enclave seals a record without having looked at that within `LOOK_AGAIN_MS`, and one
 * that meets a record of a generation it does not know looks at once. One of them makes the pass: the one whose beat stands
 * in `keys/resealer`.
 */
import { timingSafeEqual } from "node:crypto";
import { RequestError, type VaultStatus, z } from "../../protocol/index.ts";
import { StartError } from "../errors.ts";
import type { AttestedKms } from "../kms/attested-kms.ts";
import type { Log } from "../log.ts";
import type { Manifest } from "../manifest.ts";
import type { Randomness } from "../nsm/randomness.ts";
import { Ids } from "./ids.ts";
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
import { change, type GenerationWatch, type ReadRecord, type RecordKind } from "./records.ts";
import { ResealPass } from "./reseal-pass.ts";
import { unwrapVaultSecret, VAULT_SECRET_BYTES, wrapVaultSecret } from "./vault-secret.ts";

/**
 * A write that was under way when the generation changed has been made or given up by then, at every enclave: far over
 * {@link LOOK_AGAIN_MS} and a write's deadline together.
 */
const SETTLE_MS = 60_000;
/** How long what is known of the generations is good for. */
const LOOK_AGAIN_MS = 5_000;
/** A generation that could not be learnt is not asked for again at once: what names it may be of the parent's making. */
const FOLLOW_AGAIN_MS = 1_000;
const POLL_MS = 250;
const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 30_000;
/** Of the enclave that makes the pass; who has not beaten for so long has died, and another goes on. */
const BEAT_MS = 5_000;
const TAKE_OVER_MS = 20_000;
const BEATER_BYTES = 16;

const beatSchema = z.strictObject({ by: z.string(), count: z.int() });
type Beat = z.output<typeof beatSchema>;
const beatRecords: RecordKind<Beat> = { prefix: "keys/", schema: beatSchema };
const RESEALER = "resealer";

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

export class VaultRotation implements GenerationWatch {
  readonly #options: VaultRotationOptions;
  /** Of this boot. */
  readonly #by: string;
  #generations: Generations;
  /** When `keys/vault` was last asked for. */
  #lookedAtMs: number;
  #looking: Promise<void> | undefined;
  #notFollowed: { readonly generation: number; readonly atMs: number; readonly error: RequestError } | undefined;
  #beat: ReadRecord<Beat> | null = null;
  #beatAtMs = 0;
  #resealed = 0;
  #switchedAtMs: number;
  #beginning: Promise<void> | undefined;
  #resealing: Promise<void> | undefined;
  /** The one that was begun last, and whether every write of before the change had settled by then. */
  #pass: { readonly pass: ResealPass; readonly isSettled: boolean } | undefined;

  constructor(options: VaultRotationOptions) {
    this.#options = options;
    this.#generations = options.vault.generations;
    this.#switchedAtMs = options.nowMs();
    this.#lookedAtMs = options.nowMs();
    this.#by = Buffer.from(options.randomness.bytes(BEATER_BYTES)).toString("hex");
    options.vault.records.watchGenerations(this);
    this.#resealIfNeeded();
  }

  /**
   * As it stands in the records now, whichever enclave is at work on it.
   *
   * @throws {@link RequestError} `KMS_FAILED`, and what records throw
   */
  async currentStatus(): Promise<VaultStatus> {
    await this.#look();
    return this.status();
  }

  /** @throws {@link RequestError} `RECORDS_UNAVAILABLE`, `KMS_FAILED`, and what reading records throws */
  async beforeSealing(): Promise<void> {
    if (this.#options.nowMs() - this.#lookedAtMs < LOOK_AGAIN_MS) return;
    await this.#look();
  }

  /**
   * Fetches the secret of a generation that another enclave has brought in. Where there is none, the record that names it
   * does not open.
   *
   * @throws {@link RequestError} `KMS_FAILED`, and what reading records throws
   */
  async follow(generation: number): Promise<void> {
    const { nowMs, vault } = this.#options;
    const before = this.#notFollowed;
    if (before?.generation === generation && nowMs() - before.atMs < FOLLOW_AGAIN_MS) throw before.error;
    try {
      // The record may have been given before this enclave had looked, and be known by now.
      await this.#look();
      if (vault.cipher.has(generation)) return;
      throw new RequestError("RECORD_TAMPERED", "a stored record is of a generation that the vault does not have");
    } catch (error) {
      if (error instanceof RequestError) this.#notFollowed = { generation, atMs: nowMs(), error };
      throw error;
    }
  }

  /** Many may wait for it: one look runs. */
  #look(): Promise<void> {
    this.#looking ??= this.#lookOnce().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #lookOnce(): Promise<void> {
    const { nowMs, vault } = this.#options;
    const { records, store } = vault;
    const atMs = nowMs();
    // Which generation it is sealed under says which is current, and has to be known before it can be opened.
    const stored = await store.get(generationRecords.prefix + GENERATIONS);
    const named = stored === null ? null : generationOf(stored.value);
    if (named !== null) await this.#fetch(named);
    const read = await records.read(generationRecords, GENERATIONS);
    if (read === null) throw new RequestError("RECORD_ROLLED_BACK", "the vault's own records are gone");
    const { current, readable } = read.value;
    for (const generation of readable) await this.#fetch(generation);
    if (current !== this.#generations.current || readable.length !== this.#generations.readable.length) {
      await this.#checkIds();
      this.#adopt(read.value);
    }
    this.#lookedAtMs = atMs;
    this.#resealIfNeeded();
  }

  /** From KMS, under which the store has it; nothing where the store has none. */
  async #fetch(generation: number): Promise<void> {
    const { kms, manifest, vault } = this.#options;
    if (vault.cipher.has(generation)) return;
    const wrapped = await vault.store.get(wrappedSecretName(generation));
    if (wrapped === null) return;
    const context = { deployment: manifest.deployment, generation };
    const secret = await unwrapVaultSecret(wrapped.value, context, kms, manifest.kmsKeyArn).catch((error: unknown) => {
      throw asRequestError(error);
    });
    vault.cipher.add(generation, secret);
    secret.fill(0);
  }

  /** The new generation is of this very vault, and not of another one that the same image made on an empty store. */
  async #checkIds(): Promise<void> {
    const { records, ids } = this.#options.vault;
    const read = await records.read(idKeys, ID_KEY);
    if (read === null) throw new RequestError("RECORD_ROLLED_BACK", "the vault's own records are gone");
    const isSame = timingSafeEqual(new Ids(read.value.key).vaultId(), ids.vaultId());
    read.value.key.fill(0);
    if (!isSame) throw new RequestError("RECORD_TAMPERED", "the parent shows the records of another vault");
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
    const { records } = this.#options.vault;
    // Anew: an earlier attempt whose answer was lost may have been made, or another enclave's.
    await this.#look();
    const read = await records.read(generationRecords, GENERATIONS);
    const idKey = await records.read(idKeys, ID_KEY);
    if (read === null || idKey === null)
      throw new RequestError("RECORD_ROLLED_BACK", "the vault's own records are gone");
    try {
      if (read.value.readable.length === 1) await this.#makeGeneration(read, idKey, read.value.current + 1);
    } finally {
      idKey.value.key.fill(0);
    }
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
        // Another enclave was first, or an attempt of this one's that was thought lost: then this is that rotation.
        await this.#look();
        if (this.#generations.current === generation) return;
        throw new RequestError("RECORD_CONFLICT", "the vault's records keep changing: ask again");
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
      throw asRequestError(error);
    }
  }

  #adopt(generations: Generations): void {
    const { cipher } = this.#options.vault;
    if (generations.current !== this.#generations.current) {
      this.#switchedAtMs = this.#options.nowMs();
      this.#resealed = 0;
    }
    const before = this.#generations.readable;
    this.#generations = generations;
    cipher.use(generations.current);
    for (const each of before) if (!generations.readable.includes(each)) cipher.remove(each);
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
        if (!this.#isOver) continue;
        log.info("vault-generation-retired", { count: this.#resealed });
        return;
      } catch (error) {
        if (signal.aborted) return;
        log.warn("vault-resealing-waits", { code: error instanceof RequestError ? error.code : "INTERNAL", attempt });
        await sleep(Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** attempt));
      }
    }
  }

  get #isOver(): boolean {
    return this.#generations.readable.length === 1;
  }

  /**
   * Waits until this enclave is the one that makes the pass, or until there is nothing to pass over any more.
   *
   * @returns False in the latter case.
   */
  async #takeOver(): Promise<boolean> {
    const { nowMs, sleep, signal, vault } = this.#options;
    let seen: number | undefined;
    let seenAtMs = nowMs();
    await this.#look();
    while (!signal.aborted) {
      const read = await vault.records.read(beatRecords, RESEALER);
      const version = read?.version ?? 0;
      if (version !== seen) [seen, seenAtMs] = [version, nowMs()];
      // By this enclave's clock alone: it has stood there unchanged for so long.
      const isFree = read === null || read.value.by === this.#by || nowMs() - seenAtMs >= TAKE_OVER_MS;
      if (isFree && (await this.#writeBeat(read))) return true;
      await sleep(POLL_MS);
      await this.#look();
      if (this.#isOver) return false;
    }
    return false;
  }

  /** @returns False if another enclave has taken over. */
  async #writeBeat(read: ReadRecord<Beat> | null): Promise<boolean> {
    const { nowMs, vault } = this.#options;
    const beat: Beat = { by: this.#by, count: (read?.value.count ?? 0) + 1 };
    if (!(await vault.records.write([change(beatRecords, RESEALER, read, beat)]))) return false;
    this.#beat = await vault.records.read(beatRecords, RESEALER);
    this.#beatAtMs = nowMs();
    return this.#beat?.value.by === this.#by;
  }

  async #keepBeating(): Promise<void> {
    if (this.#options.nowMs() - this.#beatAtMs < BEAT_MS) return;
    if (!(await this.#writeBeat(this.#beat))) throw new RequestError("RECORD_CONFLICT", "another enclave goes on");
  }

  /** Passes over all records until one finds none of an older generation, after every old write has settled. */
  async #resealAll(): Promise<void> {
    const { nowMs, sleep, signal } = this.#options;
    if (!(await this.#takeOver())) return;
    while (!signal.aborted) {
      const { pass, isSettled } = this.#passToMake();
      const found = await pass.run();
      // Stopped in its middle, it does not know what is left.
      if (found === null) return;
      if (found > 0) continue;
      if (isSettled) return await this.#retire(pass.generation);
      while (nowMs() < this.#switchedAtMs + SETTLE_MS && !signal.aborted) {
        await sleep(POLL_MS);
        await this.#keepBeating();
      }
    }
  }

  /**
   * One that failed goes on: with very many records, none would ever come to its end otherwise. What the last one has found
   * stays true until what follows from it is done as well.
   */
  #passToMake(): { readonly pass: ResealPass; readonly isSettled: boolean } {
    const { vault, nowMs, signal } = this.#options;
    const { records, cipher } = vault;
    const before = this.#pass;
    if (before?.pass.generation === cipher.generation) {
      const isLast = before.isSettled && before.pass.found === 0;
      if (isLast || !before.pass.isOver) return before;
    }
    const pass = new ResealPass({
      ...{ records, cipher, signal },
      keepBeating: () => this.#keepBeating(),
      onResealed: (count) => {
        this.#resealed += count;
      },
    });
    this.#pass = { pass, isSettled: nowMs() >= this.#switchedAtMs + SETTLE_MS };
    return this.#pass;
  }

  /** @param passedFor - The generation of which all records are, as a whole pass has found. */
  async #retire(passedFor: number): Promise<void> {
    const { records } = this.#options.vault;
    const read = await records.read(generationRecords, GENERATIONS);
    if (read === null) throw new RequestError("RECORD_ROLLED_BACK", "the vault's own records are gone");
    const { current, readable } = read.value;
    if (current !== passedFor) throw new RequestError("RECORD_CONFLICT", "there is a newer generation");
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
    this.#adopt(generations);
  }
}

function asRequestError(error: unknown): unknown {
  if (!(error instanceof StartError)) return error;
  // What does not open is no secret of this vault's, whoever put it there.
  if (error.code === "VAULT_INVALID") return new RequestError("RECORD_TAMPERED", error.message, { cause: error });
  return new RequestError("KMS_FAILED", `${error.code}: ${error.message}`, { cause: error });
}
