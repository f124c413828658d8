/** Compression must depend on the bytes alone, and on a version of zstd that is known. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { zstdDecompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ByteSource, bytesSource } from "../../../eif/byte-source.ts";
import { compressTo, requirePinnedZstd, ZSTD_VERSION } from "../../../eif/ramdisk/compress.ts";
import { temporaryFolder } from "../image/tar-fixture.ts";

const never = new AbortController().signal;

async function compressed(source: ByteSource): Promise<Buffer> {
  const path = join(temporaryFolder(), "out.zst");
  const { sizeBytes } = await compressTo(path, source, never);
  const bytes = await readFile(path);
  expect(bytes.length).toBe(sizeBytes);
  return bytes;
}

/** Something between noise and a pattern, the same every time. */
function sample(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let block = createHash("sha256").update("seed").digest();
  for (let at = 0; at < length; at += 64) {
    block.copy(bytes, at);
    bytes.write("abcdefgh".repeat(4), Math.min(at + 32, length - 1));
    if (at % 1024 === 0) block = createHash("sha256").update(block).digest();
  }
  return bytes;
}

function cutAt(bytes: Buffer, cuts: readonly number[]): ByteSource {
  return {
    sizeBytes: bytes.length,
    async *chunks() {
      let from = 0;
      for (const cut of [...cuts].sort((a, b) => a - b)) {
        yield bytes.subarray(from, cut);
        from = cut;
      }
      yield bytes.subarray(from);
    },
  };
}

/** Without the zeros that lead to a multiple of four. */
function unpacked(bytes: Buffer): Buffer {
  for (const padding of [0, 1, 2, 3]) {
    try {
      return zstdDecompressSync(bytes.subarray(0, bytes.length - padding));
    } catch {
      // Zeros behind the frame.
    }
  }
  throw new Error("no zstd frame");
}

test("the version of this Node is the pinned one", () => {
  expect(process.versions["zstd"]).toBe(ZSTD_VERSION);
  expect(() => requirePinnedZstd()).not.toThrow();
});

test("ZSTD_VERSION: another version, or none, is refused with what to do", () => {
  for (const version of ["1.5.6", "1.6.0", undefined]) {
    expect(() => requirePinnedZstd(version ?? "")).toThrow(
      expect.objectContaining({
        name: "BuildError",
        code: "ZSTD_VERSION",
        message: expect.stringContaining("--compress none"),
      }),
    );
  }
});

describe("the bytes", () => {
  const bytes = sample(700_001);

  test("are these, as long as zstd is this one", async () => {
    const out = await compressed(bytesSource(bytes));
    expect(createHash("sha256").update(out).digest("hex")).toBe(
      "92ebaac6816bc4b5c93b04bb42971368c703091c9f8f32fa13db776513a604b2",
    );
  });

  test("do not depend on how the input is cut", async () => {
    const expected = await compressed(bytesSource(bytes));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 12 }), async (cuts) => {
        expect((await compressed(cutAt(bytes, cuts))).equals(expected)).toBe(true);
      }),
      { numRuns: 8 },
    );
    const everyKib = Array.from({ length: 683 }, (_, index) => index * 1024);
    expect((await compressed(cutAt(bytes, everyKib))).equals(expected)).toBe(true);
  });

  test("unpack to what went in, whatever its length is to a block's", async () => {
    for (const length of [0, 1, 131_071, 131_072, 131_073, 262_144]) {
      const out = await compressed(bytesSource(bytes.subarray(0, length)));
      expect(out.length % 4).toBe(0);
      expect(unpacked(out).equals(bytes.subarray(0, length))).toBe(true);
    }
  });
});

test("a source that fails, and a signal, end it with their own error", async () => {
  const failing: ByteSource = {
    sizeBytes: 10,
    // biome-ignore lint/correctness/useYield: it fails before it has anything
    async *chunks() {
      throw new Error("disk");
    },
  };
  await expect(compressTo(join(temporaryFolder(), "a"), failing, never)).rejects.toThrow("disk");
  const stopped = compressTo(
    join(temporaryFolder(), "a"),
    bytesSource(sample(10)),
    AbortSignal.abort(new Error("stop")),
  );
  await expect(stopped).rejects.toThrow();
});
