/** The records' schema as the first release made it: what a later one migrates. */
export const SCHEMA_1 = `
  CREATE SCHEMA cloister;
  CREATE TABLE cloister.schema_version (version integer NOT NULL);
  INSERT INTO cloister.schema_version VALUES (1);
  CREATE TABLE cloister.records (
    name    text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    value   bytea NOT NULL
  ) WITH (fillfactor = 90);
  CREATE FUNCTION cloister.write(names text[], expected bigint[], versions bigint[], "values" bytea[]) RETURNS text
  LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
`;
