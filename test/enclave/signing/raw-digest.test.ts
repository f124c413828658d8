/** Digests and messages of which nothing is known: which key, which scheme, and what is refused all the same. */
import { createHash, createPublicKey, verify } from "node:crypto";
import fc from "fast-check";
import { recoverAddress } from "viem";
import { privateKeyToAddress } from "viem/accounts";
import { describe, expect, test } from "vitest";
import { checkRaw, type RawScheme, rawAccount, signRaw } from "../../../enclave/signing/raw-digest.ts";
import { ed25519 } from "../../../enclave/wallets/open-wallet.ts";
import { SecretKey } from "../../../enclave/wallets/secret-key.ts";
import { signerOf } from "../../../enclave/wallets/signer-of.ts";
import { type Account, type Curve, encodeHex } from "../../../protocol/index.ts";
import { RFC_8032_VECTORS } from "../../support/rfc8032.ts";
import { keyOf, makeTransaction, named } from "../../support/solana.ts";

const DIGEST = createHash("sha256").update("digest").digest();

function accountOf(curve: Curve, changes: Partial<Account> = {}): Account {
  const publicKey = curve === "ed25519" ? "aa".repeat(32) : `02${(curve === "p256" ? "bb" : "cc").repeat(32)}`;
  return { address: publicKey, format: "none", curve, publicKey, path: null, ...changes };
}

describe("the account", () => {
  const path = "m/44'/0'/0'";
  const ethereum = accountOf("secp256k1", { address: "0xE", format: "ethereum", path });
  const bitcoin = accountOf("secp256k1", { address: "bc1", format: "bitcoin-p2wpkh", path });
  const edwards = accountOf("ed25519", { path });
  const nist = accountOf("p256", { path });
  const all = [ethereum, bitcoin, edwards, nist];

  test.each<[string, RawScheme, Account]>([
    ["0xE", "ecdsa", ethereum],
    ["bc1", "schnorr", bitcoin],
    [edwards.address, "eddsa", edwards],
    [nist.address, "ecdsa", nist],
    [path, "eddsa", edwards],
    [path, "schnorr", ethereum],
  ])("%s with %s", (selector, scheme, expected) => {
    expect(rawAccount(all, selector, scheme)).toBe(expected);
  });

  test("ACCOUNT_NOT_FOUND for one that is not there", () => {
    expect(() => rawAccount(all, "m/0", "ecdsa")).toThrow(expect.objectContaining({ code: "ACCOUNT_NOT_FOUND" }));
  });

  test.each<[string, RawScheme]>([
    ["0xE", "eddsa"],
    [nist.address, "schnorr"],
    [nist.address, "eddsa"],
    [edwards.address, "ecdsa"],
    [edwards.address, "schnorr"],
    // Keys on two curves: which one is not for us to choose.
    [path, "ecdsa"],
  ])("SCHEME_MISMATCH for %s with %s", (selector, scheme) => {
    expect(() => rawAccount(all, selector, scheme)).toThrow(expect.objectContaining({ code: "SCHEME_MISMATCH" }));
  });
});

describe("what is refused", () => {
  test.each([0, 20, 31, 33, 64])("INVALID_PARAMS for a digest of %d bytes", (length) => {
    for (const [scheme, curve] of [
      ["ecdsa", "secp256k1"],
      ["ecdsa", "p256"],
      ["schnorr", "secp256k1"],
    ] as const) {
      expect(() => checkRaw(new Uint8Array(length), scheme, accountOf(curve), [])).toThrow(
        expect.objectContaining({ code: "INVALID_PARAMS" }),
      );
    }
  });

  const alice = keyOf("alice");
  const solana = accountOf("ed25519", {
    ...{ address: alice.address, format: "solana", publicKey: encodeHex(alice.publicKey) },
  });
  const sameKey = accountOf("ed25519", { publicKey: solana.publicKey });

  test("NOT_RAW for whatever Solana message the key can sign, by whichever account it is asked for", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom("legacy" as const, 0 as const),
        (data, version) => {
          const accounts = [{ address: alice.address, role: 2 as const }];
          const instruction = { programAddress: named("program"), accounts, data };
          const { message } = makeTransaction([instruction], { feePayer: named("payer"), version });
          // Also such as no parser knows yet.
          const later = Buffer.concat([Uint8Array.of(0x85, 1, 2, 3), message]);
          for (const account of [solana, sameKey]) {
            for (const bytes of [message, later]) {
              expect(() => checkRaw(bytes, "eddsa", account, [solana, sameKey])).toThrow(
                expect.objectContaining({ code: "NOT_RAW" }),
              );
            }
          }
        },
      ),
    );
  });

  test("not a key that is no account of Solana's, nor a message that does not name it", () => {
    const message = Buffer.concat([Buffer.from("of another chain"), alice.publicKey]);
    expect(() => checkRaw(message, "eddsa", sameKey, [sameKey])).not.toThrow();
    expect(() => checkRaw(DIGEST, "eddsa", solana, [solana])).not.toThrow();
    expect(() => checkRaw(new Uint8Array(0), "eddsa", solana, [solana])).not.toThrow();
    expect(() => checkRaw(message.subarray(0, -1), "eddsa", solana, [solana])).not.toThrow();
  });
});

describe("the signature", () => {
  const secret = Buffer.from("c85ef7d79691fe79573b1a7064c19c1a9819ebdbd1faaab1a8ec92344438aaf4", "hex");

  test("of ECDSA on secp256k1 is the key's, as viem recovers it", async () => {
    using key = new SecretKey(Uint8Array.from(secret));
    const signer = signerOf({ curve: "secp256k1", publicKey: new Uint8Array(33) }, key);
    const { signature, recoveryId } = signRaw(DIGEST, "ecdsa", signer);
    const whole = `0x${encodeHex(signature)}${(27 + (recoveryId ?? Number.NaN)).toString(16)}` as const;
    expect(await recoverAddress({ hash: `0x${encodeHex(DIGEST)}`, signature: whole })).toBe(
      privateKeyToAddress(`0x${encodeHex(secret)}`),
    );
  });

  // BIP-340, test vector 0: the key is 3, and neither the message nor what is mixed into the nonce is anything but zeros.
  test("of BIP-340 is the vector's: the key as it is, without a tweak", () => {
    using key = new SecretKey(new Uint8Array(32).fill(3, 31));
    const signer = signerOf({ curve: "secp256k1", publicKey: new Uint8Array(33) }, key);
    const { signature, recoveryId } = signRaw(new Uint8Array(32), "schnorr", signer);
    expect(encodeHex(signature)).toBe(
      "e907831f80848d1069a5371b402410364bdf1c5f8307b0084c55f1ce2dca8215" +
        "25f66a4a85ea8b71e482a74f382d2ce5ebeee8fdb2172f477df4900d310536c0",
    );
    expect(recoveryId).toBeNull();
  });

  // RFC 6979, A.2.5: SHA-256 of "sample".
  test("of ECDSA on P-256 is RFC 6979's", () => {
    using key = new SecretKey(Buffer.from("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721", "hex"));
    const signer = signerOf({ curve: "p256", publicKey: new Uint8Array(33) }, key);
    const { signature, recoveryId } = signRaw(createHash("sha256").update("sample").digest(), "ecdsa", signer);
    expect(encodeHex(signature)).toBe(
      "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716" +
        "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
    );
    expect(recoveryId).toBeNull();
  });

  test.each(RFC_8032_VECTORS)("of Ed25519 is RFC 8032's under %s", (seed, publicKey, message, expected) => {
    using key = new SecretKey(Buffer.from(seed, "hex"));
    const signer = signerOf({ curve: "ed25519", publicKey: Buffer.from(publicKey, "hex") }, key);
    const { signature, recoveryId } = signRaw(Buffer.from(message, "hex"), "eddsa", signer);
    expect(encodeHex(signature)).toBe(expected);
    expect(recoveryId).toBeNull();
    expect(encodeHex(ed25519(signer).publicKey)).toBe(publicKey);
    const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), signer.publicKey]);
    const judge = createPublicKey({ key: der, format: "der", type: "spki" });
    expect(verify(null, Buffer.from(message, "hex"), judge, signature)).toBe(true);
  });
});
