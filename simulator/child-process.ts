/** A process of the simulator: ready by its own word, and ended with certainty. */
import { type ChildProcess, spawn } from "node:child_process";
import { extname } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { SimulatorError } from "./errors.ts";

const READY_TIMEOUT_MS = 30_000;
/** Longer than a drain takes; then it is killed. */
const STOP_TIMEOUT_MS = 25_000;

/** One line of JSON on standard output. */
export type ProcessEvent = { readonly event: string } & Readonly<Record<string, unknown>>;

export interface ChildOptions {
  /** For messages. */
  readonly name: string;
  /** A program and its arguments. */
  readonly command: readonly [program: string, ...args: string[]];
  /** This process's own unless given. */
  readonly env?: NodeJS.ProcessEnv;
  /** Takes each line of standard error. */
  readonly log: (line: string) => void;
  /** Takes each line of standard output. Left out: they are events. */
  readonly onLine?: (line: string) => void;
}

export class Child {
  readonly #name: string;
  readonly #process: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #events: ProcessEvent[] = [];
  readonly #waiters = new Set<() => void>();
  readonly #onLine: ((line: string) => void) | undefined;
  #lastLines: string[] = [];

  constructor({ name, command: [program, ...args], env = process.env, log, onLine }: ChildOptions) {
    this.#name = name;
    this.#onLine = onLine;
    // Its standard input is a pipe that nobody writes to: when this process dies, however it dies, the child sees it
    // end. A group of its own keeps the terminal's Ctrl-C from it: this process says when it stops.
    this.#process = spawn(program, args, {
      stdio: ["pipe", "pipe", "pipe"],
      env,
      detached: true,
    });
    this.#exited = new Promise((resolve) => {
      this.#process.once("exit", () => resolve());
      this.#process.once("error", () => resolve());
    });
    const { stdout, stderr } = this.#process;
    if (stdout !== null) createInterface(stdout).on("line", (line) => this.#onOutput(line));
    if (stderr !== null) {
      createInterface(stderr).on("line", (line) => {
        this.#keep(line);
        log(line);
      });
    }
    void this.#exited.then(() => this.#wake());
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Settles once it has ended, however. */
  get exited(): Promise<void> {
    return this.#exited;
  }

  /** What it ended with, and the last lines that it wrote. */
  get lastWords(): string {
    const { exitCode, signalCode } = this.#process;
    return `${this.#name} ended with ${signalCode ?? exitCode}:\n${this.#lastLines.join("\n")}`;
  }

  /** By a signal, ours or another's. */
  get wasKilled(): boolean {
    return this.#process.signalCode !== null;
  }

  get isRunning(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null && this.#process.pid !== undefined;
  }

  /**
   * Waits for the first event whose name is one of these.
   *
   * @throws {@link SimulatorError} `PROCESS_FAILED` if the process ends before, `PROCESS_TIMEOUT`
   */
  async event(...names: string[]): Promise<ProcessEvent> {
    const deadline = performance.now() + READY_TIMEOUT_MS;
    for (;;) {
      const found = this.#events.find(({ event }) => names.includes(event));
      if (found !== undefined) return found;
      if (!this.isRunning) throw new SimulatorError("PROCESS_FAILED", this.lastWords);
      const left = deadline - performance.now();
      if (left <= 0) throw new SimulatorError("PROCESS_TIMEOUT", `${this.#name} says nothing of ${names.join(" or ")}`);
      await this.#nextChange(left);
    }
  }

  /** Asks the process to end, and ends it if it does not. */
  async stop(): Promise<void> {
    this.#process.kill("SIGTERM");
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await this.#exited;
    clearTimeout(timer);
  }

  /** Ends the process where it stands. */
  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#exited;
  }

  #onOutput(line: string): void {
    if (this.#onLine !== undefined) {
      this.#keep(line);
      this.#onLine(line);
      return;
    }
    try {
      this.#events.push(JSON.parse(line) as ProcessEvent);
      this.#wake();
    } catch {
      // Not an event: nothing else is expected on this stream.
    }
  }

  #keep(line: string): void {
    this.#lastLines = [...this.#lastLines.slice(-9), line];
  }

  async #nextChange(timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, timeoutMs);
    this.#waiters.add(resolve);
    await promise;
    clearTimeout(timer);
  }

  #wake(): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const resolve of waiters) resolve();
  }
}

/** A file of this folder, as TypeScript from a checkout or as JavaScript from the published package. */
export function beside(path: string): string {
  return fileURLToPath(new URL(path + extname(import.meta.url), import.meta.url));
}
