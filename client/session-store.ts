/** Where a session's key is kept between two calls, two page loads or two runs. */
import { indexedDbTable } from "./indexed-db.ts";

export interface StoredSession {
  readonly deployment: string;
  readonly appId: string;
  readonly sessionId: string;
  readonly userId: string;
  /** By the enclave's clock. */
  readonly expiresAtMs: number;
  /** From its beginning to its end. */
  readonly lifetimeMs: number;
  /** P-256. */
  readonly pair: CryptoKeyPair;
}

export interface SessionStore {
  /** Whether private keys must be exportable to be kept here: in a file they must, in a browser's database they need not. */
  readonly extractable: boolean;
  load(): Promise<StoredSession | null>;
  /** Puts this in the place of what was there. */
  save(session: StoredSession): Promise<void>;
  clear(): Promise<void>;
}

/** For as long as the program runs. */
export function memoryStore(): SessionStore {
  let kept: StoredSession | null = null;
  return {
    extractable: false,
    load: async () => kept,
    save: async (session) => {
      kept = session;
    },
    clear: async () => {
      kept = null;
    },
  };
}

/**
 * In the browser's IndexedDB, for pages of this origin. The private key is not exportable: a page, and whoever runs
 * script in it, can stamp with it while the page is open and cannot carry it away.
 *
 * @param name - Of the session, for pages that hold several.
 */
export function indexedDbStore(name = "default"): SessionStore {
  const withTable = indexedDbTable("cloister", "sessions");
  return {
    extractable: false,
    load: async () => ((await withTable("readonly", (table) => table.get(name))) as StoredSession | undefined) ?? null,
    save: async (session) => {
      await withTable("readwrite", (table) => table.put({ ...session }, name));
    },
    clear: async () => {
      await withTable("readwrite", (table) => table.delete(name));
    },
  };
}
