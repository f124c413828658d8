import { type AppConfig, appConfig, z } from "../../protocol/index.ts";
import { type PolicyPin, policyPin } from "../policy/documents.ts";
import type { RecordKind } from "../vault/records.ts";

/** An app without its policy, which lies elsewhere. */
export type AppSettings = Omit<AppConfig, "policy">;

export interface App extends AppSettings {
  readonly policy: PolicyPin | null;
  /** 1 at first, one more with each change. */
  readonly version: number;
}

const schema = z.strictObject({
  ...appConfig.shape,
  policy: z.nullable(policyPin),
  version: z.int().check(z.minimum(1)),
});

/** `app/<appId>` */
export const appRecords: RecordKind<App> = { prefix: "app/", schema: schema as z.ZodMiniType<App> };
