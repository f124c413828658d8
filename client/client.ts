/** What callers use: verify the enclave, then stamp, send, and check each answer. */
import {
  ACCESS,
  type Access,
  audienceOf,
  decodeAnswer,
  decodeRequest,
  type ErrorCode,
  encodeHex,
  encodeRequest,
  isOperationName,
  type JsonValue,
  OPERATIONS,
  type OperationName,
  type Params,
  ProtocolError,
  type Result,
} from "../protocol/index.ts";
import { AttestedEnclave, type ExpectedEnclave, type PostedAnswer } from "./attested-enclave.ts";
import { ClientError, RefusedError } from "./errors.ts";
import type { PasskeyStampKey } from "./passkeys.ts";
import { limitsOf, type SessionLimits } from "./renewal.ts";
import { isWorthRetrying, retryDelayMs } from "./retries.ts";
import { Session } from "./session.ts";
import { isPasskey, type Stamper, type StampKey, stampsOf } from "./stamp-key.ts";

export interface ConnectOptions {
  /** Where the parent listens, such as `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly deployment: string;
  readonly expected: ExpectedEnclave;
  /** For tests, and for platforms with a fetch of their own. */
  readonly fetch?: typeof fetch;
  readonly nowMs?: () => number;
  readonly monotonicMs?: () => number;
  /** How often one call is tried in all; 3 unless given. See {@link isWorthRetrying}. */
  readonly attempts?: number;
  readonly sleep?: (ms: number) => Promise<void>;
}

export interface CallOptions {
  /**
   * A UUID in lower case. To ask again after an answer was lost, ask with the same id: a creation then finds what the
   * first one made. Without it each call has an id of its own.
   */
  readonly requestId?: string;
  /** `bearer`, unless given: what holds a bearer secret is sealed. `always` hides the rest from the parent as well. */
  readonly seal?: "bearer" | "always";
  /** What `APPROVAL_REQUIRED` named: collects what was approved meanwhile. The params must be the same. */
  readonly approvalId?: string;
  /** A one-time password or a recovery code, for what is guarded by one; the request is sealed then. Each works once. */
  readonly secondFactor?: string;
  /** A share of the wallet that the request is about, base64url; the request is sealed then. {@link Custody} brings it. */
  readonly share?: string;
  /** Stamps beside the key: a passkey that the request is about. */
  readonly beside?: Stamper;
  /** Which boot it is for, where one alone can answer it: what {@link onBoot} was told. */
  readonly boot?: string;
  /** Is told which boot has answered. */
  readonly onBoot?: (boot: string) => void;
}

const DEFAULT_ATTEMPTS = 3;

interface Retries {
  readonly attempts: number;
  readonly sleep: (ms: number) => Promise<void>;
}

/** Another enclave has answered than the one that a request was for. It is known by then, and the next try is for it. */
const FOR_ANOTHER_BOOT: ReadonlySet<ErrorCode> = new Set(["SEALED_FOR_ANOTHER_BOOT", "STAMPED_FOR_ANOTHER_BOOT"]);
/** Where nothing between here and several enclaves follows the hint, it is chance that brings a request to the right one. */
const MAX_BOOTS = 8;

interface Asked extends CallOptions {
  readonly requestId: string;
  readonly appId: string | null;
  readonly keys: readonly Stamper[];
}

/**
 * Connects to an enclave and verifies its attestation.
 *
 * @throws {@link ClientError}, and AttestationError for a document that must not be trusted.
 */
export async function connect(options: ConnectOptions): Promise<Client> {
  const enclave = await AttestedEnclave.connect({
    url: options.url,
    expected: options.expected,
    fetch: options.fetch ?? ((...args) => fetch(...args)),
    nowMs: options.nowMs ?? Date.now,
    monotonicMs: options.monotonicMs ?? (() => performance.now()),
  });
  return new Client(enclave, options.deployment, {
    attempts: options.attempts ?? DEFAULT_ATTEMPTS,
    sleep: options.sleep ?? ((ms) => new Promise((resolve) => setTimeout(resolve, ms))),
  });
}

export class Client {
  readonly #enclave: AttestedEnclave;
  readonly #deployment: string;
  readonly #retries: Retries;

  /** @internal Use {@link connect}. */
  constructor(enclave: AttestedEnclave, deployment: string, retries: Retries) {
    this.#enclave = enclave;
    this.#deployment = deployment;
    this.#retries = retries;
  }

  /** The id of the vault that the enclave has open: keep it, and expect it from then on. Null before it is ready. */
  get vaultId(): Uint8Array | null {
    return this.#enclave.vaultId;
  }

  /** As administrators' and users' requests name it. */
  get deployment(): string {
    return this.#deployment;
  }

  /** The enclave's clock, as far as it can be told from here. */
  nowMs(): number {
    return this.#enclave.nowMs();
  }

  /** Creates an app, with the stamps of as many administrators as the manifest asks for. */
  createApp(
    keys: readonly StampKey[],
    params: Params<"create_app">,
    options: CallOptions = {},
  ): Promise<Result<"create_app">> {
    return this.call("create_app", params, { ...options, appId: null, keys });
  }

  /** Puts a whole configuration in the place of version `expectedVersion`. */
  updateApp(
    keys: readonly StampKey[],
    params: Params<"update_app">,
    options: CallOptions = {},
  ): Promise<Result<"update_app">> {
    return this.call("update_app", params, { ...options, appId: null, keys });
  }

  /** One page; ask again with `after` set to the last app's id while `more` is true. */
  listApps(keys: readonly StampKey[], after: string | null = null): Promise<Result<"list_apps">> {
    return this.call("list_apps", { after }, { appId: null, keys });
  }

  getApp(keys: readonly StampKey[], appId: string): Promise<Result<"get_app">> {
    return this.call("get_app", { appId }, { appId: null, keys });
  }

  /** Gives an API key's name and permissions to another key. */
  rotateAppKey(
    keys: readonly StampKey[],
    params: Params<"rotate_app_key">,
    options: CallOptions = {},
  ): Promise<Result<"rotate_app_key">> {
    return this.call("rotate_app_key", params, { ...options, appId: null, keys });
  }

  /** Takes away the policy of a user, or of one of their wallets, who has lost what would loosen it. */
  resetPolicy(
    keys: readonly StampKey[],
    params: Params<"reset_policy">,
    options: CallOptions = {},
  ): Promise<Result<"reset_policy">> {
    return this.call("reset_policy", params, { ...options, appId: null, keys });
  }

  /** Begins a new generation of the vault, or tells of one that is under way; see {@link vaultStatus}. */
  rotateVault(keys: readonly StampKey[], options: CallOptions = {}): Promise<Result<"rotate_vault">> {
    return this.call("rotate_vault", {}, { ...options, appId: null, keys });
  }

  /** A rotation is over when nothing is `retiring` any more: a minute at the least. */
  vaultStatus(keys: readonly StampKey[], options: CallOptions = {}): Promise<Result<"vault_status">> {
    return this.call("vault_status", {}, { ...options, appId: null, keys });
  }

  /**
   * Logs in with a key and a token of the caller's own: registers the key for the user whom the token names. Such a
   * session is neither renewed nor stored, since key and token are the caller's; {@link Session.login} gives one that is.
   *
   * @param login.jwt - Its `nonce`, if it has one that binds it to a key, must be {@link loginNonce} of this one.
   */
  async login(
    login: SessionLimits & { readonly appId: string; readonly jwt: string; readonly key: StampKey },
    options: CallOptions = {},
  ): Promise<Session> {
    const { appId, jwt, key } = login;
    const params = { jwt, ...limitsOf(login) };
    const registered = await this.call("register_session", params, { ...options, appId, keys: [key] });
    return new Session(this, appId, { ...registered, key });
  }

  /**
   * Logs in with a passkey: registers the key for the user whose passkey it is. The user is asked. The key is the
   * caller's to keep; {@link Session.loginWithPasskey} makes one and stores it.
   *
   * @throws DOMException as `navigator.credentials.get` does; and as {@link call}
   */
  async loginWithPasskey(
    login: SessionLimits & { readonly appId: string; readonly key: StampKey; readonly passkey: PasskeyStampKey },
    options: CallOptions = {},
  ): Promise<Session> {
    const { appId, key, passkey } = login;
    const { credentialId } = passkey;
    const params = { publicKey: encodeHex(key.publicKey), ...(credentialId === undefined ? {} : { credentialId }) };
    const asked = { ...options, appId, keys: [key, passkey] };
    const registered = await this.call("register_session_with_passkey", { ...params, ...limitsOf(login) }, asked);
    return new Session(this, appId, { ...registered, key });
  }

  /**
   * Stamps and sends one request of any operation.
   *
   * @throws {@link RefusedError} if it was refused; {@link ClientError} if the answer cannot be taken for the enclave's.
   */
  async call<Name extends OperationName>(
    operation: Name,
    params: Params<Name>,
    options: CallOptions & { readonly appId: string | null; readonly keys: readonly Stamper[] },
  ): Promise<Result<Name>> {
    // One id for all tries: whatever the first has made, the others find.
    const asked = { ...options, requestId: options.requestId ?? crypto.randomUUID() };
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#callAttested(operation, params, asked);
      } catch (error) {
        // A code may be used up by then, and a passkey would ask its user again: both are for the caller to decide.
        const isOneOff = asked.secondFactor !== undefined || [...asked.keys, asked.beside].some(isPasskey);
        if (isOneOff || attempt >= this.#retries.attempts || !isWorthRetrying(error)) throw error;
        const { retryAfterMs } = error instanceof RefusedError ? error : {};
        await this.#retries.sleep(retryDelayMs(attempt, retryAfterMs));
      }
    }
  }

  /** @internal Use {@link importWallet}. */
  verifyImport(...target: Parameters<AttestedEnclave["verifyImport"]>): Promise<Uint8Array> {
    return this.#enclave.verifyImport(...target);
  }

  /**
   * Sends a request that was written and stamped elsewhere, such as by several administrators.
   *
   * @param body - The very bytes that the stamps cover.
   * @param stamps - `X-Stamp` header values.
   * @throws as {@link call}; ProtocolError if the body is no request.
   */
  async sendStamped(body: Uint8Array<ArrayBuffer>, stamps: readonly string[]): Promise<Result<OperationName>> {
    const { operation, requestId, boot } = decodeRequest(body);
    if (!isOperationName(operation)) throw new TypeError(`no operation ${operation}`);
    return resultOf(operation, requestId, await this.#enclave.post(`/v1/${operation}`, body, stamps, boot));
  }

  async #callAttested<Name extends OperationName>(
    operation: Name,
    params: Params<Name>,
    asked: Asked,
  ): Promise<Result<Name>> {
    // A passkey asks its user each time.
    const boots = [...asked.keys, asked.beside].some(isPasskey) ? 2 : MAX_BOOTS;
    let isRefreshed = false;
    // The second try is for the boot that answered the first. If that did not get it either, nothing follows the hint, and
    // all others are for the same: sooner or later it is its turn.
    let to = asked.boot ?? this.#enclave.boot;
    for (let boot = 1; ; boot += 1) {
      // Where one alone can answer, it is gone if it does not get it: what another says of it is the answer in the end.
      if (boot === (asked.boot === undefined ? 2 : boots)) to = this.#enclave.boot;
      try {
        return await this.#callOnce(operation, params, asked, to);
      } catch (error) {
        // The same id, dated anew, is a retry: nothing is made twice.
        const code = error instanceof RefusedError ? error.code : null;
        if (code !== null && FOR_ANOTHER_BOOT.has(code) && boot < boots) continue;
        if (code !== "REQUEST_STALE" || isRefreshed) throw error;
        // A computer that slept has lost count of time.
        await this.#enclave.refresh();
        to = asked.boot ?? this.#enclave.boot;
        isRefreshed = true;
      }
    }
  }

  async #callOnce<Name extends OperationName>(
    operation: Name,
    params: Params<Name>,
    options: Asked,
    to: string,
  ): Promise<Result<Name>> {
    const { requestId, secondFactor, approvalId, share, beside } = options;
    const audience = audienceOf(this.#deployment, options.appId);
    const { bearer, once }: Access = ACCESS[operation];
    const isBearer = bearer || secondFactor !== undefined || share !== undefined;
    const isSealed = isBearer || options.seal === "always";
    // What is sealed is for one boot already.
    const boot = once === true && !isSealed ? to : undefined;
    const body = encodeRequest({
      operation,
      audience,
      requestId,
      issuedAtMs: this.#enclave.nowMs(),
      params: params as JsonValue,
      ...(secondFactor === undefined ? {} : { secondFactor }),
      ...(share === undefined ? {} : { share }),
      ...(approvalId === undefined ? {} : { approvalId }),
      ...(boot === undefined ? {} : { boot }),
    });
    const stamps = await stampsOf(beside === undefined ? options.keys : [...options.keys, beside], body);
    const posted = isSealed
      ? await this.#enclave.postSealed(audience, body, stamps, to)
      : await this.#enclave.post(`/v1/${operation}`, body, stamps, boot);
    const result = resultOf(operation, requestId, posted);
    if (posted.boot !== null) options.onBoot?.(posted.boot);
    return result;
  }
}

/** What an answer says, once it is known whose it is. */
function resultOf<Name extends OperationName>(
  operation: Name,
  requestId: string,
  { body, isSigned, retryAfterMs }: PostedAnswer,
): Result<Name> {
  const answer = decode(body);
  if ("error" in answer) {
    const { code, message, details } = answer.error;
    if (!isSigned && !code.startsWith("PARENT_")) {
      throw new ClientError("ANSWER_NOT_SIGNED", "an answer in the enclave's name without its signature");
    }
    throw new RefusedError(code, message, { isFromEnclave: isSigned, details, retryAfterMs });
  }
  if (!isSigned) throw new ClientError("ANSWER_NOT_SIGNED", "a result without the enclave's signature");
  const result = OPERATIONS[operation].result.safeParse(answer.result);
  if (answer.requestId !== requestId || !result.success) {
    throw new ClientError("ANSWER_MALFORMED", `not the result of ${operation}`);
  }
  return result.data as Result<Name>;
}

function decode(body: Uint8Array): ReturnType<typeof decodeAnswer> {
  try {
    return decodeAnswer(body);
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw new ClientError("ANSWER_MALFORMED", "the answer is not JSON of the expected form", { cause });
  }
}
