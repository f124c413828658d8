/** `cloister` commands called in the test's own process. */
import type { CommandIo } from "../../cli/command-io.ts";

export interface Called {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** Keeps what a command says. */
export async function called(command: (says: Pick<CommandIo, "out" | "err">) => Promise<number>): Promise<Called> {
  let [out, err] = ["", ""];
  const status = await command({
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
  });
  return { status, out, err };
}

export type Files = Readonly<Record<string, string | Uint8Array>>;

/** Reads files that exist in memory only; `-` is standard input. */
export function readerOf(files: Files): CommandIo["read"] {
  return async (path) => {
    const file = files[path];
    if (file === undefined) throw new Error("ENOENT: no such file");
    return typeof file === "string" ? new TextEncoder().encode(file) : file;
  };
}
