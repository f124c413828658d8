/** A KMS in memory behind the enclave's own interface: for what stands above the envelope and the network. */
import { randomBytes } from "node:crypto";
import type { DecryptCommandInput, GenerateDataKeyCommandInput } from "@aws-sdk/client-kms";
import { Egress } from "../../enclave/egress/egress.ts";
import { EgressAgent } from "../../enclave/egress/egress-agent.ts";
import { StartError } from "../../enclave/errors.ts";
import { AttestedKms, type OpenedReply } from "../../enclave/kms/attested-kms.ts";
import { RecipientKeys } from "../../enclave/kms/recipient-keys.ts";
import type { Manifest } from "../../enclave/manifest.ts";
import { MemoryParent } from "./memory-parent.ts";

export const KEY_ARN = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/** Of an image that names it. */
export const MANIFEST: Manifest = {
  version: 1,
  deployment: "test",
  region: "us-east-1",
  kmsKeyArn: KEY_ARN,
  administrators: { threshold: 1, publicKeys: [] },
  egress: [],
  digest: new Uint8Array(32),
};

export class FakeKms extends AttestedKms {
  /** Data keys by the hex of their ciphertext, with the encryption context that they were asked for. */
  readonly dataKeys = new Map<string, { readonly plaintext: Uint8Array; readonly context: string }>();
  decryptions = 0;
  /** Instead of an answer. */
  failure: StartError | undefined;

  constructor() {
    const egress = new Egress({ vsock: new MemoryParent().vsock, allowed: new Set(), nowMs: () => 0 });
    super({
      region: "us-east-1",
      host: "kms.invalid",
      keyArn: KEY_ARN,
      agent: new EgressAgent(egress, []),
      credentials: () => Promise.reject(new Error("not asked for")),
      recipientKeys: new RecipientKeys(),
      attest: () => Promise.reject(new Error("not asked for")),
      nowMs: () => 0,
    });
  }

  override async generateDataKey({
    NumberOfBytes,
    EncryptionContext,
  }: GenerateDataKeyCommandInput): Promise<OpenedReply> {
    if (this.failure !== undefined) throw this.failure;
    const plaintext = new Uint8Array(randomBytes(NumberOfBytes ?? 32));
    const ciphertext = new Uint8Array(randomBytes(48));
    this.dataKeys.set(hex(ciphertext), { plaintext, context: sorted(EncryptionContext) });
    return reply(plaintext, ciphertext);
  }

  override async decrypt({ CiphertextBlob, EncryptionContext }: DecryptCommandInput): Promise<OpenedReply> {
    this.decryptions += 1;
    if (this.failure !== undefined) throw this.failure;
    const dataKey = this.dataKeys.get(hex(CiphertextBlob ?? new Uint8Array(0)));
    if (dataKey === undefined || dataKey.context !== sorted(EncryptionContext)) {
      throw new StartError("KMS_REFUSED", "KMS answers InvalidCiphertextException");
    }
    return reply(dataKey.plaintext, new Uint8Array(0));
  }
}

/** What is wiped by its reader must not be the original. */
function reply(plaintext: Uint8Array, ciphertext: Uint8Array): OpenedReply {
  return { KeyId: KEY_ARN, Plaintext: Uint8Array.from(plaintext), CiphertextBlob: ciphertext, $metadata: {} };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function sorted(context: Record<string, string> | undefined): string {
  return JSON.stringify(Object.entries(context ?? {}).sort());
}
