/** What is left in memory of a set of shares, once it is sealed and answered: two of them would be the key. */
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { Custody, type CustodyRequest } from "../../../enclave/custody/custody.ts";
import { secretOf } from "../../../enclave/custody/put-together.ts";
import type { RecoveryValue } from "../../../enclave/custody/recovery-record.ts";
import type { SplitSecret } from "../../../enclave/custody/split-secret.ts";
import { RecordStore } from "../../../enclave/vault/record-store.ts";
import { type ReadRecord, type RecordKind, Records } from "../../../enclave/vault/records.ts";
import type { StoredWallet } from "../../../enclave/wallets/wallet-value.ts";
import { generateShareKey, sharePublicKeyOf } from "../../../protocol/index.ts";
import { bootParts, sameCipher } from "../../support/enclave-parts.ts";
import { MemoryParent } from "../../support/memory-parent.ts";

const APP = "app_1";
const NOW = 1_790_000_000_000;
const WORK = { issuer: "https://one.example", subject: "work" };

/** Keeps whatever was read or written. */
class Watched extends Records {
  readonly passed: unknown[] = [];

  override async read<Value>(kind: RecordKind<Value>, name: string, known: ReadRecord<Value> | null = null) {
    const read = await super.read(kind, name, known);
    this.passed.push(read?.value);
    return read;
  }

  override async write(...[changes, also]: Parameters<Records["write"]>): Promise<boolean> {
    this.passed.push(...changes.map(({ value }) => value));
    return await super.write(changes, also);
  }

  /** Shares that went through here, whatever they are by now. */
  shares(): Uint8Array[] {
    return this.passed.flatMap((value) => {
      const { secret, share } = (value ?? {}) as Partial<StoredWallet & RecoveryValue>;
      return [...(secret?.kind === "split" ? [secret.operatorShare] : []), ...(share === undefined ? [] : [share])];
    });
  }
}

test("nothing is left of a set of shares that was made, recovered from and made again", async () => {
  const parent = new MemoryParent();
  const records = new Watched(new RecordStore(parent.vsock), sameCipher());
  const parts = await bootParts(parent, () => NOW, records);
  const { users } = parts;
  const custody = new Custody(parts);
  const userId = await users.changeByIdentity(APP, WORK, (user, id) => ({ kind: "write", user, result: id }));
  const requestBy = (loginId: string): CustodyRequest => {
    const login = { loginId, atMs: NOW };
    return {
      appId: APP,
      userId,
      by: "ses_1",
      audience: `test/${APP}`,
      requestId: randomUUID(),
      login,
      share: undefined,
    };
  };
  const to = async () => ({
    devicePublicKey: await sharePublicKeyOf(await generateShareKey(false)),
    recovery: { kind: "held" as const },
  });
  const { wallet } = await custody.create(requestBy("idn_home"), { wallet: { kind: "hd" }, ...(await to()) });
  const work = users.identityIdOf(APP, WORK);
  await custody.recover(requestBy(work), { walletId: wallet.walletId, ...(await to()) });
  // Made: two written; recovered: two read twice over and two written.
  expect(records.shares().length).toBeGreaterThanOrEqual(6);
  for (const share of records.shares()) expect(share.every((byte) => byte === 0)).toBe(true);
});

test("a share that a record holds is wiped, also where nothing can be made of it", async () => {
  const brought = new Uint8Array(40).fill(7);
  const of = { walletId: `wal_${"0".repeat(32)}`, role: "recovery" as const, brought };
  await expect(secretOf({} as SplitSecret, of, (length) => new Uint8Array(length))).rejects.toMatchObject({
    code: "SHARE_MALFORMED",
  });
  expect(brought.every((byte) => byte === 0)).toBe(true);
});
