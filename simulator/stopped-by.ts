import { SimulatorError } from "./errors.ts";

/** Never settles otherwise: for a race. @throws {@link SimulatorError} `STOPPED`, once the signal says so. */
export function stoppedBy(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    const stop = () => reject(new SimulatorError("STOPPED", "stopped before the enclave was ready"));
    if (signal?.aborted === true) stop();
    signal?.addEventListener("abort", stop, { once: true });
  });
}
