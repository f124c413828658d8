/** Enclaves that rotate their vault over one store in memory, by a clock that stands until a test moves it. */
import { randomBytes } from "node:crypto";
import { encode } from "cborg";
import { expect } from "vitest";
import { Nsm } from "../../../enclave/nsm/nsm.ts";
import { Randomness } from "../../../enclave/nsm/randomness.ts";
import { TrustedClock } from "../../../enclave/trusted-clock.ts";
import { openVault, type Vault } from "../../../enclave/vault/open-vault.ts";
import { generationOf } from "../../../enclave/vault/record-cipher.ts";
import { RecordStore } from "../../../enclave/vault/record-store.ts";
import { change, type RecordKind } from "../../../enclave/vault/records.ts";
import { VaultRotation } from "../../../enclave/vault/vault-rotation.ts";
import { MAX_RECORD_CHANGES, z } from "../../../protocol/index.ts";
import { FakeKms, MANIFEST } from "../../support/fake-kms.ts";
import { MemoryParent } from "../../support/memory-parent.ts";

export const SETTLED_MS = 60_000;
export const COUNT = 40;
/** Several writes' worth: 64 go into one. */
export const MANY = 200;

export const notes: RecordKind<{ text: string }> = { prefix: "note/", schema: z.strictObject({ text: z.string() }) };

export interface Boot {
  readonly vault: Vault;
  readonly rotation: VaultRotation;
  readonly stop: () => void;
}

export class World {
  readonly parent = new MemoryParent();
  kms = new FakeKms();
  nowMs = 1_000;

  async boot(): Promise<Boot> {
    const device = { process: async () => encode({ GetRandom: { random: randomBytes(256) } }) };
    const randomness = await Randomness.seed(new Nsm(device, new TrustedClock(() => 0)));
    const { kms } = this;
    const vault = await openVault({ store: new RecordStore(this.parent.vsock), kms, manifest: MANIFEST, randomness });
    const stopping = new AbortController();
    const rotation = new VaultRotation({
      vault,
      kms,
      manifest: MANIFEST,
      randomness,
      nowMs: () => this.nowMs,
      // Every wait is over at once, and takes no time by this clock.
      sleep: () => new Promise(setImmediate),
      log: { info() {}, warn() {}, error() {} },
      signal: stopping.signal,
    });
    return { vault, rotation, stop: () => stopping.abort() };
  }

  generations(): Set<number | null> {
    const sealed = [...this.parent.records.values()].filter(({ name }) => !name.startsWith("vault/"));
    return new Set(sealed.map(({ value }) => generationOf(value)));
  }

  wrapped(): string[] {
    return [...this.parent.records.keys()].filter((name) => name.startsWith("vault/")).sort();
  }
}

export async function fill({ vault }: Boot, count = COUNT): Promise<void> {
  const names = Array.from({ length: count }, (_, at) => at);
  for (let from = 0; from < count; from += MAX_RECORD_CHANGES) {
    const some = names.slice(from, from + MAX_RECORD_CHANGES);
    await vault.records.write(some.map((at) => change(notes, `a/${at}`, null, { text: `text ${at}` })));
  }
}

export async function expectAllThere({ vault }: Boot, count = COUNT): Promise<void> {
  for (let at = 0; at < count; at += 1) {
    expect((await vault.records.read(notes, `a/${at}`))?.value.text).toBe(`text ${at}`);
  }
}

/** What an enclave that is gone began, another goes on with once it has seen no beat for so long. */
const TAKEN_OVER_MS = 20_000;

/** Looks at who is at work, and lets so much time pass. */
export async function outwait(world: World): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 20));
  world.nowMs += TAKEN_OVER_MS;
}

export async function finish(world: World, { rotation }: Boot): Promise<void> {
  await expect.poll(() => world.generations().size).toBe(1);
  world.nowMs += SETTLED_MS;
  await expect.poll(() => rotation.status().retiring).toEqual([]);
}
