/** The `cloister` command as its users run it: a process of its own. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { encodeHex } from "../../protocol/index.ts";
import type { Simulator } from "../../simulator/index.ts";

export interface CloisterProcess {
  readonly process: ChildProcessByStdio<null, Readable, Readable>;
  /** What it has said until now on standard output, on standard error, and on both as it came. */
  readonly out: () => string;
  readonly err: () => string;
  readonly output: () => string;
  /** Once it has closed what it writes to; null where a signal ended it. */
  readonly exitCode: Promise<number | null>;
}

const running = new Set<CloisterProcess["process"]>();

export function startCloister(args: readonly string[], env: NodeJS.ProcessEnv = {}): CloisterProcess {
  const child = spawn(process.execPath, ["bin/cloister.js", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  running.add(child);
  let [out, err, output] = ["", "", ""];
  child.stdout.on("data", (chunk: Buffer) => {
    out += chunk.toString();
    output += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    err += chunk.toString();
    output += chunk.toString();
  });
  const exitCode = once(child, "close").then(([code]) => {
    running.delete(child);
    return code as number | null;
  });
  return { process: child, out: () => out, err: () => err, output: () => output, exitCode };
}

/** For what a test that failed has left running. */
export function killCloisters(): void {
  for (const child of running) child.kill("SIGKILL");
}

/** The options of commands that talk to an enclave. Writes the root that they name. */
export async function enclaveOptions(
  { url, deployment, expected, attestationRootPem }: Simulator,
  folder: string,
): Promise<string[]> {
  const root = join(folder, "root.pem");
  await writeFile(root, attestationRootPem);
  const pcr0 = encodeHex(expected.pcrs[0]?.get(0) ?? new Uint8Array(0));
  return ["--url", url, "--deployment", deployment, "--root", root, "--pcr", `0=${pcr0}`];
}
