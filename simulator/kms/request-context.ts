/** The condition keys that one request fills. */
import type { EncryptionContext } from "./ciphertext-blob.ts";
import type { Identity } from "./principal.ts";

/** KMS API Reference: the operations that have a `Recipient`; of any other, a document is not part. */
const TAKES_RECIPIENT: ReadonlySet<string> = new Set([
  "decrypt",
  "derivesharedsecret",
  "generatedatakey",
  "generatedatakeypair",
  "generaterandom",
]);

export interface RequestFacts {
  readonly caller: Identity;
  /** Without `kms:`. */
  readonly operation: string;
  /** Of a document that verified; null: none came. */
  readonly pcrs: ReadonlyMap<number, Uint8Array> | null;
  readonly encryptionContext: EncryptionContext;
}

/** By lower-case name (IAM does not tell case in key names). A key that a request has not is absent. */
export function contextKeysOf({ caller, operation, pcrs, encryptionContext }: RequestFacts): Map<string, string[]> {
  const context = new Map<string, string[]>([
    ["kms:calleraccount", [caller.accountId]],
    ["aws:principalarn", [caller.principalArn]],
    ["aws:securetransport", ["true"]],
  ]);
  if (pcrs !== null && TAKES_RECIPIENT.has(operation.toLowerCase())) addAttestation(context, pcrs);
  if (encryptionContext.size > 0) context.set("kms:encryptioncontextkeys", [...encryptionContext.keys()]);
  for (const [key, value] of encryptionContext) {
    // Names that differ by case alone share one condition key; its values then fail closed in resolveCondition.
    const name = `kms:encryptioncontext:${key.toLowerCase()}`;
    context.set(name, [...(context.get(name) ?? []), value]);
  }
  return context;
}

/** Lower-case hex values (nitro.md 4.4). */
function addAttestation(context: Map<string, string[]>, pcrs: ReadonlyMap<number, Uint8Array>): void {
  for (const [index, value] of pcrs) {
    const hex = Buffer.from(value).toString("hex");
    context.set(`kms:recipientattestation:pcr${index}`, [hex]);
    if (index === 0) context.set("kms:recipientattestation:imagesha384", [hex]);
  }
}
