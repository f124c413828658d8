/**
 * The vault secret: 32 bytes under the KMS key, as an AWS Encryption SDK message (design section 4). KMS gives the
 * message's data key only to this image; the message's own authentication and key commitment then show that the data
 * key is the one it was made with, which the KMS reply alone does not (it is not authenticated).
 */
import { buildDecrypt } from "@aws-crypto/decrypt-node";
import { buildEncrypt } from "@aws-crypto/encrypt-node";
import { KmsKeyringNode } from "@aws-crypto/kms-keyring-node";
import { AlgorithmSuiteIdentifier, CommitmentPolicy } from "@aws-crypto/material-management-node";
import { StartError } from "../errors.ts";
import type { AttestedKms, KeyringClient, OpenedReply } from "../kms/attested-kms.ts";

export const VAULT_SECRET_BYTES = 32;

/** The committing suite without a signature: whoever may open the message is also who made it. */
const SUITE = AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY;
const COMMITMENT = CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT;
/**
 * One, and it is KMS's. That this enclave asked KMS for it, the message cannot show: whoever may call kms:Encrypt under
 * the key could wrap a data key of their own. The key policy denies that to everybody (docs/kms-policy.md).
 */
const MAX_DATA_KEYS = 1;

export interface VaultContext {
  readonly deployment: string;
  readonly generation: number;
}

/**
 * Wraps a vault secret under the KMS key.
 *
 * @throws {@link StartError} what KMS said
 */
export async function wrapVaultSecret(
  secret: Uint8Array,
  context: VaultContext,
  kms: AttestedKms,
  keyArn: string,
): Promise<Uint8Array> {
  const { encrypt } = buildEncrypt({ commitmentPolicy: COMMITMENT, maxEncryptedDataKeys: MAX_DATA_KEYS });
  const client = new ReportingClient(kms);
  const keyring = new KmsKeyringNode({ generatorKeyId: keyArn, clientProvider: () => client });
  try {
    const { result } = await encrypt(keyring, secret, {
      suiteId: SUITE,
      encryptionContext: encryptionContextOf(context),
      plaintextLength: secret.length,
    });
    return result;
  } catch (error) {
    throw client.failure ?? invalid(error);
  }
}

/**
 * Opens a wrapped vault secret.
 *
 * @returns 32 bytes; the caller wipes them.
 * @throws {@link StartError} `VAULT_INVALID` for a message of another deployment or generation, or one that does not
 *   authenticate; otherwise what KMS said.
 */
export async function unwrapVaultSecret(
  message: Uint8Array,
  context: VaultContext,
  kms: AttestedKms,
  keyArn: string,
): Promise<Uint8Array> {
  const { decrypt } = buildDecrypt({ commitmentPolicy: COMMITMENT, maxEncryptedDataKeys: MAX_DATA_KEYS });
  const client = new ReportingClient(kms);
  const keyring = new KmsKeyringNode({ keyIds: [keyArn], clientProvider: () => client });
  let opened: Awaited<ReturnType<typeof decrypt>>;
  try {
    opened = await decrypt(keyring, Buffer.from(message));
  } catch (error) {
    throw client.failure ?? invalid(error);
  }
  const { messageHeader, plaintext } = opened;
  const expected = encryptionContextOf(context);
  const found = messageHeader.encryptionContext;
  const isExpected =
    messageHeader.suiteId === SUITE &&
    Object.keys(found).length === Object.keys(expected).length &&
    Object.entries(expected).every(([name, value]) => found[name] === value);
  if (!isExpected || plaintext.length !== VAULT_SECRET_BYTES) {
    plaintext.fill(0);
    throw new StartError("VAULT_INVALID", "the wrapped vault secret belongs to something else");
  }
  return plaintext;
}

function encryptionContextOf({ deployment, generation }: VaultContext): Record<string, string> {
  return {
    "cloister:deployment": deployment,
    "cloister:purpose": "vault",
    "cloister:generation": String(generation),
  };
}

function invalid(cause: unknown): StartError {
  return new StartError("VAULT_INVALID", "the wrapped vault secret does not open", { cause });
}

/** For one message: the keyring keeps the cause of a failure to itself, and the start wants to report it. */
class ReportingClient implements KeyringClient {
  readonly #kms: AttestedKms;
  failure: StartError | undefined;

  constructor(kms: AttestedKms) {
    this.#kms = kms;
  }

  generateDataKey(input: Parameters<AttestedKms["generateDataKey"]>[0]): Promise<OpenedReply> {
    return this.#report(this.#kms.generateDataKey(input));
  }

  decrypt(input: Parameters<AttestedKms["decrypt"]>[0]): Promise<OpenedReply> {
    return this.#report(this.#kms.decrypt(input));
  }

  encrypt(): Promise<never> {
    return this.#kms.encrypt();
  }

  async #report(call: Promise<OpenedReply>): Promise<OpenedReply> {
    try {
      return await call;
    } catch (error) {
      if (error instanceof StartError) this.failure = error;
      throw error;
    }
  }
}
