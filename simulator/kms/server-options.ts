/** What a simulated KMS is started with, and what its starter can do with it. */
import type { AttestationRoot } from "../../attestation/index.ts";
import type { EnvelopeShape } from "./enveloped-data.ts";
import type { KmsErrorCode } from "./errors.ts";
import type { KmsAnswer } from "./operations/call.ts";
import type { KeyPolicyInput } from "./policy-document.ts";
import type { KmsPrincipal } from "./principal.ts";

export type KmsFault = KmsErrorCode | "CONNECTION_RESET";

/** What goes wrong with one request. */
export interface KmsFaultPlan {
  /** The answer waits, milliseconds. */
  readonly delayMs?: number;
  /** Fails the request before it is looked at. */
  readonly fail?: KmsFault;
  /** Changes what goes out for a request that was granted. */
  readonly rewriteAnswer?: (answer: KmsAnswer) => KmsAnswer;
}

/** Misbehaviour on demand: for tests of clients, who must notice it. */
export interface KmsFaults {
  /** Asked once for each request that was signed well and names an operation. */
  readonly plan?: (operation: string) => KmsFaultPlan;
  /** Changes what goes out for a request that was granted. */
  readonly rewriteAnswer?: (operation: string, answer: KmsAnswer) => KmsAnswer;
  /** Fails a request before it is looked at: with an error, or with a connection that breaks. Undefined: does not. */
  readonly fail?: (operation: string) => KmsFault | undefined;
}

export interface KmsLogEntry {
  readonly atMs: number;
  readonly requestId: string;
  readonly operation: string | null;
  readonly principalArn: string | null;
  readonly keyArn: string | null;
  readonly outcome: "ok" | KmsFault;
  /** What the caller is not told, such as why a document was refused. */
  readonly detail: string | null;
}

export interface SimulatedKmsOptions {
  /** Null: plain HTTP, for clients that cannot be given a certificate authority; `aws:SecureTransport` is false then. */
  readonly tls: { readonly keyPem: string; readonly certPem: string } | null;
  readonly region: string;
  /** Twelve digits. */
  readonly accountId: string;
  /** Looked at anew for each request, so that an array may be added to. */
  readonly principals: readonly KmsPrincipal[];
  /** The simulator's own roots; AWS's only where genuine documents are to be tried. */
  readonly attestationRoots: readonly AttestationRoot[];
  /** Everything survives restarts here, in the clear, for one simulator at a time; null: in memory only. */
  readonly storeFile: string | null;
  readonly nowMs: () => number;
  /** 300 000 unless given. */
  readonly maxAttestationAgeMs?: number;
  /** `random` unless given. */
  readonly envelopeShape?: EnvelopeShape | "random";
  /** Any free one unless given. */
  readonly port?: number;
  /** 127.0.0.1 unless given. */
  readonly host?: string;
  readonly log?: (entry: KmsLogEntry) => void;
  readonly faults?: KmsFaults;
  /** Requests per second by group of operations, such as `AWS_REQUEST_QUOTAS`. Left out: no limit. */
  readonly throttle?: Readonly<Record<string, number>>;
  /** How long a new grant counts only for requests that name its token; 0 unless given. */
  readonly grantPropagationMs?: number;
}

export interface SimulatedKms {
  readonly port: number;
  /**
   * Stands for the account's administrator: no policy is asked.
   *
   * @returns The key's ARN.
   * @throws {@link KmsError} `AlreadyExistsException`, `ValidationException`, `MalformedPolicyDocumentException`
   */
  createKey(options: {
    readonly keyId?: string;
    readonly policy: KeyPolicyInput;
    readonly multiRegion?: boolean;
    /** Its `alias/…`, which leaves the key that has it now. */
    readonly alias?: string;
  }): string;
  /** @throws {@link KmsError} `NotFoundException`, `MalformedPolicyDocumentException` */
  putKeyPolicy(keyArn: string, policy: KeyPolicyInput): void;
  keyArns(): string[];
  /** The ARN of the key that an alias stands for; null: no such alias. */
  keyArnOf(alias: string): string | null;
  /** Ends open connections too. */
  close(): Promise<void>;
}
