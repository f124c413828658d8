/** What administrators do with apps and the vault. */
import { apiKeyName, apiPublicKey, appConfig, newApp, stampScheme } from "../app-config.ts";
import { z } from "../zod.ts";
import { appId } from "./ids.ts";

const vaultStatus = z.strictObject({
  /** What new records are sealed under. */
  generation: z.int(),
  /** Older generations that records may still be sealed under; empty when no rotation is under way. */
  retiring: z.array(z.int()),
  /** Records sealed anew since this boot, by the rotation that is under way or was the last. */
  resealed: z.int(),
});
export type VaultStatus = z.output<typeof vaultStatus>;

export const ADMINISTRATION_OPERATIONS = {
  create_app: {
    params: newApp,
    result: z.strictObject({ appId }),
  },
  /** Puts a whole configuration in the place of the one that stands. */
  update_app: {
    params: z.strictObject({
      appId,
      /** The version that this change was made from: whoever changed the app meanwhile is not overwritten. */
      expectedVersion: z.int(),
      app: newApp,
    }),
    result: z.strictObject({ appId, version: z.int() }),
  },
  list_apps: {
    params: z.strictObject({
      /** The last app of the page before, or null for the first page. */
      after: z.nullable(appId),
    }),
    result: z.strictObject({
      apps: z.array(z.strictObject({ appId, name: z.string(), version: z.int() })),
      more: z.boolean(),
    }),
  },
  get_app: {
    params: z.strictObject({ appId }),
    result: z.strictObject({ appId, version: z.int(), app: appConfig }),
  },
  /** Gives an API key's name and permissions to another key. */
  rotate_app_key: {
    params: z.strictObject({
      appId,
      expectedVersion: z.int(),
      name: apiKeyName,
      scheme: stampScheme,
      publicKey: apiPublicKey,
      /** How long the key of before still works; 0 to end it at once. */
      overlapS: z.int().check(z.minimum(0), z.maximum(7 * 86_400)),
    }),
    result: z.strictObject({ appId, version: z.int() }),
  },
  /** Begins a new generation of the vault, or tells of one that is under way. */
  rotate_vault: { params: z.strictObject({}), result: vaultStatus },
  vault_status: { params: z.strictObject({}), result: vaultStatus },
} as const;
