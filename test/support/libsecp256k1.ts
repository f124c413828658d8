/** The source of libsecp256k1 for tests, which compile it, and read its authors' vectors. */
import { temporaryLibsecp256k1 } from "../../scripts/build-native.ts";
import type { Libsecp256k1 } from "../../scripts/image/libsecp256k1.ts";

export const libsecp256k1: Libsecp256k1 | undefined = await sourceOrNone();

/** True where it is in no cache and cannot be fetched, having said so: for `test.skipIf`. */
export const libsecp256k1IsAbsent: boolean = libsecp256k1 === undefined;

async function sourceOrNone(): Promise<Libsecp256k1 | undefined> {
  try {
    return await temporaryLibsecp256k1(() => {});
  } catch (error) {
    process.stderr.write(`skipped: ${error instanceof Error ? error.message : String(error)}\n`);
    return undefined;
  }
}
