/** Everything that the doctor learns comes through here, so that tests can say what there is to learn. */
import type { CommandResult } from "../command.ts";

export interface FileFacts {
  readonly isFolder: boolean;
  readonly sizeBytes: number;
  /** Permission bits alone, such as 0o640. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export interface HttpAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

export interface Facts {
  /** All of these throw {@link FactError}. At most 1 MiB of a file. */
  readFile(path: string): Promise<Uint8Array>;
  stat(path: string): Promise<FileFacts>;
  list(path: string): Promise<readonly string[]>;
  /** Of the file system that holds the path, for others than root. */
  freeBytes(path: string): Promise<number>;
  run(command: string, args: readonly string[]): Promise<CommandResult>;
  fetch(method: "GET" | "PUT", url: string, headers?: Readonly<Record<string, string>>): Promise<HttpAnswer>;
  /** kms:GetKeyPolicy of the policy named default, with whatever credentials the SDK finds. */
  keyPolicy(keyArn: string): Promise<string>;
  nowMs(): number;
  /** Who runs the doctor. */
  user(): { readonly uid: number; readonly name: string };
}

export type FactErrorCode =
  /** No such file, folder or program. */
  | "ABSENT"
  /** Not for this user. */
  | "DENIED"
  | "TIMED_OUT"
  /** Nobody answers, or KMS refuses for another reason. */
  | "FAILED";

export class FactError extends Error {
  override readonly name = "FactError";
  readonly code: FactErrorCode;

  constructor(code: FactErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
