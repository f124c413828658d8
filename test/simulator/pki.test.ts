import { execFileSync, spawnSync } from "node:child_process";
import { createHash, generateKeyPairSync, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  authorityKeyIdentifier,
  basicConstraints,
  type CertificateFields,
  certificateToPem,
  createTlsAuthority,
  crlDistributionPoints,
  der,
  issueCertificate,
  keyIdentifierOf,
  keyUsage,
  type Name,
  raw,
  subjectAltName,
  subjectKeyIdentifier,
} from "../../simulator/pki/index.ts";

const NOW_MS = Date.UTC(2026, 10, 21, 7, 0, 0);
const DAY_MS = 86_400_000;
const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe("der", () => {
  test.each([
    ["a short length", der.octetString(new Uint8Array(127)), "047f"],
    ["a one-octet long length", der.octetString(new Uint8Array(128)), "048180"],
    ["a two-octet length", der.octetString(new Uint8Array(256)), "04820100"],
    ["a three-octet length", der.octetString(new Uint8Array(65_536)), "0483010000"],
    ["zero", der.integer(0), "020100"],
    ["127", der.integer(127), "02017f"],
    ["128, which needs a sign octet", der.integer(128), "02020080"],
    ["-129", der.integer(-129), "0202ff7f"],
    ["-1", der.integer(-1), "0201ff"],
    ["a wide integer", der.integer(0xf93175681b90afe1n), "020900f93175681b90afe1"],
    ["an OID", der.objectIdentifier("1.2.840.113549.1.7.3"), "06092a864886f70d010703"],
    ["an OID under 2", der.objectIdentifier("2.999.3"), "0603883703"],
    ["named bits", der.namedBits([5, 6]), "03020106"],
    ["one named bit", der.namedBits([0]), "03020780"],
    ["named bits past one octet", der.namedBits([8]), "0303070080"],
    ["no named bits", der.namedBits([]), "030100"],
    ["an indefinite sequence", der.indefinite(0x30, der.nothing()), "308005000000"],
    ["a constructed octet string", der.indefinite(0x04, der.octetString(Uint8Array.of(1))), "24800401010000"],
    ["a SET OF in order", der.setOf(der.integer(2), der.integer(1)), "3106020101020102"],
    ["2049", der.time(Date.UTC(2049, 11, 31, 23, 59, 59, 999)), `170d${hex(Buffer.from("491231235959Z"))}`],
    ["2050", der.time(Date.UTC(2050, 0, 1)), `180f${hex(Buffer.from("20500101000000Z"))}`],
    ["1950", der.time(Date.UTC(1950, 0, 1)), `170d${hex(Buffer.from("500101000000Z"))}`],
  ])("%s", (_what, bytes, expected) => {
    expect(hex(bytes).slice(0, expected.length)).toBe(expected);
    if (bytes.length < 128) expect(hex(bytes).length).toBe(Math.max(expected.length, bytes.length * 2));
  });

  test.each(["", "3.1", "1", "1.40", "1.02", "1.2.", "1.a"])("refuses the OID %j", (dotted) => {
    expect(() => der.objectIdentifier(dotted)).toThrow(expect.objectContaining({ code: "MALFORMED_OID" }));
  });

  test.each([Date.UTC(1949, 11, 31), 253_402_300_800_000, Number.NaN])("refuses the time %d", (atMs) => {
    expect(() => der.time(atMs)).toThrow(expect.objectContaining({ code: "TIME_OUT_OF_RANGE" }));
  });

  test("every integer keeps its value and wastes no octet", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(1n << 200n), max: 1n << 200n }), (value) => {
        const octets = der.integer(value).subarray(2);
        expect(BigInt.asIntN(octets.length * 8, BigInt(`0x${hex(octets)}`))).toBe(value);
        if (octets.length > 1) {
          expect(BigInt.asIntN(octets.length * 8 - 8, value)).not.toBe(value);
        }
      }),
    );
  });
});

const rootName: Name = [
  ["C", "US"],
  ["O", "SIMULATOR"],
  ["CN", "test root"],
];
const root = generateKeyPairSync("ec", { namedCurve: "P-384" });
const child = generateKeyPairSync("ec", { namedCurve: "P-384" });

const rootFields: CertificateFields = {
  subject: rootName,
  issuer: rootName,
  serial: 0xf93175681b90afe11d46ccb4e4e7f856n,
  notBeforeMs: NOW_MS - DAY_MS,
  notAfterMs: Date.UTC(2050, 5, 1, 1, 2, 3),
  subjectPublicKey: root.publicKey,
  issuerPrivateKey: root.privateKey,
  algorithm: "ecdsa-p384-sha384",
  extensions: [
    basicConstraints({ ca: true, critical: true }),
    subjectKeyIdentifier(keyIdentifierOf(root.publicKey)),
    keyUsage({ usages: ["digitalSignature", "keyCertSign", "cRLSign"], critical: true }),
  ],
};
const childFields: CertificateFields = {
  ...rootFields,
  subject: [["CN", "Zürich leaf"]],
  serial: 1n,
  notAfterMs: NOW_MS + DAY_MS,
  subjectPublicKey: child.publicKey,
  extensions: [
    basicConstraints({ ca: false, critical: true }),
    keyUsage({ usages: ["digitalSignature", "nonRepudiation"], critical: false }),
    authorityKeyIdentifier(keyIdentifierOf(root.publicKey)),
    crlDistributionPoints(["http://crl.simulator.invalid/one.crl"]),
  ],
};

describe("certificates", () => {
  test("Node reads what was written", () => {
    const rootCertificate = new X509Certificate(issueCertificate(rootFields));
    const leaf = new X509Certificate(issueCertificate(childFields));
    expect(rootCertificate.ca).toBe(true);
    expect(rootCertificate.subject).toBe("C=US\nO=SIMULATOR\nCN=test root");
    expect(rootCertificate.serialNumber).toBe("F93175681B90AFE11D46CCB4E4E7F856");
    expect(rootCertificate.validToDate.getTime()).toBe(Date.UTC(2050, 5, 1, 1, 2, 3));
    expect(rootCertificate.verify(root.publicKey)).toBe(true);
    expect(leaf.ca).toBe(false);
    expect(leaf.subject).toBe("CN=Zürich leaf");
    expect(leaf.checkIssued(rootCertificate)).toBe(true);
    expect(leaf.verify(root.publicKey)).toBe(true);
    expect(leaf.verify(child.publicKey)).toBe(false);
    expect(leaf.publicKey.equals(child.publicKey)).toBe(true);
  });

  test("the key identifier is the SHA-1 of the key's bits, for RSA keys too", () => {
    const point = child.publicKey.export({ type: "spki", format: "der" }).subarray(-97);
    expect(hex(keyIdentifierOf(child.publicKey))).toBe(createHash("sha1").update(point).digest("hex"));
    const rsa = generateKeyPairSync("rsa", { modulusLength: 1024 });
    const pkcs1 = rsa.publicKey.export({ type: "pkcs1", format: "der" });
    expect(hex(keyIdentifierOf(rsa.publicKey))).toBe(createHash("sha1").update(pkcs1).digest("hex"));
  });

  test("no extensions means no field for them", () => {
    const bytes = issueCertificate({ ...rootFields, extensions: [] });
    expect(new X509Certificate(bytes).verify(root.publicKey)).toBe(true);
    const spki = hex(root.publicKey.export({ type: "spki", format: "der" }));
    expect(hex(bytes)).toContain(`${spki}${hex(der.sequence(der.objectIdentifier("1.2.840.10045.4.3.3")))}`);
  });

  test("raw extensions go in as they are", () => {
    const extension = raw({ oid: "1.3.6.1.4.1.99999.1", critical: true, value: Uint8Array.of(0xde, 0xad) });
    const bytes = issueCertificate({ ...rootFields, extensions: [extension] });
    expect(hex(bytes)).toContain(`${hex(der.objectIdentifier("1.3.6.1.4.1.99999.1"))}0101ff0402dead`);
  });

  test("names and addresses", () => {
    const hosts = ["kms.eu-west-1.amazonaws.com", "127.0.0.1", "::1", "2001:db8::ff00:42:8329", "::ffff:1.2.3.4"];
    const leaf = new X509Certificate(issueCertificate({ ...childFields, extensions: [subjectAltName(hosts)] }));
    for (const address of hosts.slice(1)) expect(leaf.checkIP(address)).toBeDefined();
    expect(leaf.checkHost("kms.eu-west-1.amazonaws.com")).toBeDefined();
    expect(leaf.checkHost("kms.us-east-1.amazonaws.com")).toBeUndefined();
    expect(leaf.checkIP("127.0.0.2")).toBeUndefined();
  });

  test.each(["", "a b", "-a", "a..b", "ü.example", "1.2.3.4:5", "a/b", "fe80::1%eth0"])(
    "refuses %j as a host",
    (host) => {
      expect(() => subjectAltName([host])).toThrow(expect.objectContaining({ code: "MALFORMED_VALUE" }));
    },
  );

  test("refuses a key that is not on the algorithm's curve", () => {
    const fields: CertificateFields = { ...rootFields, algorithm: "ecdsa-p256-sha256" };
    expect(() => issueCertificate(fields)).toThrow(expect.objectContaining({ code: "KEY_NOT_FOR_ALGORITHM" }));
  });

  test("refuses a country that no PrintableString holds", () => {
    const fields: CertificateFields = { ...rootFields, subject: [["C", "Ü*"]] };
    expect(() => issueCertificate(fields)).toThrow(expect.objectContaining({ code: "MALFORMED_VALUE" }));
  });
});

describe.skipIf(!hasOpenssl)("openssl (skipped where its command is missing)", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "pki-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const file = (name: string, pem: string) => {
    const path = join(folder, name);
    writeFileSync(path, pem);
    return path;
  };
  const at = ["-attime", String(NOW_MS / 1000), "-x509_strict"];

  test("prints every extension", () => {
    const path = file("leaf.pem", certificateToPem(issueCertificate(childFields)));
    const text = execFileSync("openssl", ["x509", "-in", path, "-noout", "-text"], { encoding: "utf8" });
    expect(text).toMatch(/Version: 3/);
    expect(text).toMatch(/Signature Algorithm: ecdsa-with-SHA384/);
    expect(text).toMatch(/Basic Constraints: critical\s+CA:FALSE/);
    expect(text).toMatch(/Key Usage: \n\s+Digital Signature, Non Repudiation\n/);
    expect(text).toMatch(/URI:http:\/\/crl\.simulator\.invalid\/one\.crl/);
    expect(text.replaceAll(":", "")).toContain(hex(keyIdentifierOf(root.publicKey)).toUpperCase());
  });

  test("verifies a chain, and not under another root", () => {
    const leaf = file("leaf.pem", certificateToPem(issueCertificate(childFields)));
    const good = file("root.pem", certificateToPem(issueCertificate(rootFields)));
    const other = generateKeyPairSync("ec", { namedCurve: "P-384" });
    const foreign = file(
      "foreign.pem",
      certificateToPem(
        issueCertificate({ ...rootFields, subjectPublicKey: other.publicKey, issuerPrivateKey: other.privateKey }),
      ),
    );
    expect(spawnSync("openssl", ["verify", ...at, "-CAfile", good, leaf]).status).toBe(0);
    expect(spawnSync("openssl", ["verify", ...at, "-CAfile", foreign, leaf]).status).not.toBe(0);
  });

  test("obeys the path length", () => {
    const middle = generateKeyPairSync("ec", { namedCurve: "P-384" });
    const middleName: Name = [["CN", "middle"]];
    const middlePem = certificateToPem(
      issueCertificate({
        ...rootFields,
        subject: middleName,
        subjectPublicKey: middle.publicKey,
        extensions: [...rootFields.extensions.slice(0, 1), ...rootFields.extensions.slice(2)].concat(
          subjectKeyIdentifier(keyIdentifierOf(middle.publicKey)),
          authorityKeyIdentifier(keyIdentifierOf(root.publicKey)),
        ),
      }),
    );
    const leafPem = certificateToPem(
      issueCertificate({
        ...childFields,
        issuer: middleName,
        issuerPrivateKey: middle.privateKey,
        extensions: [authorityKeyIdentifier(keyIdentifierOf(middle.publicKey))],
      }),
    );
    const files = ["-untrusted", file("middle.pem", middlePem), file("leaf.pem", leafPem)];
    for (const [pathLength, passes] of [
      [1, true],
      [0, false],
    ] as const) {
      const [, ...others] = rootFields.extensions;
      const extensions = [basicConstraints({ ca: true, pathLength, critical: true }), ...others];
      const rootFile = file("root.pem", certificateToPem(issueCertificate({ ...rootFields, extensions })));
      expect(spawnSync("openssl", ["verify", ...at, "-CAfile", rootFile, ...files]).status === 0).toBe(passes);
    }
  });

  test("verifies what the TLS authority issues", () => {
    const authority = createTlsAuthority({ nowMs: () => NOW_MS, name: "test TLS root" });
    const { certPem } = authority.issueServer({ hosts: ["kms.simulator.invalid"] });
    const files = ["-CAfile", file("tls-root.pem", authority.rootPem), file("server.pem", certPem)];
    const verify = ["verify", ...at, "-purpose", "sslserver", "-verify_hostname"];
    expect(spawnSync("openssl", [...verify, "kms.simulator.invalid", ...files]).status).toBe(0);
    expect(spawnSync("openssl", [...verify, "other.simulator.invalid", ...files]).status).not.toBe(0);
  });
});

describe("TLS authority", () => {
  const authority = createTlsAuthority({ nowMs: Date.now, name: "test TLS root" });
  const { keyPem, certPem } = authority.issueServer({ hosts: ["kms.simulator.invalid", "127.0.0.1"] });
  const server = createServer({ key: keyPem, cert: certPem }, (_request, response) => response.end());
  let port = 0;

  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as AddressInfo).port;
  });
  afterAll(() => server.close());

  function handshake(options: { ca: string; servername: string }): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>();
    const socket = connect({ host: "127.0.0.1", port, ...options }, () => resolve("authorized"));
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    return promise.finally(() => socket.destroy());
  }

  test("a Node client trusts its servers, by name, under its root alone", async () => {
    const stranger = createTlsAuthority({ nowMs: Date.now, name: "test TLS root" });
    const servername = "kms.simulator.invalid";
    expect(await handshake({ ca: authority.rootPem, servername })).toBe("authorized");
    expect(await handshake({ ca: authority.rootPem, servername: "other.invalid" })).toBe(
      "ERR_TLS_CERT_ALTNAME_INVALID",
    );
    expect(await handshake({ ca: stranger.rootPem, servername })).not.toBe("authorized");
  });
});
