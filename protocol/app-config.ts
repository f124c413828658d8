/** What administrators say of an app. */
import { decimal } from "./decimal.ts";
import { passkeyRules } from "./passkeys.ts";
import { type Policy, policy } from "./policy.ts";
import { guardable, permissions } from "./scope.ts";
import { STAMP_SCHEMES, type StampScheme } from "./stamp.ts";
import { z } from "./zod.ts";

const httpsUrl = z.string().check(
  z.regex(/^[\x21-\x7e]{1,512}$/, "expected printable ASCII"),
  z.refine((text) => {
    const url = URL.parse(text);
    return url !== null && url.protocol === "https:" && url.username === "" && url.password === "" && url.hash === "";
  }, "expected an https URL without credentials or fragment"),
);

/** RFC 7518; symmetric algorithms and `none` are not among them. */
export const JWT_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"] as const;

const hostAndPort = z
  .string()
  .check(z.regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?:[1-9][0-9]{0,4}$/, "expected host:port in lower case"));

const issuerFields = z.strictObject({
  /** Compared with `iss` byte for byte. */
  issuer: z.string().check(z.regex(/^[\x21-\x7e]{1,512}$/, "expected printable ASCII")),
  /** `aud` must name one of these. */
  audiences: z.array(z.string().check(z.minLength(1), z.maxLength(128))).check(z.minLength(1), z.maxLength(8)),
  /** RFC 7517 key set; its host must stand in the manifest too. */
  jwksUri: z.exactOptional(httpsUrl),
  /**
   * In its place: the issuer's OpenID configuration (OpenID Connect Discovery 1.0), fetched from the issuer's own host,
   * names the key set, on that host or one of these. All of them must stand in the manifest too.
   */
  discovery: z.exactOptional(z.strictObject({ keyHosts: z.array(hostAndPort).check(z.maxLength(4)) })),
  algorithms: z.array(z.enum(JWT_ALGORITHMS)).check(z.minLength(1), z.maxLength(JWT_ALGORITHMS.length)),
});
const issuer = issuerFields.check(
  z.refine(
    ({ jwksUri, discovery }) => (jwksUri === undefined) !== (discovery === undefined),
    "expected one of jwksUri and discovery",
  ),
  z.refine(
    ({ issuer, discovery }) => discovery === undefined || isPlainHttps(issuer),
    "discovery needs an https issuer without query or fragment",
  ),
);

/** OpenID Connect Discovery 1.0, section 2. */
function isPlainHttps(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && url.protocol === "https:" && url.username === "" && url.password === "" && !/[?#]/.test(text);
}

/** A policy in short, which {@link withDefaults} turns into rules. What is not named is denied. */
const signingPolicy = z.strictObject({
  /** EIP-155 chain ids, on which transactions of types 0 to 3 are signed. Empty: none is. */
  evmChainIds: z.array(decimal).check(z.maxLength(64)),
  /** EIP-191 messages. */
  messages: z.enum(["allow", "deny"]),
});

/** A session ends by itself; this is how soon unless the app says otherwise. */
export const DEFAULT_SESSION_LIFETIME_S = 900;
export const lifetimeS = z.int().check(z.minimum(1), z.maximum(86_400));

export const stampScheme = z.enum(Object.keys(STAMP_SCHEMES) as [StampScheme, ...StampScheme[]]);
/** A backend that calls in its own name. It owns wallets of the app's; users' are out of its reach. */
/** A name like a DNS label. */
export const apiKeyName = z
  .string()
  .check(z.regex(/^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$/, "expected a name like a DNS label"));
/** Compressed, lower-case hex. */
export const apiPublicKey = z
  .string()
  .check(z.regex(/^(?:[0-9a-f]{2}){32,33}$/, "expected a public key in lower-case hex"));
const apiKey = z
  .strictObject({
    name: apiKeyName,
    scheme: stampScheme,
    publicKey: apiPublicKey,
    permissions,
    /** Null, or when it stops working: a key that another one replaces has this. */
    expiresAtMs: z.nullable(z.int()),
  })
  .check(
    z.refine(
      ({ scheme, publicKey }) => publicKey.length === 2 * STAMP_SCHEMES[scheme].publicKeyBytes,
      "a public key of another scheme's length",
    ),
  );

/** What an app's users must confirm with a one-time password; each of them may add to it, and nobody can take from it. */
const totpRules = z.strictObject({ requiredFor: guardable });

/** Whole: with nothing left out. */
export const appConfig = z.strictObject({
  name: z.string().check(z.minLength(1), z.maxLength(128)),
  /** At their greatest they still fit into one record. */
  issuers: z.array(issuer).check(
    z.minLength(1),
    z.maxLength(8),
    z.refine((issuers) => new Set(issuers.map((each) => each.issuer)).size === issuers.length, "an issuer twice"),
  ),
  apiKeys: z
    .array(apiKey)
    .check(z.maxLength(8), z.refine(areDistinct, "a public key twice, or two keys of one name that stay")),
  /** What a session gets unless its login asks for less or more. */
  sessionLifetimeS: lifetimeS,
  /** What a login may ask for. */
  maxSessionLifetimeS: lifetimeS,
  /** What the app's wallets, its own and users', may sign. Null: nothing. */
  policy: z.nullable(policy),
  /** Null: this app takes no passkeys. */
  passkeys: z.nullable(passkeyRules),
  totp: totpRules,
});
export type AppConfig = z.output<typeof appConfig>;

const { apiKeys, sessionLifetimeS, maxSessionLifetimeS, passkeys, totp } = appConfig.shape;
const { policy: nullablePolicy } = appConfig.shape;

/**
 * As given: no API keys unless there are some, sessions of 900 s, and none longer than what they get unasked; no passkeys,
 * nothing that needs a one-time password, and nothing that is signed.
 */
export const newApp = z
  .strictObject({
    ...appConfig.shape,
    apiKeys: z.exactOptional(apiKeys),
    sessionLifetimeS: z.exactOptional(sessionLifetimeS),
    maxSessionLifetimeS: z.exactOptional(maxSessionLifetimeS),
    policy: z.exactOptional(nullablePolicy),
    signingPolicy: z.exactOptional(signingPolicy),
    passkeys: z.exactOptional(passkeys),
    totp: z.exactOptional(totp),
  })
  .check(z.refine((app) => app.policy === undefined || app.signingPolicy === undefined, "policy and signingPolicy"));
export type NewApp = z.output<typeof newApp>;
export type ApiKey = z.output<typeof apiKey>;
export type IssuerConfig = z.output<typeof issuer>;
export type SigningPolicy = z.output<typeof signingPolicy>;

export function withDefaults(app: NewApp): AppConfig {
  const lifetime = app.sessionLifetimeS ?? DEFAULT_SESSION_LIFETIME_S;
  return {
    name: app.name,
    issuers: app.issuers,
    apiKeys: app.apiKeys ?? [],
    sessionLifetimeS: lifetime,
    maxSessionLifetimeS: app.maxSessionLifetimeS ?? lifetime,
    policy: app.policy ?? (app.signingPolicy === undefined ? null : rulesOf(app.signingPolicy)),
    passkeys: app.passkeys ?? null,
    totp: app.totp ?? { requiredFor: [] },
  };
}

/** What the short form says, as a document. Handing an account to code (type 4) is more than it ever meant. */
export function rulesOf({ evmChainIds, messages }: SigningPolicy): Policy {
  const chains = evmChainIds.map((id) => `eip155:${id}`);
  const transactions: Policy["rules"][number] = {
    ...{ id: "evm-transactions", effect: "allow" },
    when: [
      { field: "kind", in: ["evm-transaction"] },
      { field: "chain", in: chains },
      { field: "evm.type", atMost: "3" },
    ],
  };
  const signed: Policy["rules"][number] = {
    ...{ id: "evm-messages", effect: "allow" },
    when: [{ field: "kind", in: ["evm-message"] }],
  };
  return { v: 1, rules: [...(chains.length > 0 ? [transactions] : []), ...(messages === "allow" ? [signed] : [])] };
}

function areDistinct(
  keys: readonly { readonly name: string; readonly publicKey: string; readonly expiresAtMs: number | null }[],
): boolean {
  const staying = keys.filter(({ expiresAtMs }) => expiresAtMs === null).map(({ name }) => name);
  const publicKeys = keys.map(({ publicKey }) => publicKey);
  return new Set(publicKeys).size === keys.length && new Set(staying).size === staying.length;
}
