/**
 * libsecp256k1 in one of two bindings: our own (`enclave/native/secp256k1.c`, the only one in an image), or npm's `secp256k1`
 * where ours is not built. Both are C, and neither turns to JavaScript.
 */
import { createRequire } from "node:module";
import { loadNative, NativeError } from "../../vsock/index.ts";

/** Keys, digests, seeds and tweaks have 32 bytes, signatures 64. What has another length is a TypeError, unless said. */
export interface Secp256k1Binding {
  /** Which one it is, and the version of the library or of the package. */
  readonly version: string;
  randomize(seed: Uint8Array): boolean;
  /** False for what has another length. */
  isPrivateKey(key: Uint8Array): boolean;
  /** Writes 33 or 65 bytes into `out`. False for what is no private key. */
  publicKey(key: Uint8Array, out: Uint8Array): boolean;
  /** Changes `key` in place. False, and `key` of no use any more, where the sum is 0 or the tweak not below n. */
  addTweak(key: Uint8Array, tweak: Uint8Array): boolean;
  /** Writes 33 or 65 bytes into `out`. False where `key` is no point, or the sum is none. */
  tweakPublicKey(key: Uint8Array, tweak: Uint8Array, out: Uint8Array): boolean;
  /** Writes r ‖ s into `out`. @returns The recovery id, or -1 for what is no private key. */
  signRecoverable(digest: Uint8Array, key: Uint8Array, out: Uint8Array): number;
  /** Writes 33 or 65 bytes into `out`. False where no key can have made the signature. */
  recover(digest: Uint8Array, rs: Uint8Array, recoveryId: number, out: Uint8Array): boolean;
  /** Strict DER; a high s counts like a low one. False for a key that is none, or a signature of any form that is none. */
  verifyDer(digest: Uint8Array, signature: Uint8Array, publicKey: Uint8Array): boolean;
  /** Writes 64 bytes into `out`. False for what is no private key, or is none with the tweak. */
  signSchnorr(
    message: Uint8Array,
    key: Uint8Array,
    auxRand: Uint8Array | null,
    tapTweak: Uint8Array | null,
    out: Uint8Array,
  ): boolean;
  /** The message may have any length. */
  verifySchnorr(signature: Uint8Array, message: Uint8Array, xOnly: Uint8Array): boolean;
}

export function loadSecp256k1(): Secp256k1Binding {
  try {
    return loadNative("secp256k1") as Secp256k1Binding;
  } catch (error) {
    if (!(error instanceof NativeError)) throw error;
    return npmSecp256k1(error);
  }
}

/** By the path of its native part: the package's main entry turns to JavaScript without a word. An image has no such package. */
export function npmSecp256k1(cause?: unknown): Secp256k1Binding {
  // In a variable of this name, so that the bundler leaves the package out.
  const require = createRequire(import.meta.url);
  const npm = require("secp256k1/bindings.js") as typeof import("secp256k1");
  const { version } = require("secp256k1/package.json") as { readonly version: string };
  return {
    version: `npm secp256k1 ${version}`,
    randomize(seed) {
      npm.contextRandomize(expectLength(seed, 32));
      return true;
    },
    isPrivateKey: (key) => expectBytes(key).length === 32 && npm.privateKeyVerify(key),
    publicKey(key, out) {
      expectLength(out, 33, 65);
      if (!npm.privateKeyVerify(expectLength(key, 32))) return false;
      npm.publicKeyCreate(key, out.length === 33, out);
      return true;
    },
    addTweak(key, tweak) {
      expectLength(key, 32);
      expectLength(tweak, 32);
      return succeeds(() => npm.privateKeyTweakAdd(key, tweak));
    },
    tweakPublicKey(key, tweak, out) {
      expectLength(key, 33, 65);
      expectLength(tweak, 32);
      expectLength(out, 33, 65);
      return succeeds(() => npm.publicKeyTweakAdd(key, tweak, out.length === 33, out));
    },
    signRecoverable(digest, key, out) {
      expectLength(digest, 32);
      expectLength(out, 64);
      if (!npm.privateKeyVerify(expectLength(key, 32))) return -1;
      return npm.ecdsaSign(digest, key, {}, out).recid;
    },
    recover(digest, rs, recoveryId, out) {
      expectLength(digest, 32);
      expectLength(rs, 64);
      expectLength(out, 33, 65);
      if (![0, 1, 2, 3].includes(recoveryId)) throw new TypeError("secp256k1: expected a recovery id of 0 to 3");
      return succeeds(() => npm.ecdsaRecover(rs, recoveryId, digest, out.length === 33, out));
    },
    verifyDer(digest, signature, publicKey) {
      expectLength(digest, 32);
      expectBytes(signature);
      expectBytes(publicKey);
      try {
        return npm.ecdsaVerify(npm.signatureNormalize(npm.signatureImport(signature)), digest, publicKey);
      } catch {
        return false;
      }
    },
    signSchnorr: () => withoutSchnorr(cause),
    verifySchnorr: () => withoutSchnorr(cause),
  };
}

function withoutSchnorr(cause: unknown): never {
  throw new NativeError("Schnorr signatures need our own binding of libsecp256k1: run `make native`", { cause });
}

/** The package throws for what it calls no point, and no scalar. Types and lengths have been checked before. */
function succeeds(call: () => unknown): boolean {
  try {
    call();
    return true;
  } catch {
    return false;
  }
}

function expectBytes(bytes: Uint8Array): Uint8Array {
  if (!(bytes instanceof Uint8Array)) throw new TypeError("secp256k1: expected a Uint8Array");
  return bytes;
}

function expectLength(bytes: Uint8Array, ...lengths: readonly number[]): Uint8Array {
  if (lengths.includes(expectBytes(bytes).length)) return bytes;
  throw new TypeError(`secp256k1: expected ${lengths.join(" or ")} bytes`);
}
