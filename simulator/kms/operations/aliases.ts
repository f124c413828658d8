/** Aliases: other names for keys, each with two permissions, on the alias (IAM) and on the key. */
import { KmsError } from "../errors.ts";
import { mustHave } from "../input.ts";
import { requireNotPendingDeletion, usageOf } from "../simulated-key.ts";
import { type Alias, isAliasName } from "../store-file.ts";
import { admit, findManagedKey, type KmsAnswer, type OperationCall, readKeyId, readPage, seconds } from "./call.ts";

export async function createAlias(call: OperationCall): Promise<KmsAnswer> {
  const { keys, nowMs } = call;
  const name = readAliasName(call);
  const target = findManagedKey(call, mustHave("TargetKeyId", readKeyId(call.input, "TargetKeyId")));
  await admitAlias(call, "CreateAlias", name);
  await admit(call, "CreateAlias", { key: target });
  requireNotPendingDeletion(target.key);
  if (keys.aliases.some((alias) => alias.name === name)) {
    throw new KmsError("AlreadyExistsException", `An alias with the name ${keys.aliasArn(name)} already exists`);
  }
  keys.putAlias({ name, keyId: target.key.keyId, createdMs: nowMs, updatedMs: nowMs });
  return {};
}

export async function updateAlias(call: OperationCall): Promise<KmsAnswer> {
  const { keys, nowMs } = call;
  const name = readAliasName(call);
  const target = findManagedKey(call, mustHave("TargetKeyId", readKeyId(call.input, "TargetKeyId")));
  await admitAlias(call, "UpdateAlias", name);
  const { key: current, alias } = keys.resolve(name);
  await admit(call, "UpdateAlias", { key: { key: current, alias: null } });
  await admit(call, "UpdateAlias", { key: target });
  requireNotPendingDeletion(target.key);
  if (usageOf(current) !== usageOf(target.key)) {
    throw new KmsError("ValidationException", "Alias cannot be moved to a key of another usage or type");
  }
  keys.putAlias({ name, keyId: target.key.keyId, createdMs: alias?.createdMs ?? nowMs, updatedMs: nowMs });
  return {};
}

export async function deleteAlias(call: OperationCall): Promise<KmsAnswer> {
  const name = readAliasName(call);
  await admitAlias(call, "DeleteAlias", name);
  const { key } = call.keys.resolve(name);
  call.onKey(key.arn);
  await admit(call, "DeleteAlias", { key: { key, alias: null } });
  call.keys.deleteAlias(name);
  return {};
}

export async function listAliases(call: OperationCall): Promise<KmsAnswer> {
  const keyName = readKeyId(call.input);
  const paged = readPage<Alias>(call.input, 50);
  await admit(call, "ListAliases", { key: null });
  const key = keyName === undefined ? null : findManagedKey(call, keyName).key;
  const wanted = call.keys.aliases.filter(({ keyId }) => key === null || keyId === key.keyId);
  const { page, more } = paged(wanted, ({ name }) => name);
  const Aliases = page.map(({ name, keyId, createdMs, updatedMs }) => ({
    AliasName: name,
    AliasArn: call.keys.aliasArn(name),
    TargetKeyId: keyId,
    CreationDate: seconds(createdMs),
    LastUpdatedDate: seconds(updatedMs),
  }));
  return { Aliases, ...more };
}

function readAliasName({ input }: OperationCall): string {
  const name = mustHave("AliasName", input.string("AliasName", { min: 1, max: 256 }));
  if (!isAliasName(name)) {
    throw new KmsError("InvalidAliasNameException", "Alias must start with the prefix 'alias/' and hold a-zA-Z0-9/_-");
  }
  if (name.startsWith("alias/aws/")) throw new KmsError("InvalidAliasNameException", "alias/aws/ is AWS's own");
  return name;
}

async function admitAlias(call: OperationCall, operation: string, name: string): Promise<void> {
  await admit(call, operation, { key: null, resource: call.keys.aliasArn(name) });
}
