/** The condition keys that one request fills (IAM and KMS condition keys of the Service Authorization Reference). */
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

/** What is known of the key that a request is about. */
export interface KeyFacts {
  readonly accountId: string;
  readonly region: string;
  readonly spec: string;
  readonly usage: string;
  readonly multiRegion: boolean;
  readonly tags: ReadonlyMap<string, string>;
  /** Names with `alias/` before them. */
  readonly aliases: readonly string[];
}

export interface RequestFacts {
  readonly caller: Identity;
  /** Without `kms:`. */
  readonly operation: string;
  /** Of a document that verified; null: none came. */
  readonly pcrs: ReadonlyMap<number, Uint8Array> | null;
  readonly encryptionContext: EncryptionContext;
  /** Null where no key is named. */
  readonly key: KeyFacts | null;
  /** Keys of the operation, the credentials or the network; names in any case. They win over the others. */
  readonly more: Iterable<readonly [key: string, values: string | readonly string[]]>;
}

/** By lower-case name (IAM does not tell case in key names). A key that a request has not is absent. */
export function contextKeysOf(facts: RequestFacts): ReadonlyMap<string, readonly string[]> {
  const { caller, operation, pcrs, encryptionContext, key, more } = facts;
  const userName = /^arn:[a-z-]+:iam::[0-9]{12}:user\/(?:.*\/)?([^/]+)$/.exec(caller.arn)?.[1];
  const context = new Map<string, readonly string[]>([
    ["kms:calleraccount", [caller.accountId]],
    ["aws:principalaccount", [caller.accountId]],
    ["aws:principalarn", [caller.principalArn]],
    ["aws:principaltype", [principalTypeOf(caller)]],
    ["aws:principalisawsservice", ["false"]],
    ["aws:viaawsservice", ["false"]],
    ["aws:securetransport", ["true"]],
  ]);
  if (userName !== undefined) context.set("aws:username", [userName]);
  if (key !== null) addKey(context, key);
  if (pcrs !== null && TAKES_RECIPIENT.has(operation.toLowerCase())) addAttestation(context, pcrs);
  addEncryptionContext(context, encryptionContext);
  for (const [name, values] of more) context.set(name.toLowerCase(), typeof values === "string" ? [values] : values);
  return context;
}

function principalTypeOf({ arn }: Identity): string {
  if (arn.endsWith(":root")) return "Account";
  return arn.includes(":user/") ? "User" : "AssumedRole";
}

function addKey(context: Map<string, readonly string[]>, key: KeyFacts): void {
  context.set("aws:resourceaccount", [key.accountId]);
  // The older names of spec and usage are keys of the same value.
  for (const name of ["kms:keyspec", "kms:customermasterkeyspec"]) context.set(name, [key.spec]);
  for (const name of ["kms:keyusage", "kms:customermasterkeyusage"]) context.set(name, [key.usage]);
  context.set("kms:keyorigin", ["AWS_KMS"]);
  context.set("kms:multiregion", [String(key.multiRegion)]);
  if (key.multiRegion) {
    context.set("kms:multiregionkeytype", ["PRIMARY"]);
    context.set("kms:primaryregion", [key.region]);
  }
  if (key.aliases.length > 0) context.set("kms:resourcealiases", key.aliases);
  for (const [name, value] of key.tags) context.set(`aws:resourcetag/${name.toLowerCase()}`, [value]);
}

/** Lower-case hex values (nitro.md 4.4). */
function addAttestation(context: Map<string, readonly string[]>, pcrs: ReadonlyMap<number, Uint8Array>): void {
  for (const [index, value] of pcrs) {
    const hex = Buffer.from(value).toString("hex");
    context.set(`kms:recipientattestation:pcr${index}`, [hex]);
    if (index === 0) context.set("kms:recipientattestation:imagesha384", [hex]);
  }
}

function addEncryptionContext(context: Map<string, readonly string[]>, encryptionContext: EncryptionContext): void {
  if (encryptionContext.size > 0) context.set("kms:encryptioncontextkeys", [...encryptionContext.keys()]);
  for (const [key, value] of encryptionContext) {
    // Names that differ by case alone share one condition key; its values then fail closed in resolveCondition.
    const name = `kms:encryptioncontext:${key.toLowerCase()}`;
    context.set(name, [...(context.get(name) ?? []), value]);
  }
}
