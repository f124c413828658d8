/** The records' schema in PostgreSQL. Migrations are numbered, run one after the other, and never change once released. */
import type { ClientBase } from "pg";
import { StartError } from "../errors.ts";

/**
 * `COLLATE "C"` compares bytes, as every store must. Values are ciphertext: EXTERNAL spares the attempt to compress them.
 * `write` is one round trip for one atomic write. It locks in one order, so that writes of the same records wait for each
 * other, and undoes all of it where one record is not at its expected version, whose name it returns.
 */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE cloister.records (
    name    text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    value   bytea NOT NULL
  ) WITH (fillfactor = 90);
  ALTER TABLE cloister.records ALTER COLUMN value SET STORAGE EXTERNAL;

  CREATE FUNCTION cloister.write(names text[], expected bigint[], versions bigint[], "values" bytea[]) RETURNS text
  LANGUAGE plpgsql SET search_path = pg_catalog AS $$
  BEGIN
    PERFORM 1 FROM cloister.records WHERE name = ANY (names) ORDER BY name FOR UPDATE;
    FOR i IN 1 .. cardinality(names) LOOP
      IF "values"[i] IS NULL AND expected[i] = 0 THEN
        PERFORM 1 WHERE NOT EXISTS (SELECT 1 FROM cloister.records WHERE name = names[i]);
      ELSIF "values"[i] IS NULL THEN
        DELETE FROM cloister.records WHERE name = names[i] AND version = expected[i];
      ELSIF expected[i] = 0 THEN
        INSERT INTO cloister.records VALUES (names[i], versions[i], "values"[i]) ON CONFLICT DO NOTHING;
      ELSE
        UPDATE cloister.records SET version = versions[i], value = "values"[i]
          WHERE name = names[i] AND version = expected[i];
      END IF;
      IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'CL409', MESSAGE = names[i];
      END IF;
    END LOOP;
    RETURN NULL;
  EXCEPTION WHEN SQLSTATE 'CL409' THEN
    RETURN SQLERRM;
  END $$;
  `,
  // 16 tables in one: each is vacuumed, and its index rebuilt, by itself, and at 10^8 records each has 6 million. By hash,
  // since names are of ids that are random: no part grows faster than another. The primary key is the name, so that it
  // alone finds the part. The former `write` stays for parents of the version before.
  `
  ALTER TABLE cloister.records RENAME TO records_1;
  CREATE TABLE cloister.records (
    name       text COLLATE "C" PRIMARY KEY,
    version    bigint NOT NULL,
    value      bytea NOT NULL,
    expires_at bigint
  ) PARTITION BY HASH (name);
  ALTER TABLE cloister.records ALTER COLUMN value SET STORAGE EXTERNAL;
  DO $$
  BEGIN
    FOR i IN 0 .. 15 LOOP
      EXECUTE format('CREATE TABLE cloister.records_%s_of_16 PARTITION OF cloister.records
                      FOR VALUES WITH (MODULUS 16, REMAINDER %s) WITH (fillfactor = 90)', i, i);
    END LOOP;
  END $$;
  INSERT INTO cloister.records SELECT name, version, value, NULL FROM cloister.records_1;
  CREATE INDEX records_expiring ON cloister.records (expires_at) WHERE expires_at IS NOT NULL;
  DO $$
  DECLARE
    g record;
  BEGIN
    -- Whoever could work with the table before can work with this one.
    FOR g IN SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS grantee, privilege_type
             FROM pg_class, aclexplode(relacl) WHERE oid = 'cloister.records_1'::regclass AND grantee <> relowner LOOP
      EXECUTE format('GRANT %s ON cloister.records TO %s', g.privilege_type, g.grantee);
    END LOOP;
  END $$;
  DROP TABLE cloister.records_1;

  CREATE FUNCTION cloister.write(names text[], expected bigint[], versions bigint[], "values" bytea[], expires bigint[])
  RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog AS $$
  DECLARE
    each text;
  BEGIN
    -- One by one: of a single name the part is known, of a list every part would be looked into.
    IF cardinality(names) > 1 THEN
      FOR each IN SELECT DISTINCT unnest(names) COLLATE "C" ORDER BY 1 LOOP
        PERFORM 1 FROM cloister.records WHERE name = each FOR UPDATE;
      END LOOP;
    END IF;
    FOR i IN 1 .. cardinality(names) LOOP
      IF "values"[i] IS NULL AND expected[i] = 0 THEN
        PERFORM 1 WHERE NOT EXISTS (SELECT 1 FROM cloister.records WHERE name = names[i]);
      ELSIF "values"[i] IS NULL THEN
        DELETE FROM cloister.records WHERE name = names[i] AND version = expected[i];
      ELSIF expected[i] = 0 THEN
        INSERT INTO cloister.records VALUES (names[i], versions[i], "values"[i], expires[i]) ON CONFLICT DO NOTHING;
      ELSE
        UPDATE cloister.records SET version = versions[i], value = "values"[i], expires_at = expires[i]
          WHERE name = names[i] AND version = expected[i];
      END IF;
      IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'CL409', MESSAGE = names[i];
      END IF;
    END LOOP;
    RETURN NULL;
  EXCEPTION WHEN SQLSTATE 'CL409' THEN
    RETURN SQLERRM;
  END $$;
  CREATE OR REPLACE FUNCTION cloister.write(names text[], expected bigint[], versions bigint[], "values" bytea[]) RETURNS text
  LANGUAGE sql SET search_path = pg_catalog AS $$
    SELECT cloister.write(names, expected, versions, "values", array_fill(NULL::bigint, ARRAY[cardinality(names)]))
  $$;
  `,
  // Several writes in one transaction, each whole or undone by itself: the names that conflict, or nulls, in order. All rows
  // are locked first and in one order, or two such transactions would wait for each other.
  `
  CREATE FUNCTION cloister.write_each(sizes integer[], names text[], expected bigint[], versions bigint[], "values" bytea[],
                                      expires bigint[])
  RETURNS text[] LANGUAGE plpgsql SET search_path = pg_catalog AS $$
  DECLARE
    each text;
    conflicts text[] := ARRAY[]::text[];
    a integer := 1;
    z integer;
  BEGIN
    FOR each IN SELECT DISTINCT unnest(names) COLLATE "C" ORDER BY 1 LOOP
      PERFORM 1 FROM cloister.records WHERE name = each FOR UPDATE;
    END LOOP;
    FOR i IN 1 .. cardinality(sizes) LOOP
      z := a + sizes[i] - 1;
      conflicts := array_append(conflicts, cloister.write(names[a:z], expected[a:z], versions[a:z], "values"[a:z], expires[a:z]));
      a := z + 1;
    END LOOP;
    RETURN conflicts;
  END $$;
  `,
];

/** Any number that nobody else takes: two parents that start at once migrate one after the other. */
const MIGRATION_LOCK = 0x636c6f69;

/**
 * Brings the schema to this program's version. A role that may not create it finds it made (docs/run-the-parent.md).
 *
 * @throws {@link StartError} `RECORDS_SCHEMA_UNKNOWN` for a schema of a later program
 */
export async function migrate(client: ClientBase): Promise<void> {
  if ((await versionOf(client)) === MIGRATIONS.length) return;
  await client.query("BEGIN");
  // It takes as long as there are records.
  await client.query("SET LOCAL statement_timeout = 0");
  try {
    await client.query("SELECT pg_advisory_xact_lock($1)", [MIGRATION_LOCK]);
    await client.query("CREATE SCHEMA IF NOT EXISTS cloister");
    await client.query("CREATE TABLE IF NOT EXISTS cloister.schema_version (version integer NOT NULL)");
    const found = await versionOf(client);
    if (found > MIGRATIONS.length) {
      throw new StartError("RECORDS_SCHEMA_UNKNOWN", `records of schema ${found}, expected ${MIGRATIONS.length}`);
    }
    for (const migration of MIGRATIONS.slice(found)) await client.query(migration);
    await client.query("DELETE FROM cloister.schema_version");
    await client.query("INSERT INTO cloister.schema_version VALUES ($1)", [MIGRATIONS.length]);
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  }
}

async function versionOf(client: ClientBase): Promise<number> {
  const { rows: tables } = await client.query("SELECT to_regclass('cloister.schema_version') AS found");
  if (tables[0].found === null) return 0;
  const { rows } = await client.query("SELECT version FROM cloister.schema_version");
  return rows[0]?.version ?? 0;
}
