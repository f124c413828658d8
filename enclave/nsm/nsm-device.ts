/** `/dev/nsm`: the addon's one call, in order, with what may be repeated repeated. */
import { close, constants, open } from "node:fs";
import { constants as os } from "node:os";
import { promisify } from "node:util";
import { errnoError, errnoName, loadNative } from "../../vsock/index.ts";
import { StartError } from "../errors.ts";
import type { NsmDevice } from "./nsm.ts";

interface NsmAddon {
  /** The response, or a negated errno. */
  request(fd: number, bytes: Uint8Array): Promise<Uint8Array | number>;
}

/** A request is made this often before an interruption counts as a failure. */
const MAX_ATTEMPTS = 5;

/**
 * How requests begin that change nothing (nitro.md 2.3): an interrupted one can be made again. ExtendPCR cannot: whether
 * the first one was carried out is unknown, and extending twice gives another PCR.
 */
const REPEATABLE = ["DescribeNSM", "GetRandom", "DescribePCR", "Attestation"] as const;

export interface OpenNsmDevice extends NsmDevice {
  /** After the requests that are under way. Later ones fail. */
  close(): Promise<void>;
}

/**
 * Opens the Nitro Secure Module's device.
 *
 * @throws {@link StartError} `NSM_FAILED` where there is none.
 * @throws NativeError `NATIVE_MISSING`
 */
export async function openNsmDevice(path = "/dev/nsm", load = loadNative): Promise<OpenNsmDevice> {
  const addon = load("nsm") as NsmAddon;
  let fd: number;
  try {
    // Node opens every file with O_CLOEXEC.
    fd = await promisify(open)(path, constants.O_RDWR);
  } catch (cause) {
    const name = (cause as NodeJS.ErrnoException).code;
    throw new StartError("NSM_FAILED", `${path}: ${name}: not in a Nitro enclave, or its kernel has no NSM driver`, {
      cause,
    });
  }
  return nsmDevice(
    (request) => addon.request(fd, request),
    () => promisify(close)(fd),
  );
}

/** The device behind its call, for tests too. */
export function nsmDevice(
  call: (request: Uint8Array) => Promise<Uint8Array | number>,
  release: () => Promise<void>,
): OpenNsmDevice {
  let last: Promise<unknown> = Promise.resolve();
  let isClosed = false;

  async function answer(request: Uint8Array): Promise<Uint8Array> {
    for (let attempt = 1; ; attempt += 1) {
      const result = await call(request);
      if (typeof result !== "number") return result;
      const mayRepeat = result === -os.errno.EINTR && isRepeatable(request) && attempt < MAX_ATTEMPTS;
      if (!mayRepeat) {
        const cause = errnoError("ioctl", result);
        throw new StartError("NSM_FAILED", `the NSM did not answer: ${errnoName(result)}`, { cause });
      }
    }
  }

  return {
    process(request) {
      if (isClosed) return Promise.reject(new StartError("NSM_FAILED", "the NSM's device is closed"));
      // One at a time: the driver would make the others wait too, each on a thread that files and names need.
      const mine = last.then(() => answer(request));
      last = mine.catch(() => {});
      return mine;
    },
    async close() {
      if (isClosed) return;
      isClosed = true;
      await last;
      await release();
    },
  };
}

/** A variant without fields travels as bare text, one with fields as a map of one entry. */
function isRepeatable(request: Uint8Array): boolean {
  const start = request[0] === 0xa1 ? 1 : 0;
  return REPEATABLE.some((variant) => {
    const name = Buffer.from(variant);
    const end = start + 1 + name.length;
    return request[start] === 0x60 + name.length && name.equals(request.subarray(start + 1, end));
  });
}
