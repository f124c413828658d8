/** Runs a program to its end, bounded in time and output. */
import { spawn } from "node:child_process";

const MAX_OUTPUT_BYTES = 1024 * 1024;

export interface CommandResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export type RunCommand = (
  command: string,
  args: readonly string[],
  options: { readonly timeoutMs: number },
) => Promise<CommandResult>;

/** `ABSENT`: there is no such program. `TIMED_OUT`: it was killed. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly code: "ABSENT" | "DENIED" | "TIMED_OUT" | "FAILED";

  constructor(code: CommandError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Resolves whatever the exit status; a signal counts as 128. @throws {@link CommandError} */
export const runCommand: RunCommand = (command, args, { timeoutMs }) => {
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], timeout: timeoutMs, killSignal: "SIGKILL" });
  const out: Record<"stdout" | "stderr", Buffer[]> = { stdout: [], stderr: [] };
  let size = 0;
  for (const name of ["stdout", "stderr"] as const) {
    child[name].on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= MAX_OUTPUT_BYTES) out[name].push(chunk);
    });
  }
  const startedAtMs = performance.now();
  child.on("error", (cause: NodeJS.ErrnoException) => {
    const code = cause.code === "ENOENT" ? "ABSENT" : cause.code === "EACCES" ? "DENIED" : "FAILED";
    reject(new CommandError(code, `${command}: ${cause.message}`, { cause }));
  });
  // At "exit", not "close": nitro-cli leaves a process behind that may hold the pipes. What it wrote before is there by
  // then, but for what the pipe still holds: one turn of the loop reads that.
  child.on("exit", (status, signal) => {
    setImmediate(() =>
      setTimeout(() => {
        for (const name of ["stdout", "stderr"] as const) child[name].destroy();
        if (signal === "SIGKILL" && performance.now() - startedAtMs >= timeoutMs) {
          reject(new CommandError("TIMED_OUT", `${command} took more than ${timeoutMs} ms`));
          return;
        }
        const text = (name: "stdout" | "stderr") => Buffer.concat(out[name]).toString("utf8");
        resolve({ status: status ?? 128, stdout: text("stdout"), stderr: text("stderr") });
      }, 20),
    );
  });
  return promise;
};
