import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { guestVsock, hostVsock } from "../../vsock/index.ts";

export async function socketPath(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "vs-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return join(folder, "v");
}

/** Both sides of one connection, without a hypervisor between. */
export async function bothSides() {
  const path = await socketPath();
  const host = hostVsock(path);
  const guest = guestVsock(path);
  onTestFinished(async () => {
    await host.close();
    await guest.close();
  });
  return { path, host, guest };
}

/** Waits for a condition that a stream brings about; the test's own timeout bounds it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
