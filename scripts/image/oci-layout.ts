/** The smallest OCI image layout: one layer, no times but 1970, and the same bytes for the same layer. */
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256 } from "./debian.ts";

export interface BaseLayout {
  /** An uncompressed tar file. */
  readonly layerFile: string;
  readonly layerSha256: string;
  readonly layerBytes: number;
  readonly reference: string;
}

/** @returns The digest of the manifest. */
export async function writeOciLayout(folder: string, base: BaseLayout): Promise<string> {
  const blobs = join(folder, "blobs/sha256");
  await mkdir(blobs, { recursive: true });
  await copyFile(base.layerFile, join(blobs, base.layerSha256));
  const writeBlob = async (value: unknown): Promise<{ digest: string; size: number }> => {
    const bytes = Buffer.from(JSON.stringify(value));
    await writeFile(join(blobs, sha256(bytes)), bytes);
    return { digest: `sha256:${sha256(bytes)}`, size: bytes.length };
  };
  const config = await writeBlob({
    created: "1970-01-01T00:00:00Z",
    architecture: "amd64",
    os: "linux",
    config: { Env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] },
    rootfs: { type: "layers", diff_ids: [`sha256:${base.layerSha256}`] },
  });
  const manifest = await writeBlob({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { mediaType: "application/vnd.oci.image.config.v1+json", ...config },
    layers: [
      {
        mediaType: "application/vnd.oci.image.layer.v1.tar",
        digest: `sha256:${base.layerSha256}`,
        size: base.layerBytes,
      },
    ],
  });
  const index = {
    schemaVersion: 2,
    manifests: [
      {
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        ...manifest,
        annotations: { "org.opencontainers.image.ref.name": base.reference },
      },
    ],
  };
  await writeFile(join(folder, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(join(folder, "index.json"), JSON.stringify(index));
  return manifest.digest;
}
