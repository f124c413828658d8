import { type AppConfig, appConfig, z } from "../../protocol/index.ts";
import type { RecordKind } from "../vault/records.ts";

export interface App extends AppConfig {
  /** 1 at first, one more with each change. */
  readonly version: number;
}

const schema = z.strictObject({ ...appConfig.shape, version: z.int().check(z.minimum(1)) });

/** `app/<appId>` */
export const appRecords: RecordKind<App> = { prefix: "app/", schema: schema as z.ZodMiniType<App> };
