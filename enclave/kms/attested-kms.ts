/**
 * KMS as the vault uses it: every call carries `Recipient`, and every reply is opened from the envelope made for it.
 * Its three methods are what the Encryption SDK's keyring asks of a client (nitro.md 4.5).
 */
import { setTimeout as sleep } from "node:timers/promises";
import {
  DecryptCommand,
  type DecryptCommandInput,
  GenerateDataKeyCommand,
  type GenerateDataKeyCommandInput,
  KMSClient,
  KMSServiceException,
  type RecipientInfo,
} from "@aws-sdk/client-kms";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { EgressError } from "../egress/egress.ts";
import type { EgressAgent } from "../egress/egress-agent.ts";
import { StartError } from "../errors.ts";
import { openCiphertextForRecipient } from "./ciphertext-for-recipient.ts";
import type { AwsCredentials } from "./credentials.ts";
import type { RecipientKeys } from "./recipient-keys.ts";

const REQUEST_TIMEOUT_MS = 10_000;
/** Each with a key and a document of its own. */
const MAX_ATTEMPTS = 3;
const FIRST_RETRY_MS = 50;
/** No attempt begins after this; the start tries again later by itself. */
const DEADLINE_MS = 15_000;
/** KMS's own names for credentials that were good once, or are not known yet: the parent may have better ones soon. */
const CREDENTIAL_FAULTS: ReadonlySet<string> = new Set([
  "ExpiredTokenException",
  "InvalidSignatureException",
  "UnrecognizedClientException",
  "IncompleteSignatureException",
  "MissingAuthenticationTokenException",
]);

export interface AttestedKmsOptions {
  readonly region: string;
  readonly host: string;
  /** The one key, by its full ARN. */
  readonly keyArn: string;
  readonly agent: EgressAgent;
  readonly credentials: () => Promise<AwsCredentials>;
  readonly recipientKeys: RecipientKeys;
  /** A fresh document over this public key. */
  readonly attest: (publicKeyDer: Uint8Array) => Promise<Uint8Array>;
  readonly nowMs: () => number;
}

/** What the Encryption SDK's keyring asks of a client. */
export type KeyringClient = Pick<AttestedKms, "generateDataKey" | "decrypt" | "encrypt">;

export interface OpenedReply {
  readonly KeyId: string;
  readonly Plaintext: Uint8Array;
  readonly CiphertextBlob: Uint8Array;
  readonly $metadata: object;
}

interface KmsReply {
  readonly KeyId?: string | undefined;
  readonly Plaintext?: Uint8Array | undefined;
  readonly CiphertextForRecipient?: Uint8Array | undefined;
  readonly CiphertextBlob?: Uint8Array | undefined;
  readonly $metadata: object;
}

export class AttestedKms {
  readonly #options: AttestedKmsOptions;
  readonly #client: KMSClient;

  constructor(options: AttestedKmsOptions) {
    this.#options = options;
    this.#client = new KMSClient({
      region: options.region,
      endpoint: `https://${options.host}`,
      // Its retries would send one key and one document again.
      maxAttempts: 1,
      credentials: async () => {
        const { accessKeyId, secretAccessKey, sessionToken } = await options.credentials();
        // Expired from the start, so that the SDK asks the parent for every call: it would keep them by the wall clock,
        // for as long as the parent says.
        const expiration = new Date(0);
        return { accessKeyId, secretAccessKey, expiration, ...(sessionToken === null ? {} : { sessionToken }) };
      },
      requestHandler: new NodeHttpHandler({
        httpsAgent: options.agent,
        connectionTimeout: REQUEST_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        // Without it the deadline is only logged, and a parent that swallows one answer holds the start for ever.
        throwOnRequestTimeout: true,
      }),
    });
  }

  /** @throws {@link StartError} */
  generateDataKey(input: GenerateDataKeyCommandInput): Promise<OpenedReply> {
    return this.#call(input.KeyId, (recipient) =>
      this.#client.send(new GenerateDataKeyCommand({ ...input, Recipient: recipient })),
    );
  }

  /** @throws {@link StartError} */
  decrypt(input: DecryptCommandInput): Promise<OpenedReply> {
    return this.#call(input.KeyId ?? this.#options.keyArn, (recipient) =>
      this.#client.send(new DecryptCommand({ ...input, KeyId: this.#options.keyArn, Recipient: recipient })),
    );
  }

  /** The keyring calls this for further keys; there are none. */
  encrypt(): Promise<never> {
    return Promise.reject(new StartError("KMS_REFUSED", "the vault is wrapped under one KMS key only"));
  }

  close(): void {
    this.#client.destroy();
  }

  async #call(keyId: string | undefined, send: (recipient: RecipientInfo) => Promise<KmsReply>): Promise<OpenedReply> {
    if (keyId !== this.#options.keyArn) {
      throw new StartError("KMS_REFUSED", "asked for a key other than the manifest's");
    }
    const deadline = performance.now() + DEADLINE_MS;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#callOnce(send);
      } catch (error) {
        const failure = asStartError(error);
        const isLast = attempt >= MAX_ATTEMPTS || performance.now() >= deadline;
        if (failure.code !== "KMS_UNAVAILABLE" || isLast) throw failure;
        await sleep(FIRST_RETRY_MS * 2 ** attempt * Math.random());
      }
    }
  }

  async #callOnce(send: (recipient: RecipientInfo) => Promise<KmsReply>): Promise<OpenedReply> {
    const { privateKey, publicKeyDer } = await this.#options.recipientKeys.take();
    const document = await this.#options.attest(publicKeyDer);
    // Only the request's signature takes this time; the SDK would read the wall clock.
    this.#client.config.systemClockOffset = this.#options.nowMs() - Date.now();
    const reply = await send({ KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_256", AttestationDocument: document });
    return this.#open(reply, privateKey);
  }

  #open(reply: KmsReply, privateKey: Parameters<typeof openCiphertextForRecipient>[1]): OpenedReply {
    if (reply.KeyId !== this.#options.keyArn) {
      throw new StartError("KMS_REPLY_INVALID", "the reply is for another key than the manifest's");
    }
    if (reply.Plaintext !== undefined && reply.Plaintext.length > 0) {
      throw new StartError("KMS_REPLY_INVALID", "the reply carries Plaintext although Recipient was sent");
    }
    if (reply.CiphertextForRecipient === undefined) {
      throw new StartError("KMS_REPLY_INVALID", "the reply has no CiphertextForRecipient");
    }
    const opened = openCiphertextForRecipient(reply.CiphertextForRecipient, privateKey);
    // The keyring takes a plain Uint8Array that owns its buffer, and wipes it.
    const plaintext = Uint8Array.from(opened);
    opened.fill(0);
    return {
      KeyId: reply.KeyId,
      Plaintext: plaintext,
      CiphertextBlob: reply.CiphertextBlob ?? new Uint8Array(0),
      $metadata: reply.$metadata,
    };
  }
}

function asStartError(error: unknown): StartError {
  if (error instanceof StartError) return error;
  const egress = findCause(error, EgressError);
  if (egress?.code === "NOT_ALLOWED" || egress?.code === "TLS_REFUSED") {
    return new StartError("EGRESS_REFUSED", egress.message, { cause: error });
  }
  if (error instanceof KMSServiceException) {
    if (error.name === "AccessDeniedException") {
      return new StartError("KMS_ACCESS_DENIED", `KMS denies this image the key: ${error.message}`, { cause: error });
    }
    if (CREDENTIAL_FAULTS.has(error.name)) {
      return new StartError("CREDENTIALS_UNAVAILABLE", `KMS answers ${error.name}`, { cause: error });
    }
    if (error.$fault === "server" || error.name === "ThrottlingException") {
      return new StartError("KMS_UNAVAILABLE", `KMS answers ${error.name}`, { cause: error });
    }
    return new StartError("KMS_REFUSED", `KMS answers ${error.name}: ${error.message}`, { cause: error });
  }
  return new StartError("KMS_UNAVAILABLE", egress?.message ?? "no answer from KMS", { cause: error });
}

function findCause<Kind extends Error>(error: unknown, kind: new (...args: never[]) => Kind): Kind | undefined {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof kind) return at;
  return undefined;
}
