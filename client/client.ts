/** What callers use: verify the enclave, then stamp, send, and check each answer. */
import {
  ACCESS,
  audienceOf,
  decodeAnswer,
  type ErrorCode,
  encodeHex,
  encodeRequest,
  type JsonValue,
  OPERATIONS,
  type OperationName,
  type Params,
  ProtocolError,
  type Result,
} from "../protocol/index.ts";
import { Account } from "./account.ts";
import { AttestedEnclave, type ExpectedEnclave } from "./attested-enclave.ts";
import { ClientError, RefusedError } from "./errors.ts";
import type { PasskeyStampKey } from "./passkeys.ts";
import { type Stamper, type StampKey, stampsOf } from "./stamp-key.ts";

export interface ConnectOptions {
  /** Where the parent listens, such as `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly deployment: string;
  readonly expected: ExpectedEnclave;
  /** For tests, and for platforms with a fetch of their own. */
  readonly fetch?: typeof fetch;
  readonly nowMs?: () => number;
  readonly monotonicMs?: () => number;
}

export interface CallOptions {
  /**
   * A UUID in lower case. To ask again after an answer was lost, ask with the same id: a creation then finds what the
   * first one made. Without it each call has an id of its own.
   */
  readonly requestId?: string;
  /** `bearer`, unless given: what holds a bearer secret is sealed. `always` hides the rest from the parent as well. */
  readonly seal?: "bearer" | "always";
  /** A one-time password or a recovery code, for what is guarded by one; the request is sealed then. Each works once. */
  readonly secondFactor?: string;
}

/** Refusals that a fresh attestation document mends. */
const ATTEST_AGAIN: ReadonlySet<ErrorCode> = new Set(["REQUEST_STALE", "SEALED_FOR_ANOTHER_BOOT"]);

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
  return new Client(enclave, options.deployment);
}

export class Client {
  readonly #enclave: AttestedEnclave;
  readonly #deployment: string;

  /** @internal Use {@link connect}. */
  constructor(enclave: AttestedEnclave, deployment: string) {
    this.#enclave = enclave;
    this.#deployment = deployment;
  }

  /** The id of the vault that the enclave has open: keep it, and expect it from then on. Null before it is ready. */
  get vaultId(): Uint8Array | null {
    return this.#enclave.vaultId;
  }

  /** Creates an app, with the stamps of as many administrators as the manifest asks for. */
  createApp(
    keys: readonly StampKey[],
    params: Params<"create_app">,
    options: CallOptions = {},
  ): Promise<Result<"create_app">> {
    return this.call("create_app", params, { ...options, appId: null, keys });
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
   * Logs in: registers the key for the user whom the token names.
   *
   * @param login.jwt - Its `nonce` must be {@link loginNonce} of the key.
   */
  async login(
    login: { readonly appId: string; readonly jwt: string; readonly key: StampKey },
    options: CallOptions = {},
  ): Promise<Session> {
    const { appId, jwt, key } = login;
    const registered = await this.call("register_session", { jwt }, { ...options, appId, keys: [key] });
    return new Session(this, appId, key, registered);
  }

  /**
   * Logs in with a passkey: registers the key for the user whose passkey it is. The user is asked.
   *
   * @throws DOMException as `navigator.credentials.get` does; and as {@link call}
   */
  async loginWithPasskey(
    login: { readonly appId: string; readonly key: StampKey; readonly passkey: PasskeyStampKey },
    options: CallOptions = {},
  ): Promise<Session> {
    const { appId, key, passkey } = login;
    const params = { publicKey: encodeHex(key.publicKey) };
    const asked = { ...options, appId, keys: [key, passkey] };
    return new Session(this, appId, key, await this.call("register_session_with_passkey", params, asked));
  }

  /** The name that requests are addressed to. */
  get deployment(): string {
    return this.#deployment;
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
    const requestId = options.requestId ?? crypto.randomUUID();
    try {
      return await this.#callOnce(operation, params, { ...options, requestId });
    } catch (error) {
      // A computer that slept has lost count of time; an enclave that was started anew has other keys. The same id,
      // dated anew, is a retry: nothing is made twice.
      if (!(error instanceof RefusedError) || !ATTEST_AGAIN.has(error.code)) throw error;
      await this.#enclave.refresh();
      return await this.#callOnce(operation, params, { ...options, requestId });
    }
  }

  async #callOnce<Name extends OperationName>(
    operation: Name,
    params: Params<Name>,
    options: CallOptions & {
      readonly requestId: string;
      readonly appId: string | null;
      readonly keys: readonly Stamper[];
    },
  ): Promise<Result<Name>> {
    const { requestId, secondFactor } = options;
    const audience = audienceOf(this.#deployment, options.appId);
    const body = encodeRequest({
      operation,
      audience,
      requestId,
      issuedAtMs: this.#enclave.nowMs(),
      params: params as JsonValue,
      ...(secondFactor === undefined ? {} : { secondFactor }),
    });
    const stamps = await stampsOf(options.keys, body);
    const isBearer = ACCESS[operation].bearer || secondFactor !== undefined;
    const isSealed = (options.seal ?? "bearer") === "always" || isBearer;
    const { body: answerBody, isSigned } = isSealed
      ? await this.#enclave.postSealed(audience, body, stamps)
      : await this.#enclave.post(`/v1/${operation}`, body, stamps);
    const answer = decode(answerBody);
    if ("error" in answer) {
      const { code, message } = answer.error;
      if (!isSigned && !code.startsWith("PARENT_")) {
        throw new ClientError("ANSWER_NOT_SIGNED", "an answer in the enclave's name without its signature");
      }
      throw new RefusedError(code, message, { isFromEnclave: isSigned });
    }
    if (!isSigned) throw new ClientError("ANSWER_NOT_SIGNED", "a result without the enclave's signature");
    const result = OPERATIONS[operation].result.safeParse(answer.result);
    if (answer.requestId !== requestId || !result.success) {
      throw new ClientError("ANSWER_MALFORMED", `not the result of ${operation}`);
    }
    return result.data as Result<Name>;
  }
}

/** A logged-in user: a key that the enclave knows, until `expiresAtMs` by the enclave's clock. */
export class Session {
  readonly sessionId: string;
  readonly userId: string;
  readonly expiresAtMs: number;
  readonly #client: Client;
  readonly #appId: string;
  readonly #key: StampKey;

  /** @internal Use {@link Client.login}. */
  constructor(client: Client, appId: string, key: StampKey, registered: Result<"register_session">) {
    this.#client = client;
    this.#appId = appId;
    this.#key = key;
    this.sessionId = registered.sessionId;
    this.userId = registered.userId;
    this.expiresAtMs = registered.expiresAtMs;
  }

  /** Passkeys, one-time passwords, linked identities and events of this user. */
  get account(): Account {
    return new Account({
      deployment: this.#client.deployment,
      appId: this.#appId,
      userId: this.userId,
      call: (name, params, { beside, ...options }) => {
        const keys = beside === undefined ? [this.#key] : [this.#key, beside];
        return this.#client.call(name, params, { ...options, appId: this.#appId, keys });
      },
    });
  }

  createWallet(params: Params<"create_wallet">, options?: CallOptions): Promise<Result<"create_wallet">> {
    return this.#call("create_wallet", params, options);
  }

  /** One page; ask again with `after` set to the last wallet's id while `more` is true. */
  listWallets(
    params: Params<"list_wallets"> = { after: null },
    options?: CallOptions,
  ): Promise<Result<"list_wallets">> {
    return this.#call("list_wallets", params, options);
  }

  /** Signs an EIP-1559 transaction, given as its unsigned EIP-2718 bytes in lower-case hex with 0x. */
  signTransaction(params: Params<"sign_transaction">, options?: CallOptions): Promise<Result<"sign_transaction">> {
    return this.#call("sign_transaction", params, options);
  }

  /** Signs a message as `personal_sign` does (EIP-191); the bytes in lower-case hex with 0x, without any prefix. */
  signMessage(params: Params<"sign_message">, options?: CallOptions): Promise<Result<"sign_message">> {
    return this.#call("sign_message", params, options);
  }

  #call<Name extends OperationName>(
    name: Name,
    params: Params<Name>,
    options: CallOptions = {},
  ): Promise<Result<Name>> {
    return this.#client.call(name, params, { ...options, appId: this.#appId, keys: [this.#key] });
  }
}

function decode(body: Uint8Array): ReturnType<typeof decodeAnswer> {
  try {
    return decodeAnswer(body);
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw new ClientError("ANSWER_MALFORMED", "the answer is not JSON of the expected form", { cause });
  }
}
