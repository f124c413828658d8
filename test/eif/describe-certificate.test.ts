/** Whose names of attributes are shown: OpenSSL's long ones, as AWS's tool prints them. */
import { spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { describe, expect, test } from "vitest";
import { describeCertificate } from "../../eif/index.ts";
import { signingKey } from "./signing-keys.ts";

const issuerOf = async (name: string) =>
  describeCertificate(new X509Certificate((await signingKey("P-256", { name })).certificatePem)).IssuerName;

/** Object identifiers of attributes that stand in names, whose short and long names differ. */
const ATTRIBUTES: readonly (readonly [oid: string, long: string])[] = [
  ["2.5.4.3", "commonName"],
  ["2.5.4.4", "surname"],
  ["2.5.4.6", "countryName"],
  ["2.5.4.7", "localityName"],
  ["2.5.4.8", "stateOrProvinceName"],
  ["2.5.4.9", "streetAddress"],
  ["2.5.4.10", "organizationName"],
  ["2.5.4.11", "organizationalUnitName"],
  ["2.5.4.42", "givenName"],
  ["2.5.4.98", "countryCode3c"],
  ["2.5.4.99", "countryCode3n"],
  ["0.9.2342.19200300.100.1.1", "userId"],
  ["0.9.2342.19200300.100.1.3", "rfc822Mailbox"],
  ["0.9.2342.19200300.100.1.25", "domainComponent"],
  ["0.9.2342.19200300.100.1.44", "uniqueIdentifier"],
  ["1.3.6.1.4.1.311.60.2.1.1", "jurisdictionLocalityName"],
  ["1.3.6.1.4.1.311.60.2.1.2", "jurisdictionStateOrProvinceName"],
  ["1.3.6.1.4.1.311.60.2.1.3", "jurisdictionCountryName"],
];

test.each(ATTRIBUTES)("%s is shown as %s", async (oid, long) => {
  expect(await issuerOf(`${oid}=XX`)).toEqual({ [long]: "XX" });
});

test("what has one name only, or none, is shown as it is, all sorted", async () => {
  const name = "2.5.4.5=1, 2.5.4.12=Dr, 1.2.840.113549.1.9.1=a@b, 1.2.3.4.5=odd, CN=b";
  const issuer = await issuerOf(name);
  expect(Object.entries(issuer)).toEqual([
    ["1.2.3.4.5", expect.anything()],
    ["commonName", "b"],
    ["emailAddress", "a@b"],
    ["serialNumber", "1"],
    ["title", "Dr"],
  ]);
});

describe.skipIf(spawnSync("openssl", ["version"]).status !== 0)("OpenSSL", () => {
  test("knows no other attribute of names that has two names", () => {
    const listed = spawnSync("openssl", ["list", "-objects"]).stdout.toString();
    const found = [...listed.matchAll(/^\S+ = (.+), ([0-9.]+)$/gm)].map(([, long = "", oid = ""]) => [oid, long]);
    const arcs = /^(?:2\.5\.4|0\.9\.2342\.19200300\.100\.1|1\.3\.6\.1\.4\.1\.311\.60\.2\.1)\.\d+$/;
    const missing = found.filter(([oid = ""]) => arcs.test(oid) && !ATTRIBUTES.some(([known]) => known === oid));
    expect(missing).toEqual([]);
    expect(found.length).toBeGreaterThan(ATTRIBUTES.length);
  });
});
