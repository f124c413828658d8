/** Signing certificates, made by other code than reads them. */
import "reflect-metadata";
import { KeyObject } from "node:crypto";
import * as x509 from "@peculiar/x509";

export interface SigningKey {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
  readonly privateKey: KeyObject;
  readonly der: Uint8Array;
}

export const AT_MS = Date.UTC(2026, 5, 1);
const DAY_MS = 86_400_000;

export async function signingKey(
  namedCurve: "P-256" | "P-384" | "P-521" | "RSA" = "P-384",
  { notBeforeMs = AT_MS - DAY_MS, notAfterMs = AT_MS + DAY_MS, name = "CN=signer, O=Test, C=US" } = {},
): Promise<SigningKey> {
  const hash = namedCurve === "P-256" ? "SHA-256" : namedCurve === "P-521" ? "SHA-512" : "SHA-384";
  const algorithm =
    namedCurve === "RSA"
      ? { name: "RSASSA-PKCS1-v1_5", hash, modulusLength: 2048, publicExponent: Uint8Array.of(1, 0, 1) }
      : { name: "ECDSA", namedCurve, hash };
  const keys = (await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as CryptoKeyPair;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name,
    keys,
    signingAlgorithm: algorithm,
    notBefore: new Date(notBeforeMs),
    notAfter: new Date(notAfterMs),
  });
  const privateKey = KeyObject.from(keys.privateKey);
  return {
    certificatePem: `${certificate.toString("pem")}\n`,
    privateKeyPem: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
    privateKey,
    der: new Uint8Array(certificate.rawData),
  };
}
