/** A throw-away certificate authority for the simulator's own HTTPS servers. */
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { certificateToPem, issueCertificate, type Name } from "./certificate.ts";
import {
  authorityKeyIdentifier,
  basicConstraints,
  extendedKeyUsage,
  keyIdentifierOf,
  keyUsage,
  subjectAltName,
  subjectKeyIdentifier,
} from "./extensions.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const ROOT_LIFETIME_MS = 3650 * DAY_MS;
const SERVER_LIFETIME_MS = 90 * DAY_MS;

export interface TlsAuthority {
  readonly rootPem: string;
  /**
   * A fresh P-256 key and its certificate for TLS servers, good for 90 days from now.
   *
   * @param hosts - Host names and IP addresses, at least one.
   * @throws `PkiError` `MALFORMED_VALUE` for what is neither.
   */
  issueServer(options: { readonly hosts: readonly string[] }): { readonly keyPem: string; readonly certPem: string };
}

/**
 * Makes a P-256 root that lives in memory only: it dies with the process, so nothing can come to trust it for long.
 *
 * @param options.nowMs - The clock of those who will verify: for real TLS clients, real time.
 * @param options.name - The root's common name; say that it is a simulator's.
 */
export function createTlsAuthority(options: { readonly nowMs: () => number; readonly name: string }): TlsAuthority {
  const root = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const rootName: Name = [
    ["O", "CLOISTER SIMULATOR"],
    ["CN", options.name],
  ];
  const rootKeyIdentifier = keyIdentifierOf(root.publicKey);
  const bornMs = options.nowMs();
  const rootDer = issueCertificate({
    subject: rootName,
    issuer: rootName,
    serial: freshSerial(),
    notBeforeMs: bornMs - HOUR_MS,
    notAfterMs: bornMs + ROOT_LIFETIME_MS,
    subjectPublicKey: root.publicKey,
    issuerPrivateKey: root.privateKey,
    algorithm: "ecdsa-p256-sha256",
    extensions: [
      basicConstraints({ ca: true, pathLength: 0, critical: true }),
      keyUsage({ usages: ["keyCertSign", "cRLSign"], critical: true }),
      subjectKeyIdentifier(rootKeyIdentifier),
    ],
  });

  return {
    rootPem: certificateToPem(rootDer),
    issueServer({ hosts }) {
      const server = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const issuedMs = options.nowMs();
      const der = issueCertificate({
        subject: [["CN", "CLOISTER SIMULATOR server"]],
        issuer: rootName,
        serial: freshSerial(),
        notBeforeMs: issuedMs - HOUR_MS,
        notAfterMs: issuedMs + SERVER_LIFETIME_MS,
        subjectPublicKey: server.publicKey,
        issuerPrivateKey: root.privateKey,
        algorithm: "ecdsa-p256-sha256",
        extensions: [
          basicConstraints({ ca: false, critical: true }),
          keyUsage({ usages: ["digitalSignature"], critical: true }),
          extendedKeyUsage(["serverAuth"]),
          subjectAltName(hosts),
          subjectKeyIdentifier(keyIdentifierOf(server.publicKey)),
          authorityKeyIdentifier(rootKeyIdentifier),
        ],
      });
      return {
        keyPem: server.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
        certPem: certificateToPem(der),
      };
    },
  };
}

/** RFC 5280 4.1.2.2: positive, at most 20 octets. */
function freshSerial(): bigint {
  return BigInt(`0x${randomBytes(16).toString("hex")}`) + 1n;
}
