/** SLIP-10: the vectors of the standard itself, all of them for the two curves that BIP-32 does not cover. */
import { createECDH } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { addTweak, isPrivateKey } from "../../../enclave/signing/p256.ts";
import { publicKeyOf } from "../../../enclave/wallets/curves.ts";
import { deriveEd25519, deriveP256 } from "../../../enclave/wallets/slip10.ts";
import { fromHex } from "../../support/wycheproof.ts";

const ONE = "000102030405060708090a0b0c0d0e0f";
const TWO =
  "fffcf9f6f3f0edeae7e4e1dedbd8d5d2cfccc9c6c3c0bdbab7b4b1aeaba8a5a29f9c999693908d8a8784817e7b7875726f6c696663605d5a5754514e4b484542";
const RETRY = "a7305bc8df8d0951f0cb224c0e95d7707cbdf2c6ce7e8d481fec69c7ff5e9446";

type Vector = readonly [seed: string, path: string, privateKey: string, publicKey: string];

const P256: readonly Vector[] = [
  [
    ONE,
    "m",
    "612091aaa12e22dd2abef664f8a01a82cae99ad7441b7ef8110424915c268bc2",
    "0266874dc6ade47b3ecd096745ca09bcd29638dd52c2c12117b11ed3e458cfa9e8",
  ],
  [
    ONE,
    "m/0'",
    "6939694369114c67917a182c59ddb8cafc3004e63ca5d3b84403ba8613debc0c",
    "0384610f5ecffe8fda089363a41f56a5c7ffc1d81b59a612d0d649b2d22355590c",
  ],
  [
    ONE,
    "m/0'/1",
    "284e9d38d07d21e4e281b645089a94f4cf5a5a81369acf151a1c3a57f18b2129",
    "03526c63f8d0b4bbbf9c80df553fe66742df4676b241dabefdef67733e070f6844",
  ],
  [
    ONE,
    "m/0'/1/2'",
    "694596e8a54f252c960eb771a3c41e7e32496d03b954aeb90f61635b8e092aa7",
    "0359cf160040778a4b14c5f4d7b76e327ccc8c4a6086dd9451b7482b5a4972dda0",
  ],
  [
    ONE,
    "m/0'/1/2'/2",
    "5996c37fd3dd2679039b23ed6f70b506c6b56b3cb5e424681fb0fa64caf82aaa",
    "029f871f4cb9e1c97f9f4de9ccd0d4a2f2a171110c61178f84430062230833ff20",
  ],
  [
    ONE,
    "m/0'/1/2'/2/1000000000",
    "21c4f269ef0a5fd1badf47eeacebeeaa3de22eb8e5b0adcd0f27dd99d34d0119",
    "02216cd26d31147f72427a453c443ed2cde8a1e53c9cc44e5ddf739725413fe3f4",
  ],
  [
    TWO,
    "m",
    "eaa31c2e46ca2962227cf21d73a7ef0ce8b31c756897521eb6c7b39796633357",
    "02c9e16154474b3ed5b38218bb0463e008f89ee03e62d22fdcc8014beab25b48fa",
  ],
  [
    TWO,
    "m/0",
    "d7d065f63a62624888500cdb4f88b6d59c2927fee9e6d0cdff9cad555884df6e",
    "039b6df4bece7b6c81e2adfeea4bcf5c8c8a6e40ea7ffa3cf6e8494c61a1fc82cc",
  ],
  [
    TWO,
    "m/0/2147483647'",
    "96d2ec9316746a75e7793684ed01e3d51194d81a42a3276858a5b7376d4b94b9",
    "02f89c5deb1cae4fedc9905f98ae6cbf6cbab120d8cb85d5bd9a91a72f4c068c76",
  ],
  [
    TWO,
    "m/0/2147483647'/1",
    "974f9096ea6873a915910e82b29d7c338542ccde39d2064d1cc228f371542bbc",
    "03abe0ad54c97c1d654c1852dfdc32d6d3e487e75fa16f0fd6304b9ceae4220c64",
  ],
  [
    TWO,
    "m/0/2147483647'/1/2147483646'",
    "da29649bbfaff095cd43819eda9a7be74236539a29094cd8336b07ed8d4eff63",
    "03cb8cb067d248691808cd6b5a5a06b48e34ebac4d965cba33e6dc46fe13d9b933",
  ],
  [
    TWO,
    "m/0/2147483647'/1/2147483646'/2",
    "bb0a77ba01cc31d77205d51d08bd313b979a71ef4de9b062f8958297e746bd67",
    "020ee02e18967237cf62672983b253ee62fa4dd431f8243bfeccdf39dbe181387f",
  ],
  [
    ONE,
    "m/28578'",
    "06f0db126f023755d0b8d86d4591718a5210dd8d024e3e14b6159d63f53aa669",
    "02519b5554a4872e8c9c1c847115363051ec43e93400e030ba3c36b52a3e70a5b7",
  ],
  [
    ONE,
    "m/28578'/33941",
    "092154eed4af83e078ff9b84322015aefe5769e31270f62c3f66c33888335f3a",
    "0235bfee614c0d5b2cae260000bb1d0d84b270099ad790022c1ae0b2e782efe120",
  ],
  [
    RETRY,
    "m",
    "3b8c18469a4634517d6d0b65448f8e6c62091b45540a1743c5846be55d47d88f",
    "0383619fadcde31063d8c5cb00dbfe1713f3e6fa169d8541a798752a1c1ca0cb20",
  ],
];

const ED25519: readonly Vector[] = [
  [
    ONE,
    "m",
    "2b4be7f19ee27bbf30c667b642d5f4aa69fd169872f8fc3059c08ebae2eb19e7",
    "00a4b2856bfec510abab89753fac1ac0e1112364e7d250545963f135f2a33188ed",
  ],
  [
    ONE,
    "m/0'",
    "68e0fe46dfb67e368c75379acec591dad19df3cde26e63b93a8e704f1dade7a3",
    "008c8a13df77a28f3445213a0f432fde644acaa215fc72dcdf300d5efaa85d350c",
  ],
  [
    ONE,
    "m/0'/1'",
    "b1d0bad404bf35da785a64ca1ac54b2617211d2777696fbffaf208f746ae84f2",
    "001932a5270f335bed617d5b935c80aedb1a35bd9fc1e31acafd5372c30f5c1187",
  ],
  [
    ONE,
    "m/0'/1'/2'",
    "92a5b23c0b8a99e37d07df3fb9966917f5d06e02ddbd909c7e184371463e9fc9",
    "00ae98736566d30ed0e9d2f4486a64bc95740d89c7db33f52121f8ea8f76ff0fc1",
  ],
  [
    ONE,
    "m/0'/1'/2'/2'",
    "30d1dc7e5fc04c31219ab25a27ae00b50f6fd66622f6e9c913253d6511d1e662",
    "008abae2d66361c879b900d204ad2cc4984fa2aa344dd7ddc46007329ac76c429c",
  ],
  [
    ONE,
    "m/0'/1'/2'/2'/1000000000'",
    "8f94d394a8e8fd6b1bc2f3f49f5c47e385281d5c17e65324b0f62483e37e8793",
    "003c24da049451555d51a7014a37337aa4e12d41e485abccfa46b47dfb2af54b7a",
  ],
  [
    TWO,
    "m",
    "171cb88b1b3c1db25add599712e36245d75bc65a1a5c9e18d76f9f2b1eab4012",
    "008fe9693f8fa62a4305a140b9764c5ee01e455963744fe18204b4fb948249308a",
  ],
  [
    TWO,
    "m/0'",
    "1559eb2bbec5790b0c65d8693e4d0875b1747f4970ae8b650486ed7470845635",
    "0086fab68dcb57aa196c77c5f264f215a112c22a912c10d123b0d03c3c28ef1037",
  ],
  [
    TWO,
    "m/0'/2147483647'",
    "ea4f5bfe8694d8bb74b7b59404632fd5968b774ed545e810de9c32a4fb4192f4",
    "005ba3b9ac6e90e83effcd25ac4e58a1365a9e35a3d3ae5eb07b9e4d90bcf7506d",
  ],
  [
    TWO,
    "m/0'/2147483647'/1'",
    "3757c7577170179c7868353ada796c839135b3d30554bbb74a4b1e4a5a58505c",
    "002e66aa57069c86cc18249aecf5cb5a9cebbfd6fadeab056254763874a9352b45",
  ],
  [
    TWO,
    "m/0'/2147483647'/1'/2147483646'",
    "5837736c89570de861ebc173b1086da4f505d4adb387c6a1b1342d5e4ac9ec72",
    "00e33c0f7d81d843c572275f287498e8d408654fdf0d1e065b84e2e6f157aab09b",
  ],
  [
    TWO,
    "m/0'/2147483647'/1'/2147483646'/2'",
    "551d333177df541ad876a60ea71f00447931c0a9da16f227c11ea080d7391b8d",
    "0047150c75db263559a70d5778bf36abbab30fb061ad69f69ece61a72b0cfa4fc0",
  ],
];

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

test.each(P256)("P-256 of seed %s at %s", (seed, path, privateKey, publicKey) => {
  const key = deriveP256(fromHex(seed), path);
  expect(hex(key)).toBe(privateKey);
  expect(hex(publicKeyOf("p256", key))).toBe(publicKey);
});

test.each(ED25519)("Ed25519 of seed %s at %s", (seed, path, privateKey, publicKey) => {
  const key = deriveEd25519(fromHex(seed), path);
  expect(hex(key)).toBe(privateKey);
  // SLIP-10 writes a zero byte before it.
  expect(`00${hex(publicKeyOf("ed25519", key))}`).toBe(publicKey);
});

test.each(["m/0", "m/0'/1", "m/44'/501'/0'/0"])("Ed25519 refuses the step that is not hardened in %s", (path) => {
  expect(() => deriveEd25519(fromHex(ONE), path)).toThrow(/SLIP-10/);
});

describe("sums of scalars on P-256", () => {
  const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const bytesOf = (value: bigint) => Buffer.from(value.toString(16).padStart(64, "0"), "hex");
  const scalar = fc.oneof(
    fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }),
    fc.bigInt({ min: n - 3n, max: n + 3n }),
    fc.bigInt({ min: 0n, max: 3n }),
  );

  test("are what integers say", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: n - 1n }), scalar, (key, tweak) => {
        const sum = (key + tweak) % n;
        const expected = tweak >= n || sum === 0n ? undefined : hex(bytesOf(sum));
        const made = addTweak(bytesOf(key), bytesOf(tweak));
        expect(made === undefined ? undefined : hex(made)).toBe(expected);
      }),
      { numRuns: 500 },
    );
  });

  test("of a key and what it lacks of n is no key", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: n - 1n }), (key) => {
        expect(addTweak(bytesOf(key), bytesOf(n - key))).toBeUndefined();
      }),
    );
  });

  test("a key is what OpenSSL takes for one", () => {
    fc.assert(
      fc.property(scalar, (value) => {
        const takes = () => createECDH("prime256v1").setPrivateKey(bytesOf(value));
        if (isPrivateKey(bytesOf(value))) expect(takes).not.toThrow();
        else expect(takes).toThrow();
      }),
    );
  });
});
