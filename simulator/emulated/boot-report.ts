/** What a boot says of itself on its console, with the time at which each line came. */

/** `cloister-init: <step> <ms>` and `cloister: <phase> <ms>`; the time is the guest's, since its kernel began. */
const PHASE = /^cloister(?:-init)?: ([a-z]+) ([0-9]+)$/;
const FAILED = /^cloister: failed ([A-Z_]+): (.*?)(?: [0-9]+)?$/;
const KEPT_LINES = 40;

export interface BootPhase {
  readonly name: string;
  /** Since the kernel's clock began to run. */
  readonly guestMs: number;
  /** Since QEMU was started. */
  readonly hostMs: number;
}

/** How a start ends that ends by its own word. */
export type BootResult =
  | { readonly kind: "ready" }
  | { readonly kind: "failed"; readonly code: string; readonly message: string };

export class BootReport {
  readonly #startedAt = performance.now();
  /** Hears of each phase. */
  onPhase: (phase: BootPhase) => void = () => {};
  readonly #phases: BootPhase[] = [];
  readonly #result = Promise.withResolvers<BootResult>();
  #lines: string[] = [];

  get phases(): readonly BootPhase[] {
    return this.#phases;
  }

  /** The console's last lines. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  /** Everything before the kernel's clock runs: firmware, and the kernel that unpacks itself. Null until init spoke. */
  get firmwareMs(): number | null {
    const [first] = this.#phases;
    return first === undefined ? null : first.hostMs - first.guestMs;
  }

  /** Never settles for a boot that does neither. */
  get result(): Promise<BootResult> {
    return this.#result.promise;
  }

  take(raw: string): void {
    const line = raw.trimEnd();
    this.#lines = [...this.#lines.slice(1 - KEPT_LINES), line];
    const [, code, message = ""] = FAILED.exec(line) ?? [];
    if (code !== undefined) this.#result.resolve({ kind: "failed", code, message });
    const [, name, guestMs] = PHASE.exec(line) ?? [];
    if (name === undefined) return;
    const phase = { name, guestMs: Number(guestMs), hostMs: performance.now() - this.#startedAt };
    this.#phases.push(phase);
    this.onPhase(phase);
    if (name === "ready") this.#result.resolve({ kind: "ready" });
  }
}
