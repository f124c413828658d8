/** Rotation of a symmetric key's material: automatic after a period, or at once. Old ciphertexts go on opening. */
import { KmsError } from "../errors.ts";
import {
  type KeyMaterial,
  nextRotationMs,
  requireEnabled,
  rotateOnDemand,
  type SimulatedKey,
} from "../simulated-key.ts";
import { admit, findManagedKey, type KmsAnswer, mustReadKeyId, type OperationCall, readPage, seconds } from "./call.ts";

/** KMS API Reference, EnableKeyRotation: RotationPeriodInDays is 90 to 2560, 365 unless given. */
const PERIOD_DAYS = { min: 90, max: 2560 };
const DEFAULT_PERIOD_DAYS = 365;

export async function enableKeyRotation(call: OperationCall): Promise<KmsAnswer> {
  const { input, keys, nowMs } = call;
  const named = findManagedKey(call, mustReadKeyId(input));
  const asked = input.integer("RotationPeriodInDays", PERIOD_DAYS);
  const more = asked === undefined ? [] : [["kms:RotationPeriodInDays", String(asked)] as const];
  await admit(call, "EnableKeyRotation", { key: named, more });
  requireRotatable(named.key);
  const { rotation } = named.key;
  const periodDays = asked ?? rotation?.periodDays ?? DEFAULT_PERIOD_DAYS;
  // Asked for again without a change, the date stands.
  if (rotation?.periodDays !== periodDays) keys.update({ ...named.key, rotation: { periodDays, sinceMs: nowMs } });
  return {};
}

export async function disableKeyRotation(call: OperationCall): Promise<KmsAnswer> {
  const named = findManagedKey(call, mustReadKeyId(call.input));
  await admit(call, "DisableKeyRotation", { key: named });
  requireRotatable(named.key);
  call.keys.update({ ...named.key, rotation: null });
  return {};
}

export async function getKeyRotationStatus(call: OperationCall): Promise<KmsAnswer> {
  const named = findManagedKey(call, mustReadKeyId(call.input));
  await admit(call, "GetKeyRotationStatus", { key: named });
  const { arn, rotation, state } = named.key;
  requireSymmetric(named.key);
  // KMS API Reference: false while the key is pending deletion; the period comes back if that is cancelled.
  if (rotation === null || state.name === "PendingDeletion") return { KeyId: arn, KeyRotationEnabled: false };
  return {
    KeyId: arn,
    KeyRotationEnabled: true,
    RotationPeriodInDays: rotation.periodDays,
    NextRotationDate: seconds(nextRotationMs(rotation)),
  };
}

export async function rotateKeyOnDemand(call: OperationCall): Promise<KmsAnswer> {
  const named = findManagedKey(call, mustReadKeyId(call.input));
  await admit(call, "RotateKeyOnDemand", { key: named });
  requireRotatable(named.key);
  call.keys.update(rotateOnDemand(named.key, call.nowMs));
  return { KeyId: named.key.arn };
}

export async function listKeyRotations(call: OperationCall): Promise<KmsAnswer> {
  const { input } = call;
  const named = findManagedKey(call, mustReadKeyId(input));
  const everything = input.word("IncludeKeyMaterial", ["ALL_KEY_MATERIAL", "ROTATIONS_ONLY"]) === "ALL_KEY_MATERIAL";
  const paged = readPage<KeyMaterial>(input, 100);
  await admit(call, "ListKeyRotations", { key: named });
  requireSymmetric(named.key);
  const { materials, arn } = named.key;
  const { page, more } = paged(everything ? materials : materials.slice(1), ({ id }) => id);
  const Rotations = page.map(({ id, createdMs, origin }) => ({
    KeyId: arn,
    KeyMaterialId: id,
    KeyMaterialState: id === materials.at(-1)?.id ? "CURRENT" : "NON_CURRENT",
    ...(origin === "FIRST" ? {} : { RotationDate: seconds(createdMs), RotationType: origin }),
  }));
  return { Rotations, ...more };
}

function requireRotatable(key: SimulatedKey): void {
  requireEnabled(key);
  requireSymmetric(key);
}

function requireSymmetric({ spec, arn }: SimulatedKey): void {
  if (spec === "SYMMETRIC_DEFAULT") return;
  throw new KmsError("UnsupportedOperationException", `${arn} is asymmetric and cannot be rotated.`);
}
