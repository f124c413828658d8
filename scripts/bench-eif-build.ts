/**
 * Builds EIFs of a small and a large image, each in a process of its own with a heap of 64 MiB at most, and prints how long that
 * took and how much memory the process had at most. What does not grow from the first line to the second does not grow
 * with the image. `--zstd` compresses as releases are compressed: minutes, and a hundred megabytes that are zstd's own.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

const { values } = parseArgs({ options: { zstd: { type: "boolean", default: false } } });
const ROOT = new URL("..", import.meta.url).pathname;
const MIB = 1024 * 1024;
const SIZES_MIB = [30, 300];
const HEAP_MIB = 64;

const folder = mkdtempSync(join(tmpdir(), "cloister-bench-"));
try {
  console.log("image     layers   files   seconds   peak memory   of which heap at most");
  for (const sizeMib of SIZES_MIB) {
    for (const compression of ["none", "gzip"] as const) {
      const image = makeImage(join(folder, `${sizeMib}-${compression}`), sizeMib, compression);
      const { seconds, peakMib } = build(image.path);
      console.log(
        `${String(sizeMib).padStart(3)} MiB   ${compression.padEnd(6)} ${String(image.files).padStart(7)}   ${seconds.toFixed(1).padStart(7)}   ` +
          `${peakMib.toFixed(0).padStart(7)} MiB   ${HEAP_MIB} MiB`,
      );
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function build(image: string): { readonly seconds: number; readonly peakMib: number } {
  const report = `data:text/javascript,process.on("exit",()=>console.error("peak="+process.resourceUsage().maxRSS))`;
  const kernel = join(folder, "bzImage");
  writeFileSync(kernel, fakeKernel());
  const from = performance.now();
  const { status, stderr } = spawnSync(
    process.execPath,
    [
      `--max-old-space-size=${HEAP_MIB}`,
      `--import=${report}`,
      ...[join(ROOT, "bin/cloister.js"), "eif", "build", "--image", image, "--kernel", kernel],
      ...["--compress", values.zstd ? "zstd" : "none", "--out", join(folder, "out.eif")],
    ],
    { encoding: "utf8" },
  );
  const peakKib = Number(/^peak=(\d+)$/m.exec(stderr)?.[1]);
  if (status !== 0) throw new Error(stderr);
  return { seconds: (performance.now() - from) / 1000, peakMib: peakKib / 1024 };
}

/** An OCI layout with one layer: half of it one file, half of it files of some kilobytes. */
function makeImage(path: string, sizeMib: number, compression: "none" | "gzip") {
  mkdirSync(join(path, "blobs/sha256"), { recursive: true });
  const layerPath = join(path, "layer");
  const file = openSync(layerPath, "w");
  const stored = createHash("sha256");
  const unpacked = createHash("sha256");
  const put = (bytes: Buffer): void => {
    unpacked.update(bytes);
    // Members of gzip may follow each other.
    const out = compression === "gzip" ? gzipSync(bytes, { level: 1 }) : bytes;
    stored.update(out);
    writeSync(file, out);
  };
  const noise = Buffer.alloc(MIB);
  for (let at = 0, state = 1; at < noise.length; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    noise.writeUInt32LE(state, at);
  }
  put(Buffer.concat([tarHeader("init", 512, "0"), Buffer.alloc(512)]));
  put(tarHeader("large", (sizeMib / 2) * MIB, "0"));
  for (let mib = 0; mib < sizeMib / 2; mib++) put(noise);
  const small = noise.subarray(0, 8 * 1024 - 512);
  const files = ((sizeMib / 2) * MIB) / (8 * 1024);
  for (let index = 0; index < files; index += 128) {
    const piece = Array.from({ length: 128 }, (_, at) => [tarHeader(`d${index}/file-${at}`, small.length, "0"), small]);
    put(Buffer.concat(piece.flat()));
  }
  put(Buffer.alloc(1024));
  closeSync(file);
  const digest = stored.digest("hex");
  renameSync(layerPath, join(path, "blobs/sha256", digest));
  const blob = (value: unknown) => {
    const bytes = Buffer.from(JSON.stringify(value));
    const hex = createHash("sha256").update(bytes).digest("hex");
    writeFileSync(join(path, "blobs/sha256", hex), bytes);
    return { digest: `sha256:${hex}`, size: bytes.length };
  };
  const config = blob({
    os: "linux",
    architecture: "amd64",
    rootfs: { type: "layers", diff_ids: [`sha256:${unpacked.digest("hex")}`] },
  });
  const layer = {
    mediaType: "application/vnd.oci.image.layer.v1.tar",
    digest: `sha256:${digest}`,
    size: statSync(join(path, "blobs/sha256", digest)).size,
  };
  const manifest = blob({ schemaVersion: 2, config, layers: [layer] });
  writeFileSync(join(path, "oci-layout"), "{}");
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  writeFileSync(join(path, "index.json"), JSON.stringify({ manifests: [{ mediaType, ...manifest }] }));
  return { path, files: files + 2 };
}

function tarHeader(name: string, size: number, type: string): Buffer {
  const block = Buffer.alloc(512);
  block.write(name, 0);
  block.write("0000755\x000000000\x000000000\0", 100);
  block.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
  block.write("        ", 148);
  block.write(type, 156);
  block.write("ustar\x0000", 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

function fakeKernel(): Buffer {
  const bytes = Buffer.alloc(0x8000);
  bytes.writeUInt16LE(0xaa55, 0x1fe);
  bytes.write("HdrS", 0x202);
  bytes.writeUInt16LE(0x20f, 0x206);
  bytes.writeUInt16LE(1, 0x236);
  return bytes;
}
