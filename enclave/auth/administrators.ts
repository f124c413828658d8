import { encodeHex, RequestError, type Stamp } from "../../protocol/index.ts";
import type { Manifest } from "../manifest.ts";

/**
 * Checks that enough distinct administrators stamped a body. The stamps' signatures have been verified.
 *
 * @throws {@link RequestError} `NOT_ENOUGH_ADMINISTRATORS`
 */
export function checkAdministrators(stamps: readonly Stamp[], { administrators }: Manifest): void {
  const known = new Set(administrators.publicKeys);
  const distinct = new Set(
    stamps
      .filter(({ scheme }) => scheme === "SIGNATURE_SCHEME_TK_API_P256")
      .map(({ publicKey }) => encodeHex(publicKey))
      .filter((publicKey) => known.has(publicKey)),
  );
  if (distinct.size < administrators.threshold) {
    throw new RequestError(
      "NOT_ENOUGH_ADMINISTRATORS",
      `${distinct.size} of ${administrators.threshold} administrators' stamps`,
    );
  }
}
