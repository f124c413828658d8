/** Kernels: which machine, which version, and what is no kernel for an enclave. */
import { describe, expect, test } from "vitest";
import { bytesSource } from "../../eif/byte-source.ts";
import { readKernel } from "../../eif/kernel-image.ts";
import { arm64Kernel, x86Kernel } from "./kernel-fixture.ts";

const read = (bytes: Uint8Array, expected?: "x86_64" | "aarch64") => readKernel(bytesSource(bytes), expected);

test("a bzImage tells its version by the setup header", async () => {
  expect(await read(x86Kernel("6.12.57 (build@host) #1 SMP"))).toEqual({ architecture: "x86_64", version: "6.12.57" });
  expect(await read(x86Kernel("4.14.256-209.484.amzn2.x86_64 (x)"), "x86_64")).toMatchObject({
    version: "4.14.256-209.484.amzn2.x86_64",
  });
});

test("an arm64 Image tells it by its banner, not by the format string beside it", async () => {
  expect(await read(arm64Kernel("6.6.79"))).toEqual({ architecture: "aarch64", version: "6.6.79" });
  // A banner that lies across two chunks.
  const bytes = arm64Kernel("6.6.79");
  const at = bytes.indexOf("Linux version 6");
  const source = {
    sizeBytes: bytes.length,
    async *chunks() {
      yield bytes.subarray(0, at + 5);
      yield bytes.subarray(at + 5, at + 16);
      yield bytes.subarray(at + 16);
    },
  };
  expect((await readKernel(source, undefined)).version).toBe("6.6.79");
});

test.each([0n, 0x80000n, 2n ** 64n - 1n])("an arm64 Image with a text_offset of %i is noted", async (textOffset) => {
  const { note, ...kernel } = await read(arm64Kernel("6.6.79", textOffset));
  expect(kernel).toEqual({ architecture: "aarch64", version: "6.6.79" });
  expect(note).toContain(`text_offset is 0x${textOffset.toString(16)}: AWS builds its arm64 kernels with 0x200000`);
});

test("a kernel that hides its version has none", async () => {
  expect((await read(x86Kernel("not a version"))).version).toBe("unknown");
  expect((await read(arm64Kernel("%s"))).version).toBe("unknown");
});

describe("refusals", () => {
  test("KERNEL_ARCHITECTURE", async () => {
    const refused = expect.objectContaining({ name: "BuildError", code: "KERNEL_ARCHITECTURE" });
    await expect(read(x86Kernel("6.12.1"), "aarch64")).rejects.toEqual(refused);
    await expect(read(arm64Kernel("6.12.1"), "x86_64")).rejects.toEqual(refused);
    const only32 = x86Kernel("6.12.1");
    only32[0x236] = 0;
    await expect(read(only32)).rejects.toEqual(refused);
  });

  test.each([
    ["empty", Buffer.alloc(0), "neither"],
    ["text", Buffer.alloc(70_000, "x"), "neither"],
    ["vmlinux", Buffer.from(`7f454c46${"00".repeat(1000)}`, "hex"), "bzImage, not vmlinux"],
    ["Image.gz", Buffer.from(`1f8b08${"00".repeat(1000)}`, "hex"), "uncompressed"],
    ["vmlinuz.efi", Buffer.from(`4d5a00007a696d67${"00".repeat(1000)}`, "hex"), "uncompressed"],
  ])("KERNEL_UNKNOWN: %s", async (_what, bytes, hint) => {
    await expect(read(bytes)).rejects.toMatchObject({
      name: "BuildError",
      code: "KERNEL_UNKNOWN",
      message: expect.stringContaining(hint),
    });
  });
});
