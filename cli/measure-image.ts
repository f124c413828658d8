/** What an EIF measures to, for commands that run on the EC2 parent. */
import { readEif } from "../eif/index.ts";
import { HostError, type MeasuredImage } from "../host/index.ts";
import { printable } from "./command-io.ts";

/**
 * @param warn - Told of an old size that AWS's sign-eif has left in the table: PCR0 to PCR2 do not depend on it.
 * @throws {@link HostError} `IMAGE_UNREADABLE`, also for one that breaks a rule of the format.
 */
export async function measureImage(
  path: string,
  warn: (text: string) => void = (text) => void process.stderr.write(`cloister: warning: ${text}\n`),
): Promise<MeasuredImage> {
  try {
    const { sizeBytes, measurements } = await readEif(path, {
      onStaleSignatureSize: ({ code, message }) => warn(printable(`${path}: ${code}: ${message}`)),
    });
    if (measurements === null) throw new Error("it is cut short");
    return { sizeBytes, measurements };
  } catch (cause) {
    const { code, message } = cause as Error & { code?: string };
    throw new HostError("IMAGE_UNREADABLE", `${path}: ${code === undefined ? "" : `${code}: `}${message}`, { cause });
  }
}
