/** Where a device keeps its share of a wallet: sealed to a key of the device's own, as the enclave sealed it. */
import type { Recovery } from "../protocol/index.ts";
import { indexedDbTable } from "./indexed-db.ts";
import type { RecoveryFile } from "./recovery-file.ts";

/** A sharing that was asked for and not answered yet: the answer is for this key, and is had again under this id. */
export interface PendingShare {
  readonly operation: "recover_wallet" | "reshare_wallet";
  readonly requestId: string;
  readonly pair: CryptoKeyPair;
  readonly recovery: Recovery;
  /** What the recovery file will say of who opens it; null where the vault holds the share. */
  readonly recipient: RecoveryFile["recipient"] | null;
}

export interface StoredDevice {
  readonly deployment: string;
  readonly appId: string;
  readonly walletId: string;
  /** X25519; it opens the share and nothing else. */
  readonly pair: CryptoKeyPair;
  /** Null while a device waits for what another one hands over. */
  readonly sealedShare: string | null;
  readonly pending?: PendingShare;
}

export interface DeviceStore {
  /** Whether private keys must be exportable to be kept here: in a file they must, in a browser's database they need not. */
  readonly extractable: boolean;
  load(walletId: string): Promise<StoredDevice | null>;
  /** Puts this in the place of what was there of the same wallet. */
  save(device: StoredDevice): Promise<void>;
  clear(walletId: string): Promise<void>;
}

/** For as long as the program runs. */
export function memoryDeviceStore(): DeviceStore {
  const kept = new Map<string, StoredDevice>();
  return {
    extractable: false,
    load: async (walletId) => kept.get(walletId) ?? null,
    save: async (device) => {
      kept.set(device.walletId, device);
    },
    clear: async (walletId) => {
      kept.delete(walletId);
    },
  };
}

/**
 * In the browser's IndexedDB, for pages of this origin. The key is not exportable: whoever copies the database has a
 * share that does not open. Browsers may clear it: a recovery share is what helps then.
 */
export function indexedDbDeviceStore(): DeviceStore {
  const withTable = indexedDbTable("cloister-devices", "devices");
  return {
    extractable: false,
    load: async (walletId) =>
      ((await withTable("readonly", (table) => table.get(walletId))) as StoredDevice | undefined) ?? null,
    save: async (device) => {
      await withTable("readwrite", (table) => table.put({ ...device }, device.walletId));
    },
    clear: async (walletId) => {
      await withTable("readwrite", (table) => table.delete(walletId));
    },
  };
}
