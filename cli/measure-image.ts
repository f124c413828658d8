/** What an EIF measures to, for commands that run on the EC2 parent. */
import { readEif } from "../eif/index.ts";
import { HostError, type MeasuredImage } from "../host/index.ts";

/** @throws {@link HostError} `IMAGE_UNREADABLE`, also for one that breaks a rule of the format. */
export async function measureImage(path: string): Promise<MeasuredImage> {
  try {
    const { sizeBytes, measurements } = await readEif(path);
    if (measurements === null) throw new Error("it is cut short");
    return { sizeBytes, measurements };
  } catch (cause) {
    const { code, message } = cause as Error & { code?: string };
    throw new HostError("IMAGE_UNREADABLE", `${path}: ${code === undefined ? "" : `${code}: `}${message}`, { cause });
  }
}
