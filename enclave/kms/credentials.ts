/** AWS credentials from the parent. It can read them anyway: what protects the key is the policy's attestation. */
import {
  CREDENTIALS_PORT,
  type CredentialsAnswer,
  type CredentialsCall,
  credentialsAnswer,
} from "../../protocol/index.ts";
import { CallClient, type Vsock } from "../../vsock/index.ts";
import { StartError } from "../errors.ts";

export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string | null;
  /** Null for credentials that do not expire. */
  readonly expiresAtMs: number | null;
}

const TIMEOUT_MS = 5_000;

export class ParentCredentials {
  readonly #calls: CallClient<CredentialsCall, CredentialsAnswer>;

  constructor(vsock: Vsock) {
    this.#calls = new CallClient<CredentialsCall, CredentialsAnswer>({
      open: () => vsock.connect(CREDENTIALS_PORT, { timeoutMs: TIMEOUT_MS }),
      answer: credentialsAnswer,
    });
  }

  /** @throws {@link StartError} `CREDENTIALS_UNAVAILABLE` */
  async get(): Promise<AwsCredentials> {
    try {
      const answer = await this.#calls.call({ kind: "get" }, { timeoutMs: TIMEOUT_MS });
      if (answer.kind === "credentials") return answer;
    } catch (cause) {
      throw new StartError("CREDENTIALS_UNAVAILABLE", "the parent does not answer on its credentials port", { cause });
    }
    throw new StartError("CREDENTIALS_UNAVAILABLE", "the parent has no AWS credentials");
  }

  close(): void {
    this.#calls.close();
  }
}
