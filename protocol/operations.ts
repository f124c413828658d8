/** Every operation: what it takes and what it gives. The enclave parses params with these, the client checks results. */
import { z } from "./zod.ts";

const MAX_UINT256 = 2n ** 256n - 1n;

/** An integer that may pass 2^53: decimal, no sign, no leading zero. */
const decimal = z.string().check(
  z.regex(/^(?:0|[1-9][0-9]{0,77})$/, "expected a decimal string"),
  z.refine((text) => BigInt(text) <= MAX_UINT256, "over 2^256 - 1"),
);
/** Lower case, so that one value has one spelling. */
const hexBytes = (maxBytes: number) =>
  z.string().check(z.regex(/^0x(?:[0-9a-f]{2})*$/, "expected 0x and lower-case hex"), z.maxLength(2 + 2 * maxBytes));
const httpsUrl = z.string().check(
  z.maxLength(512),
  z.refine((text) => {
    const url = URL.parse(text);
    return url !== null && url.protocol === "https:" && url.username === "" && url.password === "" && url.hash === "";
  }, "expected an https URL without credentials or fragment"),
);

/** RFC 7518; symmetric algorithms and `none` are not among them. */
export const JWT_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"] as const;

const issuer = z.strictObject({
  /** Compared with `iss` byte for byte. */
  issuer: z.string().check(z.minLength(1), z.maxLength(512)),
  /** `aud` must name one of these. */
  audiences: z.array(z.string().check(z.minLength(1), z.maxLength(128))).check(z.minLength(1), z.maxLength(8)),
  /** RFC 7517 key set; its host must stand in the manifest too. */
  jwksUri: httpsUrl,
  algorithms: z.array(z.enum(JWT_ALGORITHMS)).check(z.minLength(1), z.maxLength(JWT_ALGORITHMS.length)),
});

/** What an app's wallets may sign. What is not named is denied. */
const signingPolicy = z.strictObject({
  /** EIP-155 chain ids. Empty: no transaction is signed. */
  evmChainIds: z.array(decimal).check(z.maxLength(64)),
  /** EIP-191 messages. */
  messages: z.enum(["allow", "deny"]),
});

const walletId = z.string().check(z.regex(/^wal_[0-9a-f]{32}$/, "expected wal_ and 32 hex digits"));
const address = z.string().check(z.regex(/^0x[0-9a-fA-F]{40}$/));
const wallet = z.strictObject({
  walletId,
  /** `hd`: BIP-39 entropy of 128 bits, BIP-32 account at `path`. `single-key`: one random secp256k1 key. */
  kind: z.enum(["hd", "single-key"]),
  /** EIP-55. */
  address,
  /** secp256k1, compressed, hex. */
  publicKey: z.string().check(z.regex(/^[0-9a-f]{66}$/)),
  /** BIP-32 path, or null for a single key. */
  path: z.nullable(z.string()),
  createdAtMs: z.int(),
});

const vaultStatus = z.strictObject({
  /** What new records are sealed under. */
  generation: z.int(),
  /** Older generations that records may still be sealed under; empty when no rotation is under way. */
  retiring: z.array(z.int()),
  /** Records sealed anew since this boot, by the rotation that is under way or was the last. */
  resealed: z.int(),
});

/** Who may ask: `administrators` by m-of-n stamps, `session-key` by the key being registered, `session` by a registered one. */
export type Caller = "administrators" | "session-key" | "session";

export const OPERATIONS = {
  create_app: {
    caller: "administrators",
    params: z.strictObject({
      name: z.string().check(z.minLength(1), z.maxLength(128)),
      /** At their greatest they still fit into one record. */
      issuers: z.array(issuer).check(
        z.minLength(1),
        z.maxLength(8),
        z.refine((issuers) => new Set(issuers.map((each) => each.issuer)).size === issuers.length, "an issuer twice"),
      ),
      /** Seconds; 900 is customary. */
      sessionLifetimeS: z.int().check(z.minimum(1), z.maximum(86_400)),
      signingPolicy,
    }),
    result: z.strictObject({ appId: z.string() }),
  },
  /** Begins a new generation of the vault, or tells of one that is under way. */
  rotate_vault: { caller: "administrators", params: z.strictObject({}), result: vaultStatus },
  vault_status: { caller: "administrators", params: z.strictObject({}), result: vaultStatus },
  register_session: {
    caller: "session-key",
    params: z.strictObject({ jwt: z.string().check(z.minLength(1), z.maxLength(16_384)) }),
    result: z.strictObject({ sessionId: z.string(), userId: z.string(), expiresAtMs: z.int() }),
  },
  create_wallet: {
    caller: "session",
    params: z.strictObject({ kind: z.enum(["hd", "single-key"]) }),
    result: wallet,
  },
  list_wallets: {
    caller: "session",
    params: z.strictObject({
      /** The last wallet of the page before, or null for the first page. */
      after: z.nullable(walletId),
    }),
    result: z.strictObject({ wallets: z.array(wallet), more: z.boolean() }),
  },
  sign_transaction: {
    caller: "session",
    params: z.strictObject({
      walletId,
      /** EIP-155 chain id; must be the transaction's own. */
      chainId: decimal,
      /** EIP-2718 bytes without signature: `0x02` ‖ RLP of the nine fields of EIP-1559. */
      unsignedTransaction: hexBytes(128 * 1024),
    }),
    result: z.strictObject({
      /** EIP-2718 bytes, ready to broadcast. */
      signedTransaction: hexBytes(129 * 1024),
      /** keccak256 of `signedTransaction`. */
      transactionHash: hexBytes(32),
    }),
  },
  sign_message: {
    caller: "session",
    params: z.strictObject({
      walletId,
      /** The bytes to sign under EIP-191 version 0x45 (`personal_sign`), before the prefix. */
      message: hexBytes(64 * 1024),
    }),
    result: z.strictObject({
      /** r ‖ s ‖ v, 65 bytes, v 27 or 28. */
      signature: hexBytes(65),
    }),
  },
} as const satisfies Record<string, { caller: Caller; params: z.ZodMiniType; result: z.ZodMiniType }>;

export type OperationName = keyof typeof OPERATIONS;
export type Params<Name extends OperationName> = z.output<(typeof OPERATIONS)[Name]["params"]>;
export type Result<Name extends OperationName> = z.output<(typeof OPERATIONS)[Name]["result"]>;
export type IssuerConfig = z.output<typeof issuer>;
export type SigningPolicy = z.output<typeof signingPolicy>;
export type Wallet = z.output<typeof wallet>;
export type VaultStatus = z.output<typeof vaultStatus>;

export function isOperationName(name: string): name is OperationName {
  return Object.hasOwn(OPERATIONS, name);
}

/** The audience of an administrators' request, or of one inside an app. */
export function audienceOf(deployment: string, appId: string | null): string {
  return appId === null ? deployment : `${deployment}/${appId}`;
}
