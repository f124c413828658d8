/** Which database a cluster keeps its records in: one that it starts, or one that is there. */
import { writeFile } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";
import { SimulatorError } from "./errors.ts";
import { startLocalPostgres } from "./local-postgres.ts";

/** As `parent.json` names a store. */
export type RecordsConfig = Readonly<Record<string, unknown>> & { readonly kind: "postgres" };

const MAX_CONNECTIONS = 8;

/**
 * @param database - `local`: a private server, with synchronous commits, that goes with the cluster. Else
 *   `postgres://user[:password]@host[:port]/database[?sslrootcert=file]`; TLS is left out for a loopback address alone.
 * @throws {@link SimulatorError} `DATABASE_INVALID`, `POSTGRES_ABSENT`
 */
export async function recordsIn(
  database: string,
  runFolder: string,
  cleanup: AsyncDisposableStack,
): Promise<RecordsConfig> {
  if (database === "local") {
    const { admin } = await startLocalPostgres({}, (undo) => cleanup.defer(undo));
    return { kind: "postgres", ...admin, tls: { kind: "none" }, maxConnections: MAX_CONNECTIONS };
  }
  const url = URL.parse(database);
  const isKnown = url?.protocol === "postgres:" || url?.protocol === "postgresql:";
  if (url === null || !isKnown || url.username === "" || url.pathname.length < 2) {
    throw new SimulatorError("DATABASE_INVALID", "expected postgres://user@host/database, or local");
  }
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const passwordFile = url.password === "" ? null : join(runFolder, "postgres-password");
  if (passwordFile !== null) await writeFile(passwordFile, decodeURIComponent(url.password), { mode: 0o600 });
  const isLoopback = isIP(host) !== 0 && (host === "::1" || host.startsWith("127."));
  return {
    kind: "postgres",
    host,
    port: url.port === "" ? 5432 : Number(url.port),
    database: decodeURIComponent(url.pathname.slice(1)),
    user: decodeURIComponent(url.username),
    passwordFile,
    tls: isLoopback ? { kind: "none" } : { kind: "verify-full", caFile: url.searchParams.get("sslrootcert") },
    maxConnections: MAX_CONNECTIONS,
  };
}
