/** What the main thread and a signing worker say to each other: values and sealed records, and keys by reference alone. */
import type { KeyObject } from "node:crypto";
import type { EnclaveErrorCode, StoredRecord } from "../../protocol/index.ts";
import type { ReceivedRequest, SignedAnswer } from "../answer.ts";
import type { Manifest } from "../manifest.ts";
import type { SealedChange, Seen } from "../vault/fresh-records.ts";
import type { GenerationChange } from "../vault/record-cipher.ts";

/** What a worker begins with. */
export interface WorkerSetup {
  readonly manifest: Manifest;
  readonly answerKey: KeyObject;
  /** The boot's key id. */
  readonly boot: string;
  readonly idKey: KeyObject;
  /** The main thread's cipher as it is now; more follows. */
  readonly generations: readonly GenerationChange[];
  /** Of this worker's own randomness. */
  readonly seed: KeyObject;
  /** What was issued before that is refused: nobody remembers whether it was acted on. */
  readonly bootedAtMs: number;
  /** Of what all threads together may remember and keep. */
  readonly part: number;
  readonly requestIdsPart: number;
  readonly marks: SharedArrayBuffer;
  readonly clock: SharedArrayBuffer;
}

export type ToWorker =
  | {
      readonly kind: "request";
      readonly id: number;
      readonly request: ReceivedRequest;
      /** No other is under way at this worker. */
      readonly isSole: boolean;
    }
  | { readonly kind: "reply"; readonly id: number; readonly reply: Reply }
  | { readonly kind: "generation"; readonly change: GenerationChange }
  | { readonly kind: "ping" }
  | { readonly kind: "close" };

export type FromWorker =
  | { readonly kind: "ready" }
  | { readonly kind: "answer"; readonly id: number; readonly answer: SignedAnswer; readonly lines: readonly string[] }
  | { readonly kind: "call"; readonly id: number; readonly call: WorkerCall }
  | { readonly kind: "remember"; readonly name: string; readonly seen: Seen }
  | { readonly kind: "pong" };

/** What a worker asks of the main thread. */
export type WorkerCall =
  | { readonly kind: "get"; readonly name: string }
  | { readonly kind: "list"; readonly folder: string; readonly after: string | null }
  | { readonly kind: "write"; readonly changes: readonly SealedChange[]; readonly deleted: ReadonlySet<string> }
  | { readonly kind: "follow"; readonly generation: number }
  | { readonly kind: "before-sealing" };

export type Result<Call extends WorkerCall> = Call extends { readonly kind: "get" }
  ? StoredRecord | null
  : Call extends { readonly kind: "list" }
    ? readonly StoredRecord[]
    : Call extends { readonly kind: "write" }
      ? boolean
      : undefined;

export type Reply =
  | { readonly done: true; readonly result: Result<WorkerCall> }
  | { readonly done: false; readonly code: EnclaveErrorCode; readonly message: string };

/** A view of a larger buffer takes all of it along when it is sent. */
export function alone(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : Uint8Array.from(bytes);
}
