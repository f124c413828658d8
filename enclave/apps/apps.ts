import { isDeepStrictEqual } from "node:util";
import { type AppConfig, RequestError } from "../../protocol/index.ts";
import type { Ids } from "../vault/ids.ts";
import { change, type ReadRecord, type Records } from "../vault/records.ts";
import { type App, appRecords } from "./app.ts";

/** Every request inside an app asks for it. */
const MAX_CACHED = 10_000;

export class Apps {
  readonly #records: Records;
  readonly #ids: Ids;
  readonly #cache = new Map<string, ReadRecord<App>>();

  constructor(options: { readonly records: Records; readonly ids: Ids }) {
    this.#records = options.records;
    this.#ids = options.ids;
  }

  /**
   * Makes an app. Its id comes from the request's, so a retried creation finds the same app.
   *
   * @throws {@link RequestError} `RECORD_CONFLICT` for the same request id with other parameters, and what records throw
   */
  async create(requestId: string, config: AppConfig): Promise<string> {
    const appId = this.#ids.derive("app", [requestId]);
    const app: App = { ...config, version: 1 };
    if (await this.#records.write([change(appRecords, appId, null, app)])) return appId;
    const existing = await this.#records.read(appRecords, appId);
    if (existing === null || !isDeepStrictEqual(existing.value, app)) {
      throw new RequestError("RECORD_CONFLICT", "this request id made another app: use a new one");
    }
    return appId;
  }

  /** @throws {@link RequestError} `APP_NOT_FOUND`, and what reading records throws */
  async get(appId: string): Promise<App> {
    return (await this.#read(appId)).value;
  }

  async #read(appId: string): Promise<ReadRecord<App>> {
    const cached = this.#cache.get(appId);
    if (cached !== undefined && this.#records.isLatest(cached)) return cached;
    const read = await this.#records.read(appRecords, appId);
    if (read === null) throw new RequestError("APP_NOT_FOUND", "no such app");
    if (this.#cache.size < MAX_CACHED || this.#cache.has(appId)) this.#cache.set(appId, read);
    return read;
  }
}
