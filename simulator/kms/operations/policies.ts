/** Key policies over the wire, with KMS's check that nobody locks themselves out. */
import { decideAccess } from "../access.ts";
import { KmsError } from "../errors.ts";
import { mustHave } from "../input.ts";
import { parseKeyPolicy } from "../policy-document.ts";
import { freshSecret, materialOf, type SimulatedKey } from "../simulated-key.ts";
import {
  accessOf,
  admit,
  findManagedKey,
  type KmsAnswer,
  mustReadKeyId,
  type OperationCall,
  readPage,
} from "./call.ts";

/** KMS API Reference, PutKeyPolicy: up to 131072 characters; what is too much for a key policy its parser says. */
export const MAX_POLICY_LENGTH = 131_072;

/** KMS Developer Guide, "Default key policy", as for a key made by the API. */
export function defaultKeyPolicy(accountId: string): string {
  const root = { AWS: `arn:aws:iam::${accountId}:root` };
  const statement = { Sid: "Enable IAM User Permissions", Effect: "Allow", Principal: root };
  return JSON.stringify({
    Version: "2012-10-17",
    Id: "key-default-1",
    Statement: [{ ...statement, Action: "kms:*", Resource: "*" }],
  });
}

/**
 * KMS API Reference, PutKeyPolicy: the new policy must let the caller put a policy again.
 *
 * @throws {@link KmsError} `MalformedPolicyDocumentException`
 */
export function refuseLockout(
  call: OperationCall,
  { policy, key }: { readonly policy: string; readonly key: SimulatedKey | null },
): void {
  const ruled = { ...(key ?? futureKey(call)), policy: parseKeyPolicy(policy) };
  const again = accessOf(call, "PutKeyPolicy", {
    key: { key: { ...ruled, grants: [] }, alias: null },
    more: [["kms:BypassPolicyLockoutSafetyCheck", "false"]],
  });
  if (decideAccess(again, null).kind === "allow") return;
  const words = "The new key policy will not allow you to update the key policy in the future.";
  throw new KmsError("MalformedPolicyDocumentException", words);
}

/** A key that is judged before it is made. */
function futureKey({ keys, accountId, nowMs }: OperationCall): SimulatedKey {
  const spec = "SYMMETRIC_DEFAULT";
  return {
    keyId: "future",
    arn: `arn:aws:kms:${keys.region}:${accountId}:key/future`,
    createdMs: nowMs,
    description: "",
    spec,
    usage: "ENCRYPT_DECRYPT",
    policy: parseKeyPolicy(defaultKeyPolicy(accountId)),
    state: { name: "Enabled" },
    materials: [materialOf(freshSecret(spec), { createdMs: nowMs, origin: "FIRST" })],
    rotation: null,
    tags: new Map(),
    grants: [],
  };
}

export async function putKeyPolicy(call: OperationCall): Promise<KmsAnswer> {
  const { input, keys } = call;
  const named = findManagedKey(call, mustReadKeyId(input));
  readPolicyName(call);
  const policy = mustHave("Policy", input.string("Policy", { min: 1, max: MAX_POLICY_LENGTH }));
  const bypass = input.boolean("BypassPolicyLockoutSafetyCheck");
  await admit(call, "PutKeyPolicy", { key: named, more: [["kms:BypassPolicyLockoutSafetyCheck", String(bypass)]] });
  if (!bypass) refuseLockout(call, { policy, key: named.key });
  keys.putPolicy(named.key.arn, policy);
  return {};
}

export async function getKeyPolicy(call: OperationCall): Promise<KmsAnswer> {
  const named = findManagedKey(call, mustReadKeyId(call.input));
  readPolicyName(call);
  await admit(call, "GetKeyPolicy", { key: named });
  return { Policy: named.key.policy.text, PolicyName: "default" };
}

export async function listKeyPolicies(call: OperationCall): Promise<KmsAnswer> {
  const named = findManagedKey(call, mustReadKeyId(call.input));
  const paged = readPage<string>(call.input, 100);
  await admit(call, "ListKeyPolicies", { key: named });
  const { page, more } = paged(["default"], (name) => name);
  return { PolicyNames: page, ...more };
}

/** A key has one policy, and its name is `default`. */
function readPolicyName({ input }: OperationCall): void {
  const name = input.string("PolicyName", { min: 1, max: 128 }) ?? "default";
  if (name !== "default") throw new KmsError("NotFoundException", "No such policy exists");
}
