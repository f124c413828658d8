/** Everything that the processes of a simulator write: standard output and error, from the first byte. */
import type { ChildProcess } from "node:child_process";
import { subscribe, unsubscribe } from "node:diagnostics_channel";

export class ProcessOutput {
  readonly #chunks: Buffer[] = [];
  readonly #onProcess = (message: unknown) => {
    const { process: child } = message as { process: ChildProcess };
    // Its streams are there when this turn is over, and nothing has been read by then.
    queueMicrotask(() => {
      for (const stream of [child.stdout, child.stderr]) {
        stream?.on("data", (chunk: Buffer) => this.#chunks.push(Buffer.from(chunk)));
      }
    });
  };

  constructor() {
    subscribe("child_process", this.#onProcess);
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  stop(): void {
    unsubscribe("child_process", this.#onProcess);
  }
}
