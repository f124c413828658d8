/** What nitro-cli does on port 9000 of the parent: it echoes the byte by which an enclave says that it has booted. */
import { hostVsock } from "../../vsock/index.ts";

export const HEARTBEAT_PORT = 9000;
/** nitro.md 1.10. */
const HEARTBEAT_BYTE = 0xb7;

/**
 * @param onBeat - The byte came, and its echo went.
 * @throws VsockError `PORT_IN_USE`
 */
export async function serveHeartbeat(vsockPath: string, onBeat: () => void): Promise<{ close(): Promise<void> }> {
  const vsock = hostVsock(vsockPath);
  await vsock.listen(HEARTBEAT_PORT, (stream) => {
    stream.once("data", (bytes: Uint8Array) => {
      if (bytes[0] !== HEARTBEAT_BYTE) {
        stream.destroy();
        return;
      }
      stream.end(Uint8Array.of(HEARTBEAT_BYTE));
      onBeat();
    });
  });
  return vsock;
}
