/** Where a simulator's enclave comes from: prepared once, so that KMS knows what to demand, then booted as often as asked. */
import type { ProcessEvent } from "./child-process.ts";
import type { NsmPki } from "./nsm/index.ts";

export interface EnclaveSource {
  prepare(site: EnclaveSite): Promise<PreparedEnclave>;
}

/** What an enclave is given, and what it runs beside. */
export interface EnclaveSite {
  /** `cloister.yaml` of the simulated deployment. */
  readonly manifest: Uint8Array;
  /** Signs the certificates of the simulated KMS and issuer. */
  readonly tlsRootPem: string;
  readonly nsmPki: NsmPki;
  readonly moduleId: string;
  readonly instanceId: string;
  readonly roleArn: string;
  /** Threads that sign beside the enclave's main one; an image has its own number. */
  readonly signingWorkers: number;
  /** For files and sockets; it goes with the simulator. */
  readonly runFolder: string;
  readonly nowMs: () => number;
  readonly log: (line: string) => void;
  /** Takes what has to be undone. */
  readonly cleanup: AsyncDisposableStack;
}

export interface PreparedEnclave {
  /** What the NSM will say of it, 48 bytes each. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
  /** It was not given the simulated deployment's manifest, but brings one. */
  readonly hasOwnManifest: boolean;
  /** @param vsockPath - The guest's end, in the form of `vsock/unix-socket.ts`. */
  boot(vsockPath: string): Promise<RunningEnclave>;
}

export interface RunningEnclave {
  readonly pid: number | undefined;
  /** How its start ended: `ready`, or `failed` with code and message. */
  outcome(): Promise<ProcessEvent>;
  /** Settles with its last words when it has ended, however. */
  ended(): Promise<string>;
  stop(): Promise<void>;
  /** Ends it where it stands. */
  kill(): Promise<void>;
}
