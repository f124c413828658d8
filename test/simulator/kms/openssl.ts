/** OpenSSL as a second opinion: it shares no code with what sealed. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { recipient } from "./documents.ts";

export const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;

/** What is in an envelope for {@link recipient}. */
export function openWithOpenssl(envelope: Uint8Array): Buffer {
  const folder = mkdtempSync(join(tmpdir(), "kms-cms-"));
  try {
    writeFileSync(join(folder, "key"), recipient.privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
    writeFileSync(join(folder, "cms"), envelope);
    const paths = ["-in", join(folder, "cms"), "-inkey", join(folder, "key")];
    return execFileSync("openssl", ["cms", "-decrypt", "-binary", "-inform", "DER", ...paths]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
