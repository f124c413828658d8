import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** V8's own, whether or not the process was started with it exposed. */
export function collector(): () => void {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  return () => {
    // What a first pass lets finalizers release, the second one frees.
    gc();
    gc();
  };
}
