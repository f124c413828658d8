/** What an EIF measures to, for commands that run on the EC2 parent. */
import { stat } from "node:fs/promises";
import { HostError, type MeasuredImage, parseMeasurements, runCommand } from "../host/index.ts";

const TIMEOUT_MS = 60_000;

/** @throws {@link HostError} `IMAGE_UNREADABLE` */
export async function measureImage(path: string): Promise<MeasuredImage> {
  try {
    const { size } = await stat(path);
    const described = await runCommand("nitro-cli", ["describe-eif", "--eif-path", path], { timeoutMs: TIMEOUT_MS });
    if (described.status !== 0) throw new Error(described.stderr.trim());
    return { sizeBytes: size, measurements: parseMeasurements(Buffer.from(described.stdout)) };
  } catch (cause) {
    throw new HostError("IMAGE_UNREADABLE", `${path}: ${(cause as Error).message}`, { cause });
  }
}
