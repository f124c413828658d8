/** Addresses and the paths to them: the vectors of BIP-44's family, and libraries of each chain as judges. */
import { NETWORK, p2pkh, p2sh, p2tr, p2wpkh, TEST_NETWORK } from "@scure/btc-signer";
import fc from "fast-check";
import { mnemonicToAccount, publicKeyToAddress } from "viem/accounts";
import { describe, expect, test } from "vitest";
import { isPrivateKey, uncompressed } from "../../../enclave/signing/secp256k1.ts";
import { addressOf } from "../../../enclave/wallets/addresses/address.ts";
import { masterFingerprint } from "../../../enclave/wallets/bip32.ts";
import { deriveOn, publicKeyOf } from "../../../enclave/wallets/curves.ts";
import { seedOf } from "../../../enclave/wallets/mnemonic.ts";
import { defaultPath } from "../../../enclave/wallets/paths.ts";
import { ADDRESS_FORMATS, type AddressFormat, CURVE_OF_FORMAT } from "../../../protocol/index.ts";

const ABANDON = `${"abandon ".repeat(11)}about`;

async function addressAt(format: AddressFormat, path: string): Promise<string> {
  const seed = await seedOf(Buffer.from(ABANDON));
  const curve = CURVE_OF_FORMAT[format] ?? "secp256k1";
  return addressOf(format, publicKeyOf(curve, deriveOn(curve, seed, path)));
}

test.each<[AddressFormat, string, string]>([
  // BIP-84's vectors.
  ["bitcoin-p2wpkh", "m/84'/0'/0'/0/0", "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"],
  ["bitcoin-p2wpkh", "m/84'/0'/0'/0/1", "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g"],
  ["bitcoin-p2wpkh", "m/84'/0'/0'/1/0", "bc1q8c6fshw2dlwun7ekn9qwf37cu2rn755upcp6el"],
  // BIP-86's.
  ["bitcoin-p2tr", "m/86'/0'/0'/0/0", "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"],
  ["bitcoin-p2tr", "m/86'/0'/0'/0/1", "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh"],
  ["bitcoin-p2tr", "m/86'/0'/0'/1/0", "bc1p3qkhfews2uk44qtvauqyr2ttdsw7svhkl9nkm9s9c3x4ax5h60wqwruhk7"],
  // BIP-49's one.
  ["bitcoin-testnet-p2sh-p2wpkh", "m/49'/1'/0'/0/0", "2Mww8dCYPUpKHofjgcXcBCEGmniw9CoaiD2"],
  // BIP-44 has none; what every wallet software shows for these words.
  ["bitcoin-p2pkh", "m/44'/0'/0'/0/0", "1LqBGSKuX5yYUonjxT5qGfpUsXKYYWeabA"],
  ["ethereum", "m/44'/60'/0'/0/0", "0x9858EfFD232B4033E47d90003D41EC34EcaEda94"],
  ["solana", "m/44'/501'/0'/0'", "HAgk14JpMQLgt6rVgv7cBQFJWFto5Dqxi472uT3DKpqk"],
])("%s at %s", async (format, path, address) => {
  expect(await addressAt(format, path)).toBe(address);
});

test("the master fingerprint of BIP-84's words, as descriptors write it", async () => {
  expect(Buffer.from(masterFingerprint(await seedOf(Buffer.from(ABANDON)))).toString("hex")).toBe("73c5da0a");
});

describe("any key, as its chain's own libraries write it", () => {
  const keys = fc.uint8Array({ minLength: 32, maxLength: 32 }).filter(isPrivateKey);
  type Judge = (publicKey: Uint8Array) => string | undefined;
  const x = (publicKey: Uint8Array) => publicKey.subarray(1);
  const judges = new Map<AddressFormat, Judge>([
    ["ethereum", (key) => publicKeyToAddress(`0x${Buffer.from(uncompressed(key)).toString("hex")}`)],
    ["bitcoin-p2pkh", (key) => p2pkh(key, NETWORK).address],
    ["bitcoin-p2sh-p2wpkh", (key) => p2sh(p2wpkh(key, NETWORK), NETWORK).address],
    ["bitcoin-p2wpkh", (key) => p2wpkh(key, NETWORK).address],
    ["bitcoin-p2tr", (key) => p2tr(x(key), undefined, NETWORK).address],
    ["bitcoin-testnet-p2pkh", (key) => p2pkh(key, TEST_NETWORK).address],
    ["bitcoin-testnet-p2sh-p2wpkh", (key) => p2sh(p2wpkh(key, TEST_NETWORK), TEST_NETWORK).address],
    ["bitcoin-testnet-p2wpkh", (key) => p2wpkh(key, TEST_NETWORK).address],
    ["bitcoin-testnet-p2tr", (key) => p2tr(x(key), undefined, TEST_NETWORK).address],
    ["none", (key) => Buffer.from(key).toString("hex")],
  ]);

  test.each([...judges])("%s", (format, judge) => {
    fc.assert(
      fc.property(keys, (privateKey) => {
        const publicKey = Uint8Array.from(publicKeyOf("secp256k1", privateKey));
        expect(addressOf(format, publicKey)).toBe(judge(publicKey));
      }),
      { numRuns: 30 },
    );
  });

  test("and every format but Solana's has a judge here", () => {
    expect([...judges.keys(), "solana"].sort()).toEqual([...ADDRESS_FORMATS].sort());
  });

  test("solana: base 58 of the public key", () => {
    const digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (seed) => {
        const publicKey = publicKeyOf("ed25519", seed);
        const value = [...addressOf("solana", publicKey)].reduce(
          (sum, digit) => sum * 58n + BigInt(digits.indexOf(digit)),
          0n,
        );
        expect(value.toString(16).padStart(64, "0")).toBe(Buffer.from(publicKey).toString("hex"));
      }),
      { numRuns: 50 },
    );
  });
});

test.each(ADDRESS_FORMATS.filter((format) => format !== "none"))(
  "the path of %s counts up and stays on its curve",
  async (format) => {
    const [first, second] = [defaultPath(format, 0), defaultPath(format, 1)];
    expect(first).not.toBe(second);
    expect(await addressAt(format, first ?? "")).not.toBe(await addressAt(format, second ?? ""));
  },
);

test("Ethereum's paths are viem's", async () => {
  for (const index of [0, 1, 7]) {
    expect(await addressAt("ethereum", defaultPath("ethereum", index) ?? "")).toBe(
      mnemonicToAccount(ABANDON, { addressIndex: index }).address,
    );
  }
});
