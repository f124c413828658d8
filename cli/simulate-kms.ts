/** `cloister simulate-kms`: keeps a simulated KMS running until Ctrl-C, as a process of its own. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";

/** @returns The exit status. */
export async function run(args: readonly string[]): Promise<number> {
  // The extension is that of a checkout or of the published package.
  const program = fileURLToPath(new URL(`../simulator/kms/main${extname(import.meta.url)}`, import.meta.url));
  // The channel carries nothing: its end tells the child that we are gone, however we went. In a group of its own it
  // hears of the terminal's Ctrl-C once, from us.
  const child = spawn(process.execPath, [...process.execArgv, program, ...args], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    detached: true,
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal));
  const [code] = (await once(child, "close")) as [number | null];
  return code ?? 1;
}
