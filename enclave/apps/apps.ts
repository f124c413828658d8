import { isDeepStrictEqual } from "node:util";
import { type AppConfig, describeIssues, type Policy, RequestError } from "../../protocol/index.ts";
import { isPinned, type PolicyDocuments } from "../policy/documents.ts";
import { FreshCache } from "../vault/fresh-cache.ts";
import type { Ids } from "../vault/ids.ts";
import { type Change, change, type ReadRecord, type Records } from "../vault/records.ts";
import { type App, type AppSettings, appRecords } from "./app.ts";

/** Every request inside an app asks for it. */
const MAX_CACHED_BYTES = 32 * 1024 * 1024;

/** An app's settings, and its policy: undefined leaves that as it is. */
export type DecideApp = (app: AppSettings) => { readonly settings: AppSettings; readonly policy?: Policy | null };

export class Apps {
  readonly #records: Records;
  readonly #ids: Ids;
  readonly #documents: PolicyDocuments;
  readonly #cache: FreshCache<App>;

  constructor(options: {
    readonly records: Records;
    readonly ids: Ids;
    readonly documents: PolicyDocuments;
    readonly nowMs: () => number;
    /** Of what one thread may keep: 1 where there is but one. */
    readonly part?: number;
  }) {
    this.#records = options.records;
    this.#ids = options.ids;
    this.#documents = options.documents;
    this.#cache = new FreshCache({ ...options, kind: appRecords, maxBytes: MAX_CACHED_BYTES * (options.part ?? 1) });
  }

  /**
   * Makes an app. Its id comes from the request's, so a retried creation finds the same app.
   *
   * @throws {@link RequestError} `RECORD_CONFLICT` for the same request id with other parameters, and what records throw
   */
  async create(requestId: string, { policy, ...settings }: AppConfig): Promise<string> {
    const appId = this.#ids.derive("app", [requestId]);
    const stored = policy === null ? null : await this.#documents.store(placeOf(appId), policy);
    const app: App = { ...settings, policy: stored?.pin ?? null, version: 1 };
    const changes = [change(appRecords, appId, null, app), ...(stored?.changes ?? [])];
    if (await this.#records.write(changes)) return appId;
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

  /** As it was given. @throws {@link RequestError} as {@link get}, and what reading a policy throws */
  async configOf(appId: string): Promise<AppConfig & { readonly version: number }> {
    const { policy, ...app } = await this.get(appId);
    const compiled = policy === null ? null : await this.#documents.get(placeOf(appId), policy);
    return { ...app, policy: compiled?.document ?? null };
  }

  /**
   * Puts a configuration in the place of another, unless somebody else has done so since `expectedVersion`.
   *
   * @returns The new version.
   * @throws {@link RequestError} `APP_VERSION_CONFLICT`, `APP_NOT_FOUND`, what `decide` throws, and what records throw
   */
  async update(appId: string, expectedVersion: number, decide: DecideApp): Promise<number> {
    const made = await this.#attempt(appId, expectedVersion, decide);
    if (made !== null) return made;
    // Another write came between: perhaps this very one, whose answer was lost.
    const again = await this.#attempt(appId, expectedVersion, decide);
    if (again === null) throw versionConflict(null);
    return again;
  }

  /** Null if another write came between: then memory says nothing of this app, and the next attempt reads. */
  async #attempt(appId: string, expectedVersion: number, decide: DecideApp): Promise<number | null> {
    const read = await this.#read(appId, 0);
    const { version, policy: pin, ...present } = read.value;
    // Asked for again after the answer was lost: what it asks for stands there.
    if (version === expectedVersion + 1 && isMade(present, pin, decide)) return version;
    if (version !== expectedVersion) throw versionConflict(version);
    const { settings, policy } = decide(present);
    const { pin: next, changes } = await this.#changePolicy(appId, pin, policy);
    const app: App = { ...settings, policy: next, version: version + 1 };
    const made = change(appRecords, appId, read, checked(app));
    // Whatever comes of the write, memory must not speak for this app any more, nor what was read while it ran: with the
    // answer lost, nothing but a read can tell which configuration stands there.
    this.#cache.drop(appId);
    try {
      return (await this.#records.write([made, ...changes])) ? app.version : null;
    } finally {
      this.#cache.drop(appId);
    }
  }

  async #changePolicy(
    appId: string,
    pin: App["policy"],
    policy: Policy | null | undefined,
  ): Promise<{ readonly pin: App["policy"]; readonly changes: readonly Change[] }> {
    if (policy === undefined || isPinned(policy, pin)) return { pin, changes: [] };
    const removed = pin === null ? [] : await this.#documents.remove(placeOf(appId), pin);
    if (policy === null) return { pin: null, changes: removed };
    const stored = await this.#documents.store(placeOf(appId), policy);
    return { pin: stored.pin, changes: [...removed, ...stored.changes] };
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

/** Where an app's own policy lies. */
export function placeOf(appId: string): string {
  return `${appId}/app`;
}

function isMade(present: AppSettings, pin: App["policy"], decide: DecideApp): boolean {
  const { settings, policy } = decide(present);
  return isDeepStrictEqual(settings, present) && (policy === undefined || isPinned(policy, pin));
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
