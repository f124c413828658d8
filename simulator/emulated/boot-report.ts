/** What a boot says of itself on its console, with the time at which each line came. */

/** `cloister-init: <step> <ms>` and `cloister: <phase> <ms>`; the time is the guest's, since its kernel began. */
const PHASE = /^cloister(?:-init)?: ([a-z][a-z0-9-]*) ([0-9]+)(?: (.*))?$/;
const KEPT_LINES = 40;

export interface BootPhase {
  readonly name: string;
  /** Since the kernel's clock began to run. */
  readonly guestMs: number;
  /** Since QEMU was started. */
  readonly hostMs: number;
}

export class BootReport {
  readonly #startedAt = performance.now();
  readonly #onPhase: (phase: BootPhase) => void;
  readonly #phases: BootPhase[] = [];
  readonly #waiters = new Map<string, PromiseWithResolvers<string>>();
  #lines: string[] = [];

  constructor(onPhase: (phase: BootPhase) => void = () => {}) {
    this.#onPhase = onPhase;
  }

  get phases(): readonly BootPhase[] {
    return this.#phases;
  }

  /** The console's last lines. */
  get tail(): string {
    return this.#lines.join("\n");
  }

  /** Everything before the kernel's clock runs: firmware, and the kernel that unpacks itself. Null until init spoke. */
  get firmwareMs(): number | null {
    const [first] = this.#phases;
    return first === undefined ? null : first.hostMs - first.guestMs;
  }

  take(raw: string): void {
    const line = raw.trimEnd();
    this.#lines = [...this.#lines.slice(1 - KEPT_LINES), line];
    const [, name, guestMs, rest = ""] = PHASE.exec(line) ?? [];
    if (name === undefined) return;
    const phase = { name, guestMs: Number(guestMs), hostMs: performance.now() - this.#startedAt };
    this.#phases.push(phase);
    this.#onPhase(phase);
    this.#waiter(name).resolve(rest);
  }

  /** Settles with what followed the phase's time. */
  reached(name: string): Promise<string> {
    return this.#waiter(name).promise;
  }

  #waiter(name: string): PromiseWithResolvers<string> {
    const waiter = this.#waiters.get(name) ?? Promise.withResolvers<string>();
    this.#waiters.set(name, waiter);
    return waiter;
  }
}
