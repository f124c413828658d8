import { isDeepStrictEqual } from "node:util";
import { type AppConfig, describeIssues, RequestError } from "../../protocol/index.ts";
import { FreshCache } from "../vault/fresh-cache.ts";
import type { Ids } from "../vault/ids.ts";
import { change, type ReadRecord, type Records } from "../vault/records.ts";
import { type App, appRecords } from "./app.ts";

/** Every request inside an app asks for it. */
const MAX_CACHED_BYTES = 32 * 1024 * 1024;

export class Apps {
  readonly #records: Records;
  readonly #ids: Ids;
  readonly #cache: FreshCache<App>;

  constructor(options: { readonly records: Records; readonly ids: Ids; readonly nowMs: () => number }) {
    this.#records = options.records;
    this.#ids = options.ids;
    this.#cache = new FreshCache({ ...options, kind: appRecords, maxBytes: MAX_CACHED_BYTES });
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

  /**
   * @param maxAgeMs - As {@link FreshCache.read} takes it.
   * @throws {@link RequestError} `APP_NOT_FOUND`, and what reading records throws
   */
  async get(appId: string, maxAgeMs?: number): Promise<App> {
    return (await this.#read(appId, maxAgeMs)).value;
  }

  /**
   * Puts a configuration in the place of another, unless somebody else has done so since `expectedVersion`.
   *
   * @returns The new version.
   * @throws {@link RequestError} `APP_VERSION_CONFLICT`, `APP_NOT_FOUND`, what `decide` throws, and what records throw
   */
  async update(appId: string, expectedVersion: number, decide: (app: AppConfig) => AppConfig): Promise<number> {
    const made = await this.#attempt(appId, expectedVersion, decide);
    if (made !== null) return made;
    // Another write came between: perhaps this very one, whose answer was lost.
    const again = await this.#attempt(appId, expectedVersion, decide);
    if (again === null) throw versionConflict(null);
    return again;
  }

  /** Null if another write came between: then memory says nothing of this app, and the next attempt reads. */
  async #attempt(
    appId: string,
    expectedVersion: number,
    decide: (app: AppConfig) => AppConfig,
  ): Promise<number | null> {
    const read = await this.#read(appId, 0);
    const { version, ...present } = read.value;
    // Asked for again after the answer was lost: what it asks for stands there.
    if (version === expectedVersion + 1 && isDeepStrictEqual(decide(present), present)) return version;
    if (version !== expectedVersion) throw versionConflict(version);
    const app = decide(present);
    const next: App = { ...app, version: version + 1 };
    const made = change(appRecords, appId, read, checked(next));
    // Whatever comes of the write, memory must not speak for this app any more, nor what was read while it ran: with the
    // answer lost, nothing but a read can tell which configuration stands there.
    this.#cache.drop(appId);
    try {
      return (await this.#records.write([made])) ? next.version : null;
    } finally {
      this.#cache.drop(appId);
    }
  }

  /** One page, in the order of their ids. */
  async list(after: string | null): Promise<readonly { appId: string; name: string; version: number }[]> {
    const page = await this.#records.list(appRecords, "", after);
    return page.map(({ name, value }) => {
      return { appId: name.slice(appRecords.prefix.length), name: value.name, version: value.version };
    });
  }

  async #read(appId: string, maxAgeMs?: number): Promise<ReadRecord<App>> {
    const read = await this.#cache.read(appId, maxAgeMs);
    if (read === null) throw new RequestError("APP_NOT_FOUND", "no such app");
    return read;
  }
}

/** What is not a configuration would be refused by the record as well, but as a fault of ours. */
function checked(app: App): App {
  const parsed = appRecords.schema.safeParse(app);
  if (!parsed.success) throw new RequestError("INVALID_PARAMS", describeIssues(parsed.error));
  return app;
}

function versionConflict(version: number | null): RequestError {
  const now = version === null ? "it was changed just now" : `it has version ${version}`;
  return new RequestError("APP_VERSION_CONFLICT", `${now}: read the app again, and decide again`);
}
