/** Accounts out of a wallet's secret. */
import { CURVE_OF_FORMAT, type Curve, type NewAccount, RequestError } from "../../protocol/index.ts";
import { addressOf } from "./addresses/address.ts";
import { deriveOn, publicKeyOf } from "./curves.ts";
import { defaultPath, isHardened, parsePath } from "./paths.ts";
import type { HeldAccount, WalletSecret } from "./wallet-value.ts";

/** What an account can be depends on. */
export type SecretKind = { readonly kind: "hd" } | { readonly kind: "single-key"; readonly curve: Curve };

/** An account of which all is said. */
export type ExactAccount = Pick<HeldAccount, "format" | "curve" | "path">;

/**
 * Says all of an account that is asked for.
 *
 * @throws {@link RequestError} `INVALID_PARAMS` for one that this wallet cannot have
 */
export function exactAccount(asked: NewAccount, secret: SecretKind): ExactAccount {
  const { format } = asked;
  if (secret.kind === "single-key") {
    if (asked.path !== undefined || asked.index !== undefined) throw impossible("a single key has no paths");
    const curve = curveOf(asked, secret.curve);
    if (curve !== secret.curve)
      throw impossible(`format ${format} is of a key on ${curve}, this one is on ${secret.curve}`);
    return { format, curve, path: null };
  }
  if (asked.path !== undefined && asked.index !== undefined) throw impossible("a path, or an index, and not both");
  const curve = curveOf(asked, "secp256k1");
  const path = asked.path ?? defaultPath(format, asked.index ?? 0);
  if (path === null) throw impossible(`format ${format} has no path of its own: name one`);
  if (curve === "ed25519" && !parsePath(path).every(isHardened)) {
    throw impossible("on ed25519 every step of a path is hardened");
  }
  return { format, curve, path };
}

/** Whoever holds the account wipes its key. */
export function makeAccount({ format, curve, path }: ExactAccount, secret: WalletSecret): HeldAccount {
  const privateKey =
    secret.kind === "hd" ? deriveOn(curve, secret.seed, path ?? "m") : Uint8Array.from(secret.privateKey);
  const publicKey = publicKeyOf(curve, privateKey);
  return { address: addressOf(format, publicKey), format, curve, publicKey, path, privateKey };
}

export function isSame(one: ExactAccount, other: ExactAccount): boolean {
  return one.format === other.format && one.curve === other.curve && one.path === other.path;
}

/** @param unless - Where neither the format nor the caller says. */
function curveOf({ format, curve }: NewAccount, unless: Curve): Curve {
  const needed = CURVE_OF_FORMAT[format] ?? curve ?? unless;
  if (curve !== undefined && curve !== needed) throw impossible(`format ${format} is of a key on ${needed}`);
  return needed;
}

function impossible(why: string): RequestError {
  return new RequestError("INVALID_PARAMS", `accounts: ${why}`);
}
