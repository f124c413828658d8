import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readConfig } from "../../parent-proxy/config.ts";
import { temporaryFolder } from "./fixture.ts";

const VALID = {
  vsock: { kind: "unix-socket", path: "run/vsock" },
  http: { host: "127.0.0.1", port: 0 },
  records: { kind: "sqlite", file: "records.db" },
  egress: {
    allow: ["kms.eu-west-1.amazonaws.com:443"],
    connectTo: { "kms.eu-west-1.amazonaws.com:443": "127.0.0.1:9" },
  },
  credentials: { kind: "static", accessKeyId: "AKIA", secretAccessKey: "hidden", sessionToken: null },
  limits: { drainTimeoutMs: 5 },
  logLevel: "warn",
};

async function read(text: string) {
  const file = join(await temporaryFolder(), "parent.json");
  await writeFile(file, text);
  return readConfig(file);
}

test("reads a whole configuration, and one without what may be left out", async () => {
  expect(await read(JSON.stringify(VALID))).toEqual(VALID);
  const http = { ...VALID.http, trustedProxies: ["10.0.0.0/8", "2001:db8::1"] };
  expect((await read(JSON.stringify({ ...VALID, http }))).http).toEqual(http);
  const { limits: _limits, logLevel: _logLevel, ...short } = VALID;
  const least = { ...short, egress: { allow: [] }, credentials: { kind: "aws" } };
  expect(await read(JSON.stringify(least))).toEqual(least);
});

const POSTGRES = { kind: "postgres", host: "db.internal", database: "cloister", user: "cloister" };

test("a PostgreSQL store has the customary port, and nothing about TLS goes without saying", async () => {
  const { records } = await read(JSON.stringify({ ...VALID, records: { ...POSTGRES, tls: { kind: "verify-full" } } }));
  expect(records).toEqual({
    ...{ ...POSTGRES, port: 5432, passwordFile: null, maxConnections: 8 },
    tls: { kind: "verify-full", caFile: null },
  });
});

test.each([
  { kind: "af-vsock", enclaveCid: 4 },
  { kind: "af-vsock", enclaveCid: 0xffff_fffe, toHost: true },
])("reads a configuration for EC2: %j", async (vsock) => {
  expect((await read(JSON.stringify({ ...VALID, vsock }))).vsock).toEqual(vsock);
});

test.each<[string, unknown, string | RegExp]>([
  ["PostgreSQL without a word on TLS", { ...VALID, records: POSTGRES }, "records.tls"],
  [
    "a password in the file",
    { ...VALID, records: { ...POSTGRES, tls: { kind: "none" }, password: "hidden" } },
    "records",
  ],
  ["the parent's own CID", { ...VALID, vsock: { kind: "af-vsock", enclaveCid: 3 } }, "vsock.enclaveCid: at least 4"],
  [
    "the CID that is nobody's",
    { ...VALID, vsock: { kind: "af-vsock", enclaveCid: 0xffff_ffff } },
    "vsock.enclaveCid: at most 4294967294",
  ],
  ["AF_VSOCK with a path", { ...VALID, vsock: { kind: "af-vsock", enclaveCid: 16, path: "x" } }, "vsock: has a field"],
  ["AF_VSOCK without a CID", { ...VALID, vsock: { kind: "af-vsock" } }, "vsock.enclaveCid"],
  ["an unknown field", { ...VALID, tls: true }, "the file: has a field that is not known: tls"],
  [
    "an unknown limit",
    { ...VALID, limits: { drainTimeout: 5 } },
    "limits: has a field that is not known: drainTimeout",
  ],
  ["a limit of nothing", { ...VALID, limits: { drainTimeoutMs: 0 } }, "limits.drainTimeoutMs: at least 1"],
  [
    "another vsock",
    { ...VALID, vsock: { kind: "tcp", path: "x" } },
    "vsock.kind: expected one of unix-socket, af-vsock",
  ],
  ["a field whose name is none", { ...VALID, "\u001b[2J": true }, /the file: has a field that is not known$/],
  ["a port over 65535", { ...VALID, http: { host: "::", port: 65_536 } }, "http.port: at most 65535"],
  [
    "a proxy by its name",
    { ...VALID, http: { ...VALID.http, trustedProxies: ["balancer.internal"] } },
    "http.trustedProxies.0: expected an address, or address/bits",
  ],
  ["a destination in upper case", { ...VALID, egress: { allow: ["KMS.example:443"] } }, "expected host:port"],
  ["a destination without port", { ...VALID, egress: { allow: ["kms.example"] } }, "expected host:port"],
  ["a wildcard", { ...VALID, egress: { allow: ["*.example:443"] } }, "expected host:port"],
  [
    "a name in connectTo",
    { ...VALID, egress: { allow: [], connectTo: { "a.b:1": "localhost:1" } } },
    "expected ip:port",
  ],
  ["no credentials", { ...VALID, credentials: undefined }, "credentials"],
  ["other credentials", { ...VALID, credentials: { kind: "file" } }, "credentials"],
])("refuses %s", async (_name, config, message) => {
  const refused = read(JSON.stringify(config));
  await expect(refused).rejects.toMatchObject({ name: "StartError", code: "CONFIG_INVALID" });
  await expect(refused).rejects.toThrow(message);
  await expect(refused).rejects.not.toThrow("hidden");
});

test.each([
  ["no JSON", "vsock: x", "at offset"],
  ["a duplicate key", '{"http":1,"http":2}', "duplicate key"],
  ["a file over the limit", " ".repeat(256 * 1024 + 1), "over 262144 bytes"],
])("refuses %s", async (_name, text, message) => {
  await expect(read(text)).rejects.toThrow(message);
});

test("refuses a file that is not there", async () => {
  await expect(readConfig(join(await temporaryFolder(), "none.json"))).rejects.toMatchObject({
    code: "CONFIG_INVALID",
  });
});
