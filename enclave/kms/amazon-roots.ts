/** What TLS to KMS is checked against in the image: Amazon's own roots, and no other authority's. */
import { X509Certificate } from "node:crypto";
import { StartError } from "../errors.ts";

/** SHA-256 of each certificate: https://www.amazontrust.com/repository/, "Root CAs". */
const AMAZON_ROOTS: Readonly<Record<string, string>> = {
  "Amazon Root CA 1": "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
  "Amazon Root CA 2": "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
  "Amazon Root CA 3": "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
  "Amazon Root CA 4": "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
  "Starfield Services Root Certificate Authority - G2":
    "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5",
};

/**
 * Picks them by fingerprint out of the list that Node brings along, which is measured with it. The list has some hundred
 * and fifty authorities, any of which could otherwise speak for KMS.
 *
 * @throws {@link StartError} `TLS_ROOTS_INVALID` if one is missing: a Node that dropped it needs a look, not a guess.
 */
export function pickAmazonRoots(bundled: readonly string[]): string[] {
  const byFingerprint = new Map(bundled.map((pem) => [fingerprintOf(pem), pem]));
  return Object.entries(AMAZON_ROOTS).map(([name, fingerprint]) => {
    const pem = byFingerprint.get(fingerprint);
    if (pem === undefined) throw new StartError("TLS_ROOTS_INVALID", `Node's list of authorities lacks ${name}`);
    return pem;
  });
}

function fingerprintOf(pem: string): string {
  return new X509Certificate(pem).fingerprint256.replaceAll(":", "").toLowerCase();
}
