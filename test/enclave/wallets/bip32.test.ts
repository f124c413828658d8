/** BIP-32: the vectors of the standard itself, as it writes them, and viem's derivation for any other path. */
import { createHash } from "node:crypto";
import fc from "fast-check";
import { HDKey } from "viem/accounts";
import { describe, expect, test } from "vitest";
import { ethereumAddress } from "../../../enclave/signing/ethereum-address.ts";
import { publicKeyOf } from "../../../enclave/signing/secp256k1.ts";
import { derivePrivateKey } from "../../../enclave/wallets/bip32.ts";
import { seedOf } from "../../../enclave/wallets/mnemonic.ts";
import { fromHex } from "../../support/wycheproof.ts";

// BIP-32, "Test Vectors" 1 to 4; 3 and 4 are there for keys with leading zeros.
const SEEDS: Readonly<Record<string, string>> = {
  one: "000102030405060708090a0b0c0d0e0f",
  two: "fffcf9f6f3f0edeae7e4e1dedbd8d5d2cfccc9c6c3c0bdbab7b4b1aeaba8a5a29f9c999693908d8a8784817e7b7875726f6c696663605d5a5754514e4b484542",
  three:
    "4b381541583be4423346c643850da4b320e46a87ae3d2a4e6da11eba819cd4acba45d239319ac14f863b8d5ab5a0d0c64d2e8a1e7d1457df2e5a3c51c73235be",
  four: "3ddd5602285899a946114506157c7997e5444528f3003f6134712147db19b678",
};

const VECTORS: readonly (readonly [seed: string, path: string, xprv: string])[] = [
  [
    "one",
    "m",
    "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi",
  ],
  [
    "one",
    "m/0'",
    "xprv9uHRZZhk6KAJC1avXpDAp4MDc3sQKNxDiPvvkX8Br5ngLNv1TxvUxt4cV1rGL5hj6KCesnDYUhd7oWgT11eZG7XnxHrnYeSvkzY7d2bhkJ7",
  ],
  [
    "one",
    "m/0'/1",
    "xprv9wTYmMFdV23N2TdNG573QoEsfRrWKQgWeibmLntzniatZvR9BmLnvSxqu53Kw1UmYPxLgboyZQaXwTCg8MSY3H2EU4pWcQDnRnrVA1xe8fs",
  ],
  [
    "one",
    "m/0'/1/2'",
    "xprv9z4pot5VBttmtdRTWfWQmoH1taj2axGVzFqSb8C9xaxKymcFzXBDptWmT7FwuEzG3ryjH4ktypQSAewRiNMjANTtpgP4mLTj34bhnZX7UiM",
  ],
  [
    "one",
    "m/0'/1/2'/2",
    "xprvA2JDeKCSNNZky6uBCviVfJSKyQ1mDYahRjijr5idH2WwLsEd4Hsb2Tyh8RfQMuPh7f7RtyzTtdrbdqqsunu5Mm3wDvUAKRHSC34sJ7in334",
  ],
  [
    "one",
    "m/0'/1/2'/2/1000000000",
    "xprvA41z7zogVVwxVSgdKUHDy1SKmdb533PjDz7J6N6mV6uS3ze1ai8FHa8kmHScGpWmj4WggLyQjgPie1rFSruoUihUZREPSL39UNdE3BBDu76",
  ],
  [
    "two",
    "m",
    "xprv9s21ZrQH143K31xYSDQpPDxsXRTUcvj2iNHm5NUtrGiGG5e2DtALGdso3pGz6ssrdK4PFmM8NSpSBHNqPqm55Qn3LqFtT2emdEXVYsCzC2U",
  ],
  [
    "two",
    "m/0",
    "xprv9vHkqa6EV4sPZHYqZznhT2NPtPCjKuDKGY38FBWLvgaDx45zo9WQRUT3dKYnjwih2yJD9mkrocEZXo1ex8G81dwSM1fwqWpWkeS3v86pgKt",
  ],
  [
    "two",
    "m/0/2147483647'",
    "xprv9wSp6B7kry3Vj9m1zSnLvN3xH8RdsPP1Mh7fAaR7aRLcQMKTR2vidYEeEg2mUCTAwCd6vnxVrcjfy2kRgVsFawNzmjuHc2YmYRmagcEPdU9",
  ],
  [
    "two",
    "m/0/2147483647'/1",
    "xprv9zFnWC6h2cLgpmSA46vutJzBcfJ8yaJGg8cX1e5StJh45BBciYTRXSd25UEPVuesF9yog62tGAQtHjXajPPdbRCHuWS6T8XA2ECKADdw4Ef",
  ],
  [
    "two",
    "m/0/2147483647'/1/2147483646'",
    "xprvA1RpRA33e1JQ7ifknakTFpgNXPmW2YvmhqLQYMmrj4xJXXWYpDPS3xz7iAxn8L39njGVyuoseXzU6rcxFLJ8HFsTjSyQbLYnMpCqE2VbFWc",
  ],
  [
    "two",
    "m/0/2147483647'/1/2147483646'/2",
    "xprvA2nrNbFZABcdryreWet9Ea4LvTJcGsqrMzxHx98MMrotbir7yrKCEXw7nadnHM8Dq38EGfSh6dqA9QWTyefMLEcBYJUuekgW4BYPJcr9E7j",
  ],
  [
    "three",
    "m",
    "xprv9s21ZrQH143K25QhxbucbDDuQ4naNntJRi4KUfWT7xo4EKsHt2QJDu7KXp1A3u7Bi1j8ph3EGsZ9Xvz9dGuVrtHHs7pXeTzjuxBrCmmhgC6",
  ],
  [
    "three",
    "m/0'",
    "xprv9uPDJpEQgRQfDcW7BkF7eTya6RPxXeJCqCJGHuCJ4GiRVLzkTXBAJMu2qaMWPrS7AANYqdq6vcBcBUdJCVVFceUvJFjaPdGZ2y9WACViL4L",
  ],
  [
    "four",
    "m",
    "xprv9s21ZrQH143K48vGoLGRPxgo2JNkJ3J3fqkirQC2zVdk5Dgd5w14S7fRDyHH4dWNHUgkvsvNDCkvAwcSHNAQwhwgNMgZhLtQC63zxwhQmRv",
  ],
  [
    "four",
    "m/0'",
    "xprv9vB7xEWwNp9kh1wQRfCCQMnZUEG21LpbR9NPCNN1dwhiZkjjeGRnaALmPXCX7SgjFTiCTT6bXes17boXtjq3xLpcDjzEuGLQBM5ohqkao9G",
  ],
  [
    "four",
    "m/0'/1'",
    "xprv9xJocDuwtYCMNAo3Zw76WENQeAS6WGXQ55RCy7tDJ8oALr4FWkuVoHJeHVAcAqiZLE7Je3vZJHxspZdFHfnBEjHqU5hG1Jaj32dVoS6XLT1",
  ],
];

const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/** BIP-32, "Serialization format": version, depth, fingerprint, index, chain code, 0x00 ‖ key, four bytes of checksum. */
function privateKeyIn(xprv: string): string {
  const value = [...xprv].reduce((sum, digit) => sum * 58n + BigInt(BASE58.indexOf(digit)), 0n);
  const bytes = Buffer.from(value.toString(16).padStart(164, "0"), "hex");
  const double = createHash("sha256")
    .update(createHash("sha256").update(bytes.subarray(0, 78)).digest())
    .digest();
  if (!double.subarray(0, 4).equals(bytes.subarray(78))) throw new Error("the vector itself is misspelt");
  return bytes.toString("hex", 46, 78);
}

describe("derivePrivateKey", () => {
  test.each(VECTORS)("BIP-32's vector %s at %s", (seed, path, xprv) => {
    const key = derivePrivateKey(fromHex(SEEDS[seed] ?? ""), path);
    expect(Buffer.from(key).toString("hex")).toBe(privateKeyIn(xprv));
  });

  test("any path, as viem derives it", () => {
    const step = fc.tuple(fc.oneof(fc.nat(50), fc.nat(0x7fff_ffff)), fc.boolean());
    const paths = fc
      .array(step, { maxLength: 6 })
      .map((steps) => ["m", ...steps.map(([index, hardened]) => `${index}${hardened ? "'" : ""}`)].join("/"));
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 64 }), paths, (seed, path) => {
        const expected = HDKey.fromMasterSeed(seed).derive(path).privateKey;
        expect(Uint8Array.from(derivePrivateKey(seed, path))).toEqual(Uint8Array.from(expected ?? []));
      }),
      { numRuns: 100 },
    );
  });

  test("the first account of the sentence that every Ethereum developer knows", async () => {
    const seed = await seedOf(Buffer.from("test test test test test test test test test test test junk"));
    const key = derivePrivateKey(seed, "m/44'/60'/0'/0/0");
    expect(ethereumAddress(publicKeyOf(key, false))).toBe("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
  });

  test.each([
    "",
    "/",
    "M",
    "M/0",
    "n/0",
    "0/1",
    "m/",
    "m//0",
    "m/0/",
    " m/0",
    "m/ 0",
    "m/0 ",
    "m/-1",
    "m/+1",
    "m/01",
    "m/0x10",
    "m/1e3",
    "m/1.5",
    "m/0h",
    "m/0H",
    "m/0''",
    "m/'",
    "m/2147483648",
    "m/2147483648'",
    "m/4294967296",
    "m/99999999999",
    "m/0\n",
    "m/٣",
  ])("refuses the path %j", (path) => {
    expect(() => derivePrivateKey(new Uint8Array(16), path)).toThrow(/BIP-32/);
  });

  test("leaves the seed as it was", () => {
    const seed = fromHex(SEEDS["one"] ?? "");
    derivePrivateKey(seed, "m/0'/1");
    expect(Buffer.from(seed).toString("hex")).toBe(SEEDS["one"]);
  });
});
