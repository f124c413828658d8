import { isDeepStrictEqual } from "node:util";
import { OPERATIONS, type Params, RequestError, type z } from "../../protocol/index.ts";
import type { Ids } from "../vault/ids.ts";
import { change, type RecordKind, type Records } from "../vault/records.ts";

export type App = Params<"create_app">;

const appRecords: RecordKind<App> = { prefix: "app/", schema: OPERATIONS.create_app.params as z.ZodMiniType<App> };

/** Every request inside an app asks for it; an app never changes once it is made. */
const MAX_CACHED = 10_000;

export class Apps {
  readonly #records: Records;
  readonly #ids: Ids;
  readonly #cache = new Map<string, App>();

  constructor(options: { readonly records: Records; readonly ids: Ids }) {
    this.#records = options.records;
    this.#ids = options.ids;
  }

  /**
   * Makes an app. Its id comes from the request's, so a retried creation finds the same app.
   *
   * @throws {@link RequestError} `RECORD_CONFLICT` for the same request id with other parameters, and what records throw
   */
  async create(requestId: string, app: App): Promise<string> {
    const appId = this.#ids.derive("app", [requestId]);
    if (await this.#records.write([change(appRecords, appId, null, app)])) return appId;
    const existing = await this.#records.read(appRecords, appId);
    if (existing === null || !isDeepStrictEqual(existing.value, app)) {
      throw new RequestError("RECORD_CONFLICT", "this request id made another app: use a new one");
    }
    return appId;
  }

  /** @throws {@link RequestError} `APP_NOT_FOUND`, and what reading records throws */
  async get(appId: string): Promise<App> {
    const cached = this.#cache.get(appId);
    if (cached !== undefined) return cached;
    const app = await this.#records.read(appRecords, appId);
    if (app === null) throw new RequestError("APP_NOT_FOUND", "no such app");
    if (this.#cache.size < MAX_CACHED) this.#cache.set(appId, app.value);
    return app.value;
  }
}
