/** Raw digests on each curve beside noble, whose secret arithmetic is JavaScript. */
import { ed25519 } from "@noble/curves/ed25519.js";
import { p256 } from "@noble/curves/nist.js";
import { schnorr, secp256k1 } from "@noble/curves/secp256k1.js";
import { checkRaw, type RawScheme, rawAccount, signRaw } from "../../enclave/signing/raw-digest.ts";
import { publicKeyOf } from "../../enclave/wallets/curves.ts";
import { SecretKey } from "../../enclave/wallets/secret-key.ts";
import { signerOf } from "../../enclave/wallets/signer-of.ts";
import { type Curve, decodeHex, encodeHex } from "../../protocol/index.ts";
import { judgeBy } from "./judge.ts";
import type { SigningRow } from "./signing-row.ts";

const KEY = new Uint8Array(32).fill(0x46);
const DIGEST = new Uint8Array(32).fill(0x11);
const hex = encodeHex(DIGEST);

const judge = judgeBy({
  v: 1,
  rules: [{ id: "raw", effect: "allow", when: [{ field: "kind", in: ["raw-digest"] }] }],
});

export function digestRows(): readonly SigningRow[] {
  const noRandomness = new Uint8Array(32);
  return [
    row("ecdsa", "secp256k1", () => secp256k1.sign(DIGEST, KEY, { prehash: false, lowS: true })),
    row("ecdsa", "p256", () => p256.sign(DIGEST, KEY, { prehash: false, lowS: false })),
    row("schnorr", "secp256k1", () => schnorr.sign(DIGEST, KEY, noRandomness)),
    row("eddsa", "ed25519", () => ed25519.sign(DIGEST, KEY)),
  ];
}

function row(scheme: RawScheme, curve: Curve, theirs: () => Uint8Array): SigningRow {
  const publicKey = publicKeyOf(curve, KEY);
  const address = encodeHex(publicKey);
  const accounts = [{ address, format: "none", curve, publicKey: address, path: null }] as const;
  const name = `digest, ${scheme} on ${curve}`;
  const ours = () => {
    const digest = decodeHex(hex);
    const account = rawAccount(accounts, address, scheme);
    checkRaw(digest, scheme, account, accounts);
    judge("sign_digest", { kind: "raw-digest", curve, scheme, from: address, digest });
    using key = new SecretKey(Uint8Array.from(KEY));
    return encodeHex(signRaw(digest, scheme, signerOf({ curve, publicKey }, key)).signature);
  };
  if (ours() !== encodeHex(theirs())) throw new Error(`${name}: noble signs something else`);
  return { name, peer: "@noble/curves", ours, theirs };
}
