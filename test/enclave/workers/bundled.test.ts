/** Workers that begin with the image's one file, as they do in an image. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { EnclaveInProcess } from "../../../scripts/bench/enclave-in-process.ts";
import { bundleEnclave } from "../../../scripts/bundle.ts";
import { generateKeyOf } from "../../support/app-requests.ts";

test("a worker that begins with the bundle signs, and there is no second copy of the code", {
  timeout: 60_000,
}, async () => {
  // Two folders below dist/, from where the bundle finds dist/native/.
  await mkdir("dist/tests", { recursive: true });
  const folder = await mkdtemp(join("dist/tests", "bundle-"));
  try {
    await bundleEnclave(folder);
    const enclave = await EnclaveInProcess.start({ workers: 1, entry: pathToFileURL(join(folder, "main.mjs")) });
    try {
      const key = generateKeyOf("SIGNATURE_SCHEME_TK_API_P256");
      await enclave.logIn(key);
      const made = await enclave.result(await enclave.stamp(key, "create_wallet", { kind: "single-key" }));
      const { walletId } = made as { walletId: string };
      await expect.poll(() => enclave.parts.workers.serving, { timeout: 30_000 }).toBe(1);
      const signed = await enclave.result(await enclave.stamp(key, "sign_message", { walletId, message: "0x00" }));
      expect(signed).toMatchObject({ signature: expect.stringMatching(/^0x[0-9a-f]{130}$/) });
    } finally {
      await enclave.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
