import type { Logger } from "pino";
import { openPostgresRecordStore, type PostgresOptions } from "./postgres-record-store.ts";
import type { RecordStore } from "./record-store.ts";
import { openSqliteRecordStore } from "./sqlite-record-store.ts";

/** Which store, and where. */
export type RecordsOptions =
  | { readonly kind: "sqlite"; readonly file: string }
  | ({ readonly kind: "postgres" } & PostgresOptions);

/** @throws StartError; nothing is left open. */
export async function openRecordStore(options: RecordsOptions, log: Logger): Promise<RecordStore> {
  switch (options.kind) {
    case "sqlite":
      return openSqliteRecordStore(options.file);
    case "postgres":
      return openPostgresRecordStore(options, log);
  }
}
