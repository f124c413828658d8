/** The image that boots: the given one's kernel, command line and ramdisks to the byte, and one ramdisk more. */
import { type Measurements, readEif, writeEif } from "../../eif/index.ts";
import { SimulatorError } from "../errors.ts";

/** @throws {@link SimulatorError} `IMAGE_UNUSABLE` */
export async function measureEif(path: string): Promise<Measurements> {
  const { measurements } = await open(path);
  return measurements;
}
