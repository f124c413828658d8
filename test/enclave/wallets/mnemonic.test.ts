/** BIP-39 against the words of its own test vectors, and against @scure/bip39 for everything else. */
import { entropyToMnemonic, mnemonicToSeed } from "@scure/bip39";
import { wordlist } from "@scure/bip39/wordlists/english.js";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { mnemonicOf, seedOf } from "../../../enclave/wallets/mnemonic.ts";
import { fromHex } from "../../support/wycheproof.ts";

// trezor/python-mnemonic, vectors.json, which BIP-39 names: one sentence of each length, and the extremes.
const VECTORS: readonly (readonly [entropy: string, mnemonic: string])[] = [
  [
    "00000000000000000000000000000000",
    "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
  ],
  ["7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f", "legal winner thank year wave sausage worth useful legal winner thank yellow"],
  [
    "80808080808080808080808080808080",
    "letter advice cage absurd amount doctor acoustic avoid letter advice cage above",
  ],
  ["ffffffffffffffffffffffffffffffff", "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong"],
  [
    "000000000000000000000000000000000000000000000000",
    "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon agent",
  ],
  [
    "ffffffffffffffffffffffffffffffffffffffffffffffff",
    "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo when",
  ],
  [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art",
  ],
  [
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo vote",
  ],
  ["9e885d952ad362caeb4efe34a8e91bd2", "ozone drill grab fiber curtain grace pudding thank cruise elder eight picnic"],
  [
    "f585c11aec520db57dd353c69554b21a89b20fb0650966fa0a9d6f74fd989d8f",
    "void come effort suffer camp survey warrior heavy shoot primary clutch crush open amazing screen patrol group space point ten exist slush involve unfold",
  ],
];

describe("mnemonicOf", () => {
  test.each(VECTORS)("%s", (entropy, mnemonic) => {
    expect(mnemonicOf(fromHex(entropy)).toString("ascii")).toBe(mnemonic);
  });

  test("any entropy of each length, and the seed of its sentence", async () => {
    const entropies = fc
      .constantFrom(16, 20, 24, 28, 32)
      .chain((length) => fc.uint8Array({ minLength: length, maxLength: length }));
    await fc.assert(
      fc.asyncProperty(entropies, async (entropy) => {
        const mnemonic = mnemonicOf(entropy);
        expect(mnemonic.toString("ascii")).toBe(entropyToMnemonic(entropy, wordlist));
        expect(Uint8Array.from(await seedOf(mnemonic))).toEqual(await mnemonicToSeed(mnemonic.toString("ascii")));
      }),
      { numRuns: 60 },
    );
  });

  test.each([0, 4, 12, 15, 17, 18, 19, 31, 33, 36, 64])("refuses entropy of %d bytes", (length) => {
    expect(() => mnemonicOf(new Uint8Array(length))).toThrow(RangeError);
  });
});

test("the seed of a known sentence under the empty passphrase", async () => {
  const seed = await seedOf(mnemonicOf(new Uint8Array(16)));
  expect(seed.toString("hex")).toBe(
    "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc1" +
      "9a5ac40b389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4",
  );
});
