/**
 * Reading and measuring an image of 100 MB beside `openssl dgst -sha384` on the same file: OpenSSL hashes each byte once;
 * PCR0, PCR1 and PCR2 take nearly every byte twice, the CRC once more. Also the peak memory of the reading process.
 *
 *   node scripts/bench-eif.ts [--megabytes N] [--rounds N]
 */
import { spawnSync } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type ByteSource, bytesSource, readEif, writeEif } from "../eif/index.ts";

const MEGABYTE = 1_000_000;

const { values } = parseArgs({
  options: {
    megabytes: { type: "string", default: "100" },
    rounds: { type: "string", default: "5" },
    child: { type: "string" },
  },
});
if (values.child === undefined) await main();
else await measureOnce(values.child);

async function main(): Promise<void> {
  const [megabytes, rounds] = [Number(values.megabytes), Number(values.rounds)];
  if (!(megabytes >= 20) || !(rounds >= 1)) throw new Error("expected --megabytes from 20 and --rounds from 1");
  const folder = mkdtempSync(join(tmpdir(), "cloister-bench-"));
  try {
    const path = join(folder, "image.eif");
    await makeImage(path, megabytes);
    let [openssl, reading, command, peakBytes] = [Infinity, Infinity, Infinity, 0];
    // Turn by turn, so that whatever else the machine does falls on all of them; the best round counts.
    for (let round = 0; round < rounds; round += 1) {
      openssl = Math.min(openssl, timed("openssl", ["dgst", "-sha384", path]).ms);
      const { out } = timed(process.execPath, [import.meta.filename, "--child", path]);
      const child = JSON.parse(out) as Child;
      reading = Math.min(reading, child.ms);
      peakBytes = Math.max(peakBytes, child.peakBytes);
      command = Math.min(command, timed(process.execPath, ["bin/cloister.js", "eif", "pcrs", path]).ms);
    }
    const ratio = (ms: number) => `${ms.toFixed(0).padStart(5)} ms  ${(ms / openssl).toFixed(2)} × openssl`;
    console.log(`image of ${megabytes} MB; Node ${process.version}; best of ${rounds} rounds`);
    console.log(`openssl dgst -sha384      ${openssl.toFixed(0).padStart(5)} ms`);
    console.log(`readEif, both walks       ${ratio(reading)}`);
    console.log(`cloister eif pcrs, whole  ${ratio(command)}`);
    const small = join(folder, "small.eif");
    await makeImage(small, 20);
    const { peakBytes: ofSmall } = JSON.parse(
      timed(process.execPath, [import.meta.filename, "--child", small]).out,
    ) as Child;
    const shown = (bytes: number) => (bytes / MEGABYTE).toFixed(0);
    console.log(`peak memory, whole process ${shown(peakBytes)} MB; with an image of 20 MB ${shown(ofSmall)} MB`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Child {
  readonly ms: number;
  readonly peakBytes: number;
}

async function measureOnce(path: string): Promise<void> {
  const started = performance.now();
  await readEif(path);
  const ms = performance.now() - started;
  console.log(JSON.stringify({ ms, peakBytes: process.resourceUsage().maxRSS * 1024 }));
}

function timed(program: string, args: readonly string[]): { readonly ms: number; readonly out: string } {
  const started = performance.now();
  const { status, stdout, error } = spawnSync(program, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")} failed`, { cause: error });
  return { ms: performance.now() - started, out: stdout };
}

/** A kernel of 10 MB, a small boot ramdisk, and the rest in the application's, as images are. */
async function makeImage(path: string, megabytes: number): Promise<void> {
  await writeEif(path, {
    architecture: "x86_64",
    kernel: randomSource(10 * MEGABYTE),
    cmdline: "console=ttyS0",
    metadata: {
      imageName: "bench",
      imageVersion: "1",
      build: {
        time: "1970-01-01T00:00:00+00:00",
        tool: "bench",
        toolVersion: "1",
        operatingSystem: "Linux",
        kernelVersion: "6",
      },
      dockerInfo: null,
      customMetadata: null,
    },
    ramdisks: [bytesSource(randomFillSync(new Uint8Array(MEGABYTE))), randomSource((megabytes - 11) * MEGABYTE)],
  });
}

function randomSource(sizeBytes: number): ByteSource {
  return {
    sizeBytes,
    async *chunks() {
      const chunk = randomFillSync(new Uint8Array(MEGABYTE));
      for (let left = sizeBytes; left > 0; left -= chunk.length) yield chunk.subarray(0, left);
    },
  };
}
