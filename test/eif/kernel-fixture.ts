/** What a loader and this toolchain look at in a kernel, and nothing that would boot. */
export function x86Kernel(version: string): Buffer {
  const bytes = Buffer.alloc(0x8000);
  bytes.writeUInt16LE(0xaa55, 0x1fe);
  bytes.write("HdrS", 0x202);
  bytes.writeUInt16LE(0x20f, 0x206);
  bytes.writeUInt16LE(0x3000, 0x20e);
  bytes.writeUInt16LE(1, 0x236);
  bytes.write(`${version}\0`, 0x3200);
  return bytes;
}

export function arm64Kernel(version: string, textOffset = 0x200000n): Buffer {
  const bytes = Buffer.alloc(0x8000);
  bytes.writeBigUInt64LE(textOffset, 8);
  bytes.write("ARM\x64", 56, "latin1");
  bytes.write("Linux version %s (%s)\n\0", 0x1000);
  bytes.write(`Linux version ${version} (build@host) (gcc) #1 SMP\n\0`, 0x6000);
  return bytes;
}
