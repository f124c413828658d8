/** Where a session's key is kept between two calls, two page loads or two runs. */

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

const TABLE = "sessions";
const VERSION = 1;

/**
 * In the browser's IndexedDB, for pages of this origin. The private key is not exportable: a page, and whoever runs
 * script in it, can stamp with it while the page is open and cannot carry it away.
 *
 * @param name - Of the session, for pages that hold several.
 */
export function indexedDbStore(name = "default"): SessionStore {
  const withTable = async <Result>(
    mode: IDBTransactionMode,
    work: (table: IDBObjectStore) => IDBRequest<Result>,
  ): Promise<Result> => {
    const database = await openDatabase();
    try {
      const transaction = database.transaction(TABLE, mode);
      const result = await done(work(transaction.objectStore(TABLE)));
      await completed(transaction);
      return result;
    } finally {
      database.close();
    }
  };
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

async function openDatabase(): Promise<IDBDatabase> {
  const request = indexedDB.open("cloister", VERSION);
  request.onupgradeneeded = () => request.result.createObjectStore(TABLE);
  return done(request);
}

function done<Result>(request: IDBRequest<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function completed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
}
