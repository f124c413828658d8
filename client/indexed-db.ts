/** One table of a database of the browser's, for pages of this origin. */

/** @returns What the work gives, once it is written down. */
export type WithTable = <Result>(
  mode: IDBTransactionMode,
  work: (table: IDBObjectStore) => IDBRequest<Result>,
) => Promise<Result>;

const VERSION = 1;

export function indexedDbTable(databaseName: string, tableName: string): WithTable {
  return async (mode, work) => {
    const database = await openDatabase(databaseName, tableName);
    try {
      const transaction = database.transaction(tableName, mode);
      const result = await done(work(transaction.objectStore(tableName)));
      await completed(transaction);
      return result;
    } finally {
      database.close();
    }
  };
}

async function openDatabase(databaseName: string, tableName: string): Promise<IDBDatabase> {
  const request = indexedDB.open(databaseName, VERSION);
  request.onupgradeneeded = () => request.result.createObjectStore(tableName);
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
