/** Reads from a kernel image which machine it is for and which version it is. */
import { BuildError } from "./build-errors.ts";
import type { ByteSource } from "./byte-source.ts";
import type { Architecture } from "./format.ts";

export interface KernelImage {
  readonly architecture: Architecture;
  /** The release, such as 6.12.57; what follows it may hold spaces and a build's own names. */
  readonly version: string;
  /** What may keep it from booting, for whoever builds; most kernels have none. */
  readonly note?: string;
}

/** Enough for the x86 setup header and the arm64 header; the version string of a bzImage lies in the setup, below 64 KiB. */
const HEAD_BYTES = 128 * 1024;

/** @throws {@link BuildError} `KERNEL_UNKNOWN`, `KERNEL_ARCHITECTURE` */
export async function readKernel(kernel: ByteSource, expected: Architecture | undefined): Promise<KernelImage> {
  const head = await beginningOf(kernel);
  const found = bzImage(head) ?? (await arm64Image(kernel, head));
  if (found === undefined) throw unknown(head);
  if (expected !== undefined && found.architecture !== expected) {
    throw new BuildError(
      "KERNEL_ARCHITECTURE",
      `the kernel is for ${found.architecture}, expected one for ${expected}`,
    );
  }
  return found;
}

/** Linux, Documentation/arch/x86/boot.rst: 0xAA55 and "HdrS", the offset of the version, and the 64-bit flag. */
function bzImage(head: Buffer): KernelImage | undefined {
  if (head.length < 0x268 || head.readUInt16LE(0x1fe) !== 0xaa55 || head.toString("latin1", 0x202, 0x206) !== "HdrS") {
    return undefined;
  }
  const protocol = head.readUInt16LE(0x206);
  if (protocol < 0x20c || (head.readUInt16LE(0x236) & 1) === 0) {
    throw new BuildError("KERNEL_ARCHITECTURE", "the kernel is for x86, but has no 64-bit entry");
  }
  const at = head.readUInt16LE(0x20e) + 0x200;
  return { architecture: "x86_64", version: at === 0x200 ? "unknown" : releaseAt(head, at) };
}

/** Documentation/arch/arm64/booting.rst: "ARM\x64" at 56. The version stands somewhere in the image, in linux_banner. */
async function arm64Image(kernel: ByteSource, head: Buffer): Promise<KernelImage | undefined> {
  if (head.length < 64 || head.toString("latin1", 56, 60) !== "ARM\x64") return undefined;
  const version = await bannerRelease(kernel);
  const textOffset = head.readBigUInt64LE(8);
  if (textOffset === ARM64_TEXT_OFFSET) return { architecture: "aarch64", version };
  // Whether a loader minds cannot be known here, and a kernel of today has 0.
  const note = `the kernel's text_offset is 0x${textOffset.toString(16)}: AWS builds its arm64 kernels with 0x200000 (a u64, little-endian, at byte 8), since the enclave's loader relies on it`;
  return { architecture: "aarch64", version, note };
}

const ARM64_TEXT_OFFSET = 0x200000n;

const BANNER = Buffer.from("Linux version ");
const RELEASE_BYTES = 64;

async function bannerRelease(kernel: ByteSource): Promise<string> {
  // A format string "Linux version %s" stands in the image as well.
  let held = Buffer.alloc(0);
  for await (const chunk of kernel.chunks()) {
    held = Buffer.concat([held, chunk]);
    for (let at = held.indexOf(BANNER); at >= 0; at = held.indexOf(BANNER, at + 1)) {
      const release = releaseAt(held, at + BANNER.length);
      if (release !== "unknown" && at + BANNER.length + RELEASE_BYTES <= held.length) return release;
    }
    held = held.subarray(Math.max(0, held.length - BANNER.length - RELEASE_BYTES));
  }
  return "unknown";
}

function releaseAt(bytes: Buffer, at: number): string {
  return /^[0-9]+\.[0-9]+[0-9A-Za-z.+~_-]*/.exec(bytes.toString("latin1", at, at + RELEASE_BYTES))?.[0] ?? "unknown";
}

async function beginningOf(source: ByteSource): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const chunk of source.chunks()) {
    // A chunk's memory is written over when the next is asked for.
    pieces.push(Buffer.from(chunk.subarray(0, HEAD_BYTES - length)));
    length += Math.min(chunk.length, HEAD_BYTES - length);
    if (length === HEAD_BYTES) break;
  }
  return Buffer.concat(pieces);
}

function unknown(head: Buffer): BuildError {
  const magic = head.toString("hex", 0, 4);
  const hint =
    magic.startsWith("1f8b") || magic === "28b52ffd" || head.toString("latin1", 4, 8) === "zimg"
      ? "it is compressed: an enclave's loader takes the uncompressed Image"
      : magic === "7f454c46"
        ? "it is an ELF file: take arch/x86/boot/bzImage, not vmlinux"
        : "it is neither a bzImage (x86_64) nor an Image (aarch64)";
  return new BuildError("KERNEL_UNKNOWN", `the kernel is not one that an enclave boots: ${hint}`);
}
