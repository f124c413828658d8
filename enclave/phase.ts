import type { Admission } from "./admission/admission.ts";
import type { SigningWorkers } from "./workers/signing-workers.ts";

/** Where the enclave stands. `failed` is terminal: only a new boot leaves it. */
export type Phase =
  | { readonly name: "booting" }
  /** Attestation can be given; the vault is not open yet. `waitingFor` is the last failure that is worth another try. */
  | { readonly name: "attested"; readonly waitingFor: Failure | null }
  | { readonly name: "ready"; readonly admission: Admission; readonly workers: SigningWorkers }
  | { readonly name: "failed"; readonly failure: Failure };

export interface Failure {
  readonly code: string;
  readonly message: string;
}
