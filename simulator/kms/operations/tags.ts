/** Tags: for conditions on `aws:ResourceTag`, `aws:RequestTag` and `aws:TagKeys`. */
import { KmsError } from "../errors.ts";
import { type KmsInput, mustHave } from "../input.ts";
import { requireNotPendingDeletion } from "../simulated-key.ts";
import { admit, findManagedKey, type KmsAnswer, mustReadKeyId, type OperationCall, readPage } from "./call.ts";

/** KMS Developer Guide, "Tagging keys": 50 tags, keys of 128 and values of 256 characters. */
const MAX_TAGS = 50;
const MAX_KEY_LENGTH = 128;
const MAX_VALUE_LENGTH = 256;

export function readTags(input: KmsInput): ReadonlyMap<string, string> {
  const pairs = (input.objects("Tags", { min: 0, max: 1000 }) ?? []).map((tag) => {
    const key = mustHave("TagKey", tag.string("TagKey", { min: 1, max: MAX_KEY_LENGTH }));
    const value = mustHave("TagValue", tag.string("TagValue", { min: 0, max: MAX_VALUE_LENGTH }));
    tag.end();
    return [key, value] as const;
  });
  const tags = new Map(pairs);
  if (tags.size !== pairs.length) throw new KmsError("TagException", "Duplicate tag keys");
  return tags;
}

/** @throws {@link KmsError} `TagException` */
export function checkTags(tags: ReadonlyMap<string, string>): void {
  for (const key of tags.keys()) {
    if (/^aws:/i.test(key)) throw new KmsError("TagException", "Tag keys that begin with aws: are reserved");
  }
  if (tags.size > MAX_TAGS) throw new KmsError("TagException", "Too many tags");
}

export function tagConditionKeys(
  tags: ReadonlyMap<string, string>,
): (readonly [key: string, values: string | readonly string[]])[] {
  if (tags.size === 0) return [];
  return [
    ["aws:TagKeys", [...tags.keys()]],
    ...[...tags].map(([key, value]) => [`aws:RequestTag/${key}`, value] as const),
  ];
}

export async function tagResource(call: OperationCall): Promise<KmsAnswer> {
  const { key, ...named } = findManagedKey(call, mustReadKeyId(call.input));
  const tags = readTags(call.input);
  await admit(call, "TagResource", { key: { key, ...named }, more: tagConditionKeys(tags) });
  requireNotPendingDeletion(key);
  const all = new Map([...key.tags, ...tags]);
  checkTags(all);
  call.keys.update({ ...key, tags: all });
  return {};
}

export async function untagResource(call: OperationCall): Promise<KmsAnswer> {
  const { key, ...named } = findManagedKey(call, mustReadKeyId(call.input));
  const names = mustHave("TagKeys", call.input.strings("TagKeys", { min: 0, max: MAX_TAGS }));
  await admit(call, "UntagResource", { key: { key, ...named }, more: [["aws:TagKeys", names]] });
  requireNotPendingDeletion(key);
  call.keys.update({ ...key, tags: new Map([...key.tags].filter(([name]) => !names.includes(name))) });
  return {};
}

export async function listResourceTags(call: OperationCall): Promise<KmsAnswer> {
  const named = findManagedKey(call, mustReadKeyId(call.input));
  const paged = readPage<readonly [string, string]>(call.input, 50);
  await admit(call, "ListResourceTags", { key: named });
  const { page, more } = paged([...named.key.tags], ([key]) => key);
  return { Tags: page.map(([TagKey, TagValue]) => ({ TagKey, TagValue })), ...more };
}
