/** What tests of the emulated tier begin with. */
import { generateKeyPairSync } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { createKeyFileSigner, type EifSigner } from "../../eif/index.ts";
import { DEFAULT_EIF } from "../../simulator/index.ts";
import { certificateToPem, issueCertificate } from "../../simulator/pki/index.ts";

export const EIF = process.env["CLOISTER_EIF"] ?? DEFAULT_EIF;

/** Null, or why nothing can be emulated on this machine; a missing emulator or image is a failure and not a reason. */
export const cannotEmulate: string | null =
  process.platform === "linux" && process.arch === "x64"
    ? null
    : `the emulator runs on Linux x64 only, this is ${process.platform} ${process.arch}`;

if (cannotEmulate !== null) process.stderr.write(`skipped: ${cannotEmulate}\n`);

/** Signs images with a key of its own. */
export function imageSigner(): EifSigner {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
  const name = [["CN", "TEST - SIGNS IMAGES"]] as const;
  const nowMs = Date.now();
  const der = issueCertificate({
    ...{ subject: name, issuer: name, serial: 1n, subjectPublicKey: publicKey, issuerPrivateKey: privateKey },
    ...{ notBeforeMs: nowMs - 3_600_000, notAfterMs: nowMs + 3_600_000 },
    algorithm: "ecdsa-p384-sha384",
    extensions: [],
  });
  const keyPem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  return createKeyFileSigner(certificateToPem(der), keyPem, nowMs);
}

/** Half of a frame that claims 1000 bytes. */
export const HALF_A_FRAME: Uint8Array = Uint8Array.from([0, 0, 3, 232, ...new Uint8Array(500).fill(0xa0)]);

/** `expect.poll` for hooks. */
export async function eventually<Value>(
  look: () => Promise<Value>,
  isIt: (value: Value) => boolean,
  timeoutMs: number,
): Promise<Value> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await look();
    if (isIt(value)) return value;
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms; at last ${JSON.stringify(value)}`);
    await sleep(200);
  }
}
