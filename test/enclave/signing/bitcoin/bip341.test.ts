/** BIP-341, wallet-test-vectors.json: digests, tweaks, leaves and signatures of one transaction. */
import { Transaction } from "@scure/btc-signer/transaction.js";
import { describe, expect, test } from "vitest";
import type { Authorised } from "../../../../enclave/policy/authorised.ts";
import { digestOf } from "../../../../enclave/signing/bitcoin/sighash.ts";
import { signatureOf } from "../../../../enclave/signing/bitcoin/sign-psbt.ts";
import { commitsTo, tapLeafHash, taprootOutput, tapTweak } from "../../../../enclave/signing/bitcoin/taproot.ts";
import { secp256k1 } from "../../../../enclave/wallets/open-wallet.ts";
import { openSingleKey } from "../../../support/bitcoin.ts";

const bytes = (hex: string) => Buffer.from(hex, "hex");
const hex = (from: Uint8Array) => Buffer.from(from).toString("hex");

const RAW_UNSIGNED_TX =
  "02000000097de20cbff686da83a54981d2b9bab3586f4ca7e48f57f5b55963115f3b334e9c010000000000000000d7b7cab57b1393ace2d064f4d4a2cb8af6def61273e127517d44759b6dafdd990000000000fffffffff8e1f583384333689228c5d28eac13366be082dc57441760d957275419a418420000000000fffffffff0689180aa63b30cb162a73c6d2a38b7eeda2a83ece74310fda0843ad604853b0100000000feffffffaa5202bdf6d8ccd2ee0f0202afbbb7461d9264a25e5bfd3c5a52ee1239e0ba6c0000000000feffffff956149bdc66faa968eb2be2d2faa29718acbfe3941215893a2a3446d32acd050000000000000000000e664b9773b88c09c32cb70a2a3e4da0ced63b7ba3b22f848531bbb1d5d5f4c94010000000000000000e9aa6b8e6c9de67619e6a3924ae25696bb7b694bb677a632a74ef7eadfd4eabf0000000000ffffffffa778eb6a263dc090464cd125c466b5a99667720b1c110468831d058aa1b82af10100000000ffffffff0200ca9a3b000000001976a91406afd46bcdfd22ef94ac122aa11f241244a37ecc88ac807840cb0000000020ac9a87f5594be208f8532db38cff670c450ed2fea8fcdefcc9a663f78bab962b0065cd1d";

const SPENT = [
  ["512053a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343", 420000000n],
  ["5120147c9c57132f6e7ecddba9800bb0c4449251c92a1e60371ee77557b6620f3ea3", 462000000n],
  ["76a914751e76e8199196d454941c45d1b3a323f1433bd688ac", 294000000n],
  ["5120e4d810fd50586274face62b8a807eb9719cef49c04177cc6b76a9a4251d5450e", 504000000n],
  ["512091b64d5324723a985170e4dc5a0f84c041804f2cd12660fa5dec09fc21783605", 630000000n],
  ["00147dd65592d0ab2fe0d0257d571abf032cd9db93dc", 378000000n],
  ["512075169f4001aa68f15bbed28b218df1d0a62cbbcf1188c6665110c293c907b831", 672000000n],
  ["5120712447206d7a5238acc7ff53fbe94a3b64539ad291c7cdbc490b7577e4b17df5", 546000000n],
  ["512077e30a5522dd9f894c3f8b8bd4c4b2cf82ca7da8a3ea6a239655c39c050ab220", 588000000n],
] as const;

/** Input, private key, root, type, digest, witness. */
const KEY_PATH = [
  [
    0,
    "6b973d88838f27366ed61c9ad6367663045cb456e28335c109e30717ae0c6baa",
    null,
    3,
    "2514a6272f85cfa0f45eb907fcb0d121b808ed37c6ea160a5a9046ed5526d555",
    "ed7c1647cb97379e76892be0cacff57ec4a7102aa24296ca39af7541246d8ff14d38958d4cc1e2e478e4d4a764bbfd835b16d4e314b72937b29833060b87276c03",
  ],
  [
    1,
    "1e4da49f6aaf4e5cd175fe08a32bb5cb4863d963921255f33d3bc31e1343907f",
    "5b75adecf53548f3ec6ad7d78383bf84cc57b55a3127c72b9a2481752dd88b21",
    131,
    "325a644af47e8a5a2591cda0ab0723978537318f10e6a63d4eed783b96a71a4d",
    "052aedffc554b41f52b521071793a6b88d6dbca9dba94cf34c83696de0c1ec35ca9c5ed4ab28059bd606a4f3a657eec0bb96661d42921b5f50a95ad33675b54f83",
  ],
  [
    3,
    "d3c7af07da2d54f7a7735d3d0fc4f0a73164db638b2f2f7c43f711f6d4aa7e64",
    "c525714a7f49c28aedbbba78c005931a81c234b2f6c99a73e4d06082adc8bf2b",
    1,
    "bf013ea93474aa67815b1b6cc441d23b64fa310911d991e713cd34c7f5d46669",
    "ff45f742a876139946a149ab4d9185574b98dc919d2eb6754f8abaa59d18b025637a3aa043b91817739554f4ed2026cf8022dbd83e351ce1fabc272841d2510a01",
  ],
  [
    4,
    "f36bb07a11e469ce941d16b63b11b9b9120a84d9d87cff2c84a8d4affb438f4e",
    "ccbd66c6f7e8fdab47b3a486f59d28262be857f30d4773f2d5ea47f7761ce0e2",
    0,
    "4f900a0bae3f1446fd48490c2958b5a023228f01661cda3496a11da502a7f7ef",
    "b4010dd48a617db09926f729e79c33ae0b4e94b79f04a1ae93ede6315eb3669de185a17d2b0ac9ee09fd4c64b678a0b61a0a86fa888a273c8511be83bfd6810f",
  ],
  [
    6,
    "415cfe9c15d9cea27d8104d5517c06e9de48e2f986b695e4f5ffebf230e725d8",
    "2f6b2c5397b6d68ca18e09a3f05161668ffe93a988582d55c6f07bd5b3329def",
    2,
    "15f25c298eb5cdc7eb1d638dd2d45c97c4c59dcaec6679cfc16ad84f30876b85",
    "a3785919a2ce3c4ce26f298c3d51619bc474ae24014bcdd31328cd8cfbab2eff3395fa0a16fe5f486d12f22a9cedded5ae74feb4bbe5351346508c5405bcfee002",
  ],
  [
    7,
    "c7b0e81f0a9a0b0499e112279d718cca98e79a12e2f137c72ae5b213aad0d103",
    "6c2dc106ab816b73f9d07e3cd1ef2c8c1256f519748e0813e4edd2405d277bef",
    130,
    "cd292de50313804dabe4685e83f923d2969577191a3e1d2882220dca88cbeb10",
    "ea0c6ba90763c2d3a296ad82ba45881abb4f426b3f87af162dd24d5109edc1cdd11915095ba47c3a9963dc1e6c432939872bc49212fe34c632cd3ab9fed429c482",
  ],
  [
    8,
    "77863416be0d0665e517e1c375fd6f75839544eca553675ef7fdf4949518ebaa",
    "ab179431c28d3b68fb798957faf5497d69c883c6fb1e1cd9f81483d87bac90cc",
    129,
    "cccb739eca6c13a8a89e6e5cd317ffe55669bbda23f2fd37b0f18755e008edd2",
    "bbc9584a11074e83bc8c6759ec55401f0ae7b03ef290c3139814f545b58a9f8127258000874f44bc46db7646322107d4d86aec8e73b8719a61fff761d75b5dd981",
  ],
] as const;

/** Internal key, root, tweak, output key; then each leaf of version 0xc0: script, hash, control block. */
const TREES = [
  [
    "d6889cb081036e0faefa3a35157ad71086b123b2b144b649798b494c300a961d",
    null,
    "b86e7be8f39bab32a6f2c0443abbc210f0edac0e2c53d501b36b64437d9c6c70",
    "53a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343",
    [],
  ],
  [
    "187791b6f712a8ea41c8ecdd0ee77fab3e85263b37e1ec18a3651926b3a6cf27",
    "5b75adecf53548f3ec6ad7d78383bf84cc57b55a3127c72b9a2481752dd88b21",
    "cbd8679ba636c1110ea247542cfbd964131a6be84f873f7f3b62a777528ed001",
    "147c9c57132f6e7ecddba9800bb0c4449251c92a1e60371ee77557b6620f3ea3",
    [
      [
        "20d85a959b0290bf19bb89ed43c916be835475d013da4b362117393e25a48229b8ac",
        "5b75adecf53548f3ec6ad7d78383bf84cc57b55a3127c72b9a2481752dd88b21",
        "c1187791b6f712a8ea41c8ecdd0ee77fab3e85263b37e1ec18a3651926b3a6cf27",
      ],
    ],
  ],
  [
    "ee4fe085983462a184015d1f782d6a5f8b9c2b60130aff050ce221ecf3786592",
    "6c2dc106ab816b73f9d07e3cd1ef2c8c1256f519748e0813e4edd2405d277bef",
    "9e0517edc8259bb3359255400b23ca9507f2a91cd1e4250ba068b4eafceba4a9",
    "712447206d7a5238acc7ff53fbe94a3b64539ad291c7cdbc490b7577e4b17df5",
    [
      [
        "20387671353e273264c495656e27e39ba899ea8fee3bb69fb2a680e22093447d48ac",
        "8ad69ec7cf41c2a4001fd1f738bf1e505ce2277acdcaa63fe4765192497f47a7",
        "c0ee4fe085983462a184015d1f782d6a5f8b9c2b60130aff050ce221ecf3786592f224a923cd0021ab202ab139cc56802ddb92dcfc172b9212261a539df79a112a",
      ],
    ],
  ],
  [
    "55adf4e8967fbd2e29f20ac896e60c3b0f1d5b0efa9d34941b5958c7b0a0312d",
    "2f6b2c5397b6d68ca18e09a3f05161668ffe93a988582d55c6f07bd5b3329def",
    "6579138e7976dc13b6a92f7bfd5a2fc7684f5ea42419d43368301470f3b74ed9",
    "75169f4001aa68f15bbed28b218df1d0a62cbbcf1188c6665110c293c907b831",
    [
      [
        "2071981521ad9fc9036687364118fb6ccd2035b96a423c59c5430e98310a11abe2ac",
        "f154e8e8e17c31d3462d7132589ed29353c6fafdb884c5a6e04ea938834f0d9d",
        "c155adf4e8967fbd2e29f20ac896e60c3b0f1d5b0efa9d34941b5958c7b0a0312d3cd369a528b326bc9d2133cbd2ac21451acb31681a410434672c8e34fe757e91",
      ],
      [
        "20d5094d2dbe9b76e2c245a2b89b6006888952e2faa6a149ae318d69e520617748ac",
        "737ed1fe30bc42b8022d717b44f0d93516617af64a64753b7a06bf16b26cd711",
        "c155adf4e8967fbd2e29f20ac896e60c3b0f1d5b0efa9d34941b5958c7b0a0312dd7485025fceb78b9ed667db36ed8b8dc7b1f0b307ac167fa516fe4352b9f4ef7f154e8e8e17c31d3462d7132589ed29353c6fafdb884c5a6e04ea938834f0d9d",
      ],
      [
        "20c440b462ad48c7a77f94cd4532d8f2119dcebbd7c9764557e62726419b08ad4cac",
        "d7485025fceb78b9ed667db36ed8b8dc7b1f0b307ac167fa516fe4352b9f4ef7",
        "c155adf4e8967fbd2e29f20ac896e60c3b0f1d5b0efa9d34941b5958c7b0a0312d737ed1fe30bc42b8022d717b44f0d93516617af64a64753b7a06bf16b26cd711f154e8e8e17c31d3462d7132589ed29353c6fafdb884c5a6e04ea938834f0d9d",
      ],
    ],
  ],
] as const;

describe("keyPathSpending", () => {
  const unsigned = Transaction.fromRaw(bytes(RAW_UNSIGNED_TX), { allowUnknownOutputs: true, disableScriptCheck: true });
  const previous = SPENT.map(([script, amountSats]) => ({ script: bytes(script), amountSats, isProven: true }));

  test.each(KEY_PATH)("input %d", (at, privateKey, root, byte, digest, witness) => {
    using wallet = openSingleKey(bytes(privateKey), ["bitcoin-p2tr"]);
    const [account] = wallet.accounts;
    if (account === undefined) throw new Error("no account");
    const internalKey = bytes(account.publicKey).subarray(1);
    const tweak = tapTweak(internalKey, root === null ? null : bytes(root));
    const slot = { kind: "p2tr-key", account, tweak } as const;
    const sighash = { byte, type: "DEFAULT" } as const;
    const message = digestOf({ unsigned }, previous, at, slot, sighash);
    expect(hex(message)).toBe(digest);
    const authorised = {
      walletId: wallet.walletId,
      publicKeys: [account.publicKey],
      facts: { kind: "bitcoin-transaction" },
    };
    const signed = wallet.sign(authorised as unknown as Authorised, account, (signer) =>
      signatureOf(secp256k1(signer), message, slot, sighash),
    );
    expect(hex(signed)).toBe(witness);
  });
});

test.each(TREES)("scriptPubKey of %s", (internal, root, tweak, outputKey, leaves) => {
  const merkleRoot = root === null ? null : bytes(root);
  expect(hex(tapTweak(bytes(internal), merkleRoot))).toBe(tweak);
  expect(hex(taprootOutput(bytes(internal), merkleRoot)?.xOnly ?? bytes(""))).toBe(outputKey);
  for (const [script, leafHash, controlBlock] of leaves) {
    expect(hex(tapLeafHash(bytes(script)))).toBe(leafHash);
    const block = bytes(controlBlock);
    const path = Array.from({ length: (block.length - 33) / 32 }, (_, at) =>
      block.subarray(33 + 32 * at, 65 + 32 * at),
    );
    const parsed = { version: block[0] ?? 0, internalKey: block.subarray(1, 33), merklePath: path };
    expect(commitsTo(bytes(outputKey), parsed, bytes(leafHash))).toBe(true);
    expect(commitsTo(bytes(outputKey), { ...parsed, version: parsed.version ^ 1 }, bytes(leafHash))).toBe(false);
    expect(commitsTo(bytes(outputKey), parsed, bytes(leafHash).fill(0, 0, 1))).toBe(false);
  }
});
