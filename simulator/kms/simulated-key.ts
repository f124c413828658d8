/** One KMS key: its material, old and new, and what is known about it. */
import { createHmac, createSecretKey, generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import { KmsError } from "./errors.ts";
import type { Grant } from "./grant.ts";
import type { KeyPolicy } from "./policy-document.ts";

const DAY_MS = 86_400_000;
/** KMS API Reference, RotateKeyOnDemand: "a maximum of 25 times". */
const MAX_ON_DEMAND_ROTATIONS = 25;

const CURVES = { ECC_NIST_P256: "P-256", ECC_NIST_P384: "P-384", ECC_NIST_P521: "P-521" } as const;

export const KEY_SPECS = ["SYMMETRIC_DEFAULT", "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521"] as const;
/** `SYMMETRIC_DEFAULT` for ENCRYPT_DECRYPT, the curves for KEY_AGREEMENT or SIGN_VERIFY; other uses are not simulated. */
export type KeySpec = (typeof KEY_SPECS)[number];

export const KEY_USAGES = ["ENCRYPT_DECRYPT", "KEY_AGREEMENT", "SIGN_VERIFY"] as const;
export type KeyUsage = (typeof KEY_USAGES)[number];

export type KeyState =
  | { readonly name: "Enabled" }
  | { readonly name: "Disabled" }
  | { readonly name: "PendingDeletion"; readonly deletionMs: number };

export interface KeyMaterial {
  /** 64 hex digits, as AWS has them; of the material itself, so it needs no storing. */
  readonly id: string;
  readonly createdMs: number;
  readonly origin: "FIRST" | "AUTOMATIC" | "ON_DEMAND";
  /** 32 bytes, or a private key on a curve. */
  readonly secret: KeyObject;
}

export interface Rotation {
  readonly periodDays: number;
  /** When it was enabled, or last done. */
  readonly sinceMs: number;
}

export interface SimulatedKey {
  readonly keyId: string;
  readonly arn: string;
  readonly createdMs: number;
  readonly description: string;
  readonly spec: KeySpec;
  readonly usage: KeyUsage;
  readonly policy: KeyPolicy;
  readonly state: KeyState;
  /** Oldest first. New ciphertexts are made with the last; all of them open what they sealed. */
  readonly materials: readonly [KeyMaterial, ...KeyMaterial[]];
  /** Null: not enabled. */
  readonly rotation: Rotation | null;
  readonly tags: ReadonlyMap<string, string>;
  readonly grants: readonly Grant[];
}

export function isMultiRegion({ keyId }: { readonly keyId: string }): boolean {
  return keyId.startsWith("mrk-");
}

export function usageOf({ usage }: SimulatedKey): KeyUsage {
  return usage;
}

/** What a key is for where nobody said: the simulator's own stores from before there were signing keys do not. */
export function defaultUsageOf(spec: KeySpec): KeyUsage {
  return spec === "SYMMETRIC_DEFAULT" ? "ENCRYPT_DECRYPT" : "KEY_AGREEMENT";
}

/** As DescribeKey and GetPublicKey list them for a key on a curve. */
export function algorithmsOf({ spec, usage }: SimulatedKey): Readonly<Record<string, readonly string[]>> {
  const signing = signingAlgorithmOf(spec);
  if (usage === "SIGN_VERIFY" && signing !== null) return { SigningAlgorithms: [signing] };
  return { KeyAgreementAlgorithms: ["ECDH"] };
}

/** KMS Developer Guide, "Key spec reference": a curve has one algorithm. */
export function signingAlgorithmOf(spec: KeySpec): "ECDSA_SHA_256" | "ECDSA_SHA_384" | "ECDSA_SHA_512" | null {
  switch (spec) {
    case "SYMMETRIC_DEFAULT":
      return null;
    case "ECC_NIST_P256":
      return "ECDSA_SHA_256";
    case "ECC_NIST_P384":
      return "ECDSA_SHA_384";
    case "ECC_NIST_P521":
      return "ECDSA_SHA_512";
  }
}

export function materialOf(
  secret: KeyObject,
  { createdMs, origin }: { readonly createdMs: number; readonly origin: KeyMaterial["origin"] },
): KeyMaterial {
  const bytes = secret.type === "secret" ? secret.export() : secret.export({ type: "pkcs8", format: "der" });
  const id = createHmac("sha256", bytes).update("cloister-simulator/kms/material-id").digest("hex");
  bytes.fill(0);
  return { id, createdMs, origin, secret };
}

export function freshSecret(spec: KeySpec): KeyObject {
  if (spec === "SYMMETRIC_DEFAULT") return createSecretKey(randomBytes(32));
  return generateKeyPairSync("ec", { namedCurve: CURVES[spec] }).privateKey;
}

export function currentMaterial({ materials }: SimulatedKey): KeyMaterial {
  return materials.at(-1) ?? materials[0];
}

/** When the next automatic rotation is due. */
export function nextRotationMs({ periodDays, sinceMs }: Rotation): number {
  return sinceMs + periodDays * DAY_MS;
}

/** Rotates as often as has become due by now; the same key if nothing has. A disabled key waits (KMS Developer Guide). */
export function rotateIfDue(key: SimulatedKey, nowMs: number): SimulatedKey {
  const { rotation, state, materials } = key;
  if (rotation === null || state.name !== "Enabled" || nextRotationMs(rotation) > nowMs) return key;
  const dueMs = nextRotationMs(rotation);
  const material = materialOf(freshSecret(key.spec), { createdMs: dueMs, origin: "AUTOMATIC" });
  const rotated = { ...key, materials: [...materials, material], rotation: { ...rotation, sinceMs: dueMs } } as const;
  return rotateIfDue(rotated, nowMs);
}

/** @throws {@link KmsError} `LimitExceededException` */
export function rotateOnDemand(key: SimulatedKey, nowMs: number): SimulatedKey {
  if (key.materials.filter(({ origin }) => origin === "ON_DEMAND").length >= MAX_ON_DEMAND_ROTATIONS) {
    throw new KmsError(
      "LimitExceededException",
      `${key.arn} has been rotated ${MAX_ON_DEMAND_ROTATIONS} times on demand`,
    );
  }
  const material = materialOf(freshSecret(key.spec), { createdMs: nowMs, origin: "ON_DEMAND" });
  return { ...key, materials: [...key.materials, material] };
}

/** @throws {@link KmsError} `DisabledException`, `KMSInvalidStateException` unless the key is enabled. */
export function requireEnabled(key: SimulatedKey): void {
  requireNotPendingDeletion(key);
  if (key.state.name === "Disabled") throw new KmsError("DisabledException", `${key.arn} is disabled.`);
}

/** @throws {@link KmsError} `KMSInvalidStateException` */
export function requireNotPendingDeletion({ state, arn }: SimulatedKey): void {
  if (state.name === "PendingDeletion") throw new KmsError("KMSInvalidStateException", `${arn} is pending deletion.`);
}
