/** BIP-322, held against the vectors of the BIP, and against bitcoinjs-lib for what they leave out. */
import { secp256k1 as noble, schnorr } from "@noble/curves/secp256k1.js";
import { base58 } from "@scure/base";
import { RawTx, RawWitness } from "@scure/btc-signer/script.js";
import { Transaction as JudgeTransaction } from "bitcoinjs-lib";
import { describe, expect, test } from "vitest";
import type { Authorised } from "../../../../enclave/policy/authorised.ts";
import { signBip322, toSpend } from "../../../../enclave/signing/bitcoin/bip322.ts";
import { type ScriptKind, scriptOf } from "../../../../enclave/signing/bitcoin/scripts.ts";
import { taggedHash } from "../../../../enclave/signing/bitcoin/taproot.ts";
import { secp256k1 } from "../../../../enclave/wallets/open-wallet.ts";
import { type InputParts, openSingleKey, psbtOf, sha256, signBytes } from "../../../support/bitcoin.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
/** Wallet import format: version, key, 1 for compressed, checksum. */
const fromWif = (wif: string) => base58.decode(wif).subarray(1, 33);
const KEY = fromWif("L3VFeEujGtevx9w18HD1fhRbCH67Az2dpCymeRE1SoPK6XQtaN2k");

function sign(privateKey: Uint8Array, kind: ScriptKind, message: Uint8Array) {
  using wallet = openSingleKey(privateKey, [`bitcoin-${kind}`]);
  const [account] = wallet.accounts;
  if (account === undefined) throw new Error("no account");
  const authorised = { walletId: wallet.walletId, publicKeys: [account.publicKey], facts: { kind: "bitcoin-message" } };
  const signature = signBip322(message, account, kind, (held, work) =>
    wallet.sign(authorised as unknown as Authorised, held, (signer) => work(secp256k1(signer))),
  );
  const publicKey = Buffer.from(account.publicKey, "hex");
  return { ...signature, account, publicKey, script: scriptOf(kind, publicKey) };
}

describe("vectors of the BIP", () => {
  test.each([
    ["", "c5680aa69bb8d860bf82d4e9cd3504b55dde018de765a91bb566283c545a99a7"],
    ["Hello World", "b79d196740ad5217771c1098fc4a4b51e0535c32236c71f1ea4d61a2d603352b"],
    ["UTF-8 support: öäüéàè 测试文本 😄", "c8f4f525fe8afb1bc09b44175bd2096f079c98425e8a1be676b712add1fb62f0"],
  ])("to_spend of %j", (message, txid) => {
    const { script, account } = sign(KEY, "p2wpkh", Buffer.from(message));
    expect(account.address).toBe("bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l");
    expect(hex(toSpend(Buffer.from(message), script))).toBe(txid);
  });

  // Each has two, by how the nonce was come by; ours is RFC 6979's, and grinds for no length.
  test.each([
    [
      "",
      "AkcwRAIgM2gBAQqvZX15ZiysmKmQpDrG83avLIT492QBzLnQIxYCIBaTpOaD20qRlEylyxFSeEA2ba9YOixpX8z46TSDtS40ASECx/EgAxlkQpQ9hYjgGu6EBCPMVPwVIVJqO4XCsMvViHI=",
      "AkgwRQIhAPkJ1Q4oYS0htvyuSFHLxRQpFAY56b70UvE7Dxazen0ZAiAtZfFz1S6T6I23MWI2lK/pcNTWncuyL8UL+oMdydVgzAEhAsfxIAMZZEKUPYWI4BruhAQjzFT8FSFSajuFwrDL1Yhy",
    ],
    [
      "Hello World",
      "AkcwRAIgZRfIY3p7/DoVTty6YZbWS71bc5Vct9p9Fia83eRmw2QCICK/ENGfwLtptFluMGs2KsqoNSk89pO7F29zJLUx9a/sASECx/EgAxlkQpQ9hYjgGu6EBCPMVPwVIVJqO4XCsMvViHI=",
      "AkgwRQIhAOzyynlqt93lOKJr+wmmxIens//zPzl9tqIOua93wO6MAiBi5n5EyAcPScOjf1lAqIUIQtr3zKNeavYabHyR8eGhowEhAsfxIAMZZEKUPYWI4BruhAQjzFT8FSFSajuFwrDL1Yhy",
    ],
  ])("simple signature of %j", (message, ...signatures) => {
    const { format, bytes } = sign(KEY, "p2wpkh", Buffer.from(message));
    expect(format).toBe("simple");
    expect(signatures).toContain(Buffer.from(bytes).toString("base64"));
  });

  test("simple signature by a taproot key", () => {
    const key = fromWif("KyrSGCFPhqZMjCe5fNTYddiLMp4tMj4gLKuJ26TsB2rvr1VJGPbt");
    const { account } = sign(key, "p2tr", Buffer.from("No prefix fallback"));
    expect(account.address).toBe("bc1pss0zhytly75awhm6x2hhvd5lnzv3vssgrf9axfheq8ldyzn88ges79fler");
  });
});

describe.each(["", "Hello World"])("message %j, by another judge", (text) => {
  const message = Buffer.from(text);
  /** to_sign, as bitcoinjs-lib builds it. */
  function toSign(script: Uint8Array): JudgeTransaction {
    const tag = sha256(Buffer.from("BIP0322-signed-message"));
    const spend = new JudgeTransaction();
    spend.version = 0;
    const messageHash = sha256(Buffer.concat([tag, tag, message]));
    spend.addInput(new Uint8Array(32), 0xffffffff, 0, Buffer.concat([Uint8Array.of(0, 32), messageHash]));
    spend.addOutput(script, 0n);
    const sign = new JudgeTransaction();
    sign.version = 0;
    sign.addInput(spend.getHash(), 0, 0);
    sign.addOutput(Uint8Array.of(0x6a), 0n);
    return sign;
  }
  const options = { format: "der", prehash: false, lowS: true } as const;

  test.each(["p2wpkh", "p2sh-p2wpkh"] as const)("%s", (kind) => {
    const { format, bytes, publicKey, script } = sign(KEY, kind, message);
    expect(format).toBe("simple");
    const [signature = new Uint8Array(0), key] = RawWitness.decode(bytes);
    expect(hex(key ?? new Uint8Array(0))).toBe(hex(publicKey));
    const digest = toSign(script).hashForWitnessV0(0, scriptOf("p2pkh", publicKey), 0n, 1);
    expect(noble.verify(signature.subarray(0, -1), digest, publicKey, options)).toBe(true);
  });

  test("p2tr", () => {
    const { format, bytes, script } = sign(KEY, "p2tr", message);
    expect(format).toBe("simple");
    const [signature = new Uint8Array(0), ...rest] = RawWitness.decode(bytes);
    expect(rest).toEqual([]);
    expect(schnorr.verify(signature, toSign(script).hashForWitnessV1(0, [script], [0n], 0), script.subarray(2))).toBe(
      true,
    );
  });

  test("p2pkh, whole, because it has no witness", () => {
    const { format, bytes, publicKey, script } = sign(KEY, "p2pkh", message);
    expect(format).toBe("full");
    const transaction = JudgeTransaction.fromBuffer(bytes);
    const { script: scriptSig = new Uint8Array(0) } = transaction.ins[0] ?? {};
    const length = scriptSig[0] ?? 0;
    const expected = toSign(script);
    expect(
      noble.verify(scriptSig.subarray(1, length), expected.hashForSignature(0, script, 1), publicKey, options),
    ).toBe(true);
    expect(hex(scriptSig.subarray(length + 2))).toBe(hex(publicKey));
    expected.setInputScript(0, scriptSig);
    expect(hex(bytes)).toBe(hex(expected.toBuffer()));
  });
});

/**
 * BIP-322, "Full": to_sign may have a version that transactions have. A PSBT of it would have a message signed by whoever
 * may sign transactions, as one that moves nothing.
 */
describe("a PSBT that spends what holds a message is refused", () => {
  const message = Buffer.from("I owe you 100 BTC");
  test.each(["p2pkh", "p2sh-p2wpkh", "p2wpkh", "p2tr"] as const)("of %s", (kind) => {
    using wallet = openSingleKey(KEY, [`bitcoin-${kind}`]);
    const script = scriptOf(kind, Buffer.from(wallet.accounts[0]?.publicKey ?? "", "hex"));
    const held = taggedHash("BIP0322-signed-message", message);
    const spent = RawTx.encode({
      ...{ version: 0, lockTime: 0, segwitFlag: false, witnesses: [] },
      inputs: [
        {
          ...{ txid: new Uint8Array(32), index: 0xffff_ffff, sequence: 0 },
          finalScriptSig: Buffer.concat([Uint8Array.of(0, 32), held]),
        },
      ],
      outputs: [{ amount: 0n, script }],
    });
    const txid = sha256(sha256(spent)).reverse();
    expect(hex(txid)).toBe(hex(toSpend(message, script)));
    const outputs = [{ script: Uint8Array.of(0x6a), amount: 0n }];
    const amountTold = { txid, index: 0, sequence: 0, witnessUtxo: { amount: 0n, script } };
    const inputs: InputParts[] = [{ txid, index: 0, sequence: 0, nonWitnessUtxo: spent }];
    if (kind === "p2tr") inputs.push(amountTold);
    for (const input of inputs) {
      expect(() => signBytes(wallet, psbtOf([input], outputs))).toThrow(
        expect.objectContaining({ code: "TRANSACTION_MALFORMED", message: expect.stringContaining("a message") }),
      );
    }
  });
});
