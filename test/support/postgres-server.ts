/** A PostgreSQL server that ends with a test. */
import { onTestFinished } from "vitest";
import { type PostgresServer, startLocalPostgres } from "../../simulator/local-postgres.ts";

export { isPostgresAbsent, type PostgresServer } from "../../simulator/local-postgres.ts";

/** @param cleanUp - At the end of the running test unless given. */
export function startPostgres(
  settings: Readonly<Record<string, string>> = {},
  cleanUp: (undo: () => Promise<void>) => void = onTestFinished,
  files: Readonly<Record<string, string>> = {},
): Promise<PostgresServer> {
  return startLocalPostgres(settings, cleanUp, files);
}
