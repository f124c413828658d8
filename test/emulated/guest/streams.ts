/** Bytes between guest and host: through the image's own AF_VSOCK, and through the enclave's own egress. */
import { createHash, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Duplex } from "node:stream";
import { Egress } from "../../../enclave/egress/egress.ts";
import { guestAfVsock } from "../../../vsock/index.ts";
import { ECHO_HOST, ECHO_PORT, EGRESS_BYTES, GO_PORT, ROOTS_FILE, SIZES } from "./agreed.ts";

const TIMEOUT = { timeoutMs: 30_000 } as const;

/** Sends each size to the host, which sends it back: what came must be what went. */
export async function echoSizes(parentCid: number): Promise<object> {
  const vsock = guestAfVsock({ parentCid });
  try {
    const found: Record<string, boolean> = {};
    for (const size of SIZES) {
      const bytes = randomBytes(size);
      const stream = await vsock.connect(ECHO_PORT, TIMEOUT);
      found[size] = (await echo(stream, bytes)).equals(bytes);
    }
    return found;
  } finally {
    await vsock.close();
  }
}

/** TLS that ends here, over the parent's egress; both ends report the hash of what they got. */
export async function echoThroughEgress(parentCid: number): Promise<object> {
  const vsock = guestAfVsock({ parentCid });
  try {
    const egress = new Egress({ vsock, allowed: new Set([`${ECHO_HOST}:443`]), nowMs: Date.now });
    const roots = [await readFile(ROOTS_FILE, "utf8")];
    const socket = await egress.connectTls({ host: ECHO_HOST, port: 443, roots, ...TIMEOUT });
    const bytes = randomBytes(EGRESS_BYTES);
    const back = await echo(socket, bytes);
    return { sent: sha256(bytes), received: sha256(back), bytes: back.length };
  } finally {
    await vsock.close();
  }
}

/** Until the host has seen enough and ends the stream. */
export async function waitForHost(parentCid: number): Promise<void> {
  const stream = await guestAfVsock({ parentCid }).connect(GO_PORT, TIMEOUT);
  await new Promise((resolve) =>
    stream
      .on("error", () => {})
      .once("end", resolve)
      .once("close", resolve)
      .resume(),
  );
}

/** Ends only when all is back: vhost-device-vsock does not pass on that one direction has ended. */
async function echo(stream: Duplex, bytes: Buffer): Promise<Buffer> {
  stream.write(bytes);
  const chunks: Buffer[] = [];
  let left = bytes.length;
  for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    left -= chunk.length;
    if (left <= 0) break;
  }
  stream.end();
  return Buffer.concat(chunks);
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
