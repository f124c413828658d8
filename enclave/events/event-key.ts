import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import type { Ids } from "../vault/ids.ts";

/** PKCS #8 of an Ed25519 seed up to the seed itself (RFC 8410, 7). */
const PKCS8_HEAD = Buffer.from("302e020100300506032b657004220420", "hex");

/**
 * The key that signs events: of the vault and not of a boot, so that what it signed can be checked for as long as the
 * vault lives. It derives from the key of ids, without which no vault opens: no parent can hide it and have another made.
 */
export function eventKeyOf(ids: Ids): KeyObject {
  const seed = ids.keyMaterial("cloister/event-key/v1");
  const der = Buffer.concat([PKCS8_HEAD, seed]);
  seed.fill(0);
  try {
    return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  } finally {
    der.fill(0);
  }
}

/** 32 bytes, hex. */
export function publicEventKeyHex(key: KeyObject): string {
  return createPublicKey(key).export({ type: "spki", format: "der" }).subarray(-32).toString("hex");
}
