/** The file from which QEMU's NSM signs: one leaf of the simulator's authorities, replaced before it ends. */
import { rename, writeFile } from "node:fs/promises";
import type { LeafChain, NsmPki } from "../nsm/index.ts";
import { certificateToPem } from "../pki/index.ts";

/** Leaves are renewed five minutes before they end. */
const LOOK_MS = 60_000;

/** @returns What stops the renewal. */
export async function keepChainFile(file: string, nsmPki: NsmPki, moduleId: string): Promise<() => void> {
  let written = nsmPki.leafFor(moduleId);
  await writeChain(file, written);
  const timer = setInterval(() => {
    const leaf = nsmPki.leafFor(moduleId);
    if (Buffer.compare(leaf.certificate, written.certificate) === 0) return;
    written = leaf;
    // A failure leaves a leaf that ends in five minutes, and shows then.
    writeChain(file, leaf).catch(() => {});
  }, LOOK_MS).unref();
  return () => clearInterval(timer);
}

/** In the order that emulator/patches/ reads; renamed into place, so that key and certificate always belong together. */
export async function writeChain(file: string, { leafKey, certificate, cabundle }: LeafChain): Promise<void> {
  const key = leafKey.export({ type: "pkcs8", format: "pem" });
  const pem = [key, ...[certificate, ...cabundle].map((der) => certificateToPem(der))].join("");
  const part = `${file}.part`;
  await writeFile(part, pem, { mode: 0o600 });
  await rename(part, file);
}
