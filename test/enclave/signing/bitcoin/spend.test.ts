/** What a PSBT would do, and the lies that it may tell of it. */
import { describe, expect, test } from "vitest";
import { type ScriptKind, scriptOf } from "../../../../enclave/signing/bitcoin/scripts.ts";
import { signPsbt } from "../../../../enclave/signing/bitcoin/sign-psbt.ts";
import { tapLeafHash, taprootOutput } from "../../../../enclave/signing/bitcoin/taproot.ts";
import { secp256k1 } from "../../../../enclave/wallets/open-wallet.ts";
import {
  allowed,
  derivationOf,
  foreignScript,
  type InputParts,
  inputOf,
  type Known,
  keyAt,
  type OutputParts,
  openHd,
  openSingleKey,
  outputOf,
  payment,
  psbtOf,
  signBytes,
  standardPath,
  understandBytes,
} from "../../../support/bitcoin.ts";

const wallet = openHd();
const HARDENED = 0x8000_0000;
const key = (kind: ScriptKind, index = 0, chain: 0 | 1 = 0) => keyAt(wallet, kind, standardPath(kind, index, chain));
const shop = (amount: bigint): OutputParts => ({ script: foreignScript("shop"), amount });
/** An input that says nothing of its key, as somebody else's does. */
const hidden = (known: Known, amount: bigint, salt: number): InputParts => {
  const { bytes, txid } = payment(known.script, amount, salt);
  return { txid, index: 1, nonWitnessUtxo: bytes };
};
/** An input that says by its own word alone what it spends. */
const unproven = (known: Known, amount: bigint, salt: number, more: object = {}): InputParts => {
  const { txid } = payment(known.script, 1_000_000n, salt);
  return {
    txid,
    index: 1,
    witnessUtxo: { script: known.script, amount },
    ...derivationOf(known),
    ...more,
  } as InputParts;
};

/** BIP-322 spends such an output to sign a message: `bip322.test.ts` has the whole of it. */
test("an own input of no amount is not signed, another's may stand there", () => {
  const paid = inputOf(key("p2wpkh"), 10_000n);
  expect(() => understandBytes(wallet, psbtOf([paid, inputOf(key("p2wpkh", 1), 0n, 1)], [shop(9_000n)]))).toThrow(
    expect.objectContaining({ code: "TRANSACTION_MALFORMED" }),
  );
  const { bytes, txid } = payment(foreignScript("anchor"), 0n, 2);
  const anchor = { txid, index: 1, nonWitnessUtxo: bytes };
  expect(understandBytes(wallet, psbtOf([paid, anchor], [shop(9_000n)])).tasks).toHaveLength(1);
});

describe("the facts", () => {
  test("of a payment with change", () => {
    const change = key("p2wpkh", 7, 1);
    const { facts, accounts } = understandBytes(
      wallet,
      psbtOf(
        [inputOf(key("p2wpkh"), 100_000n), inputOf(key("p2tr"), 50_000n, 1)],
        [shop(120_000n), outputOf(change, 29_000n)],
      ),
    );
    expect(facts).toMatchObject({
      kind: "bitcoin-transaction",
      network: "bitcoin",
      feeSats: 1_000n,
      spentSats: 121_000n,
    });
    expect(facts.sighashTypes).toEqual(["ALL", "DEFAULT"]);
    expect(facts.inputs.map(({ amountSats, isOwn }) => [amountSats, isOwn])).toEqual([
      [100_000n, true],
      [50_000n, true],
    ]);
    expect(facts.outputs.map(({ isChange }) => isChange)).toEqual([false, true]);
    expect(facts.outputs[0]?.address).toMatch(/^bc1q/);
    expect(accounts.map(({ format }) => format)).toEqual(["bitcoin-p2wpkh", "bitcoin-p2tr"]);
    expect(facts.inputs[1]?.address).toBe(accounts[1]?.address);
  });

  test("an output without an address, and one to an account that the wallet keeps", () => {
    using keeping = openHd([{ format: "bitcoin-p2pkh", path: "m/44'/0'/0'/0/0" }]);
    const burnt = { script: Uint8Array.of(0x6a, 1, 0x58), amount: 0n };
    const kept = { script: key("p2pkh").script, amount: 9_000n };
    const { facts } = understandBytes(keeping, psbtOf([inputOf(key("p2pkh"), 10_000n)], [burnt, kept]));
    expect(facts.outputs.map(({ address, isChange }) => [address, isChange])).toEqual([
      [null, false],
      [facts.inputs[0]?.address, true],
    ]);
    expect(facts.spentSats).toBe(1_000n);
  });

  test("a single key spends what was paid to its addresses, without any hint", () => {
    using single = openSingleKey(new Uint8Array(32).fill(5), ["bitcoin-p2wpkh", "bitcoin-p2tr"]);
    const [segwit, taproot] = single.accounts.map(({ publicKey }) => Buffer.from(publicKey, "hex"));
    if (segwit === undefined || taproot === undefined) throw new Error("no account");
    const known = { ...key("p2wpkh"), publicKey: segwit };
    const script = understandBytesScript(single, "p2wpkh");
    const { accounts } = understandBytes(single, psbtOf([hidden({ ...known, script }, 10_000n, 0)], [shop(9_000n)]));
    expect(accounts.map(({ format }) => format)).toEqual(["bitcoin-p2wpkh"]);
  });
});

function understandBytesScript(from: ReturnType<typeof openSingleKey>, kind: "p2wpkh"): Uint8Array {
  return scriptOf(kind, Buffer.from(from.accounts[0]?.publicKey ?? "", "hex"));
}

describe("AMOUNT_UNVERIFIED", () => {
  test.each(["p2pkh", "p2sh-p2wpkh", "p2wpkh"] as const)(
    "an own input of %s without the transaction that it spends",
    (kind) => {
      const bytes = psbtOf([unproven(key(kind), 10_000n, 0)], [shop(9_000n)]);
      expect(() => understandBytes(wallet, bytes)).toThrow(expect.objectContaining({ code: "AMOUNT_UNVERIFIED" }));
    },
  );

  test("the fee attack on version 0 of segwit: two requests, one lie each", () => {
    // The truth is 1,000,000 each. Each request tells it of the input whose signature it is after, and lies of the other:
    // both signatures would be good together, and the fee of 990,000 was shown to nobody.
    const [one, two] = [key("p2wpkh", 0), key("p2wpkh", 1)];
    for (const amounts of [
      [1_000_000n, 11_000n],
      [11_000n, 1_000_000n],
    ] as const) {
      const bytes = psbtOf([unproven(one, amounts[0], 0), unproven(two, amounts[1], 1)], [shop(1_010_000n)]);
      expect(() => understandBytes(wallet, bytes)).toThrow(expect.objectContaining({ code: "AMOUNT_UNVERIFIED" }));
    }
  });

  test("a transaction that is not the one whose output is spent", () => {
    const known = key("p2wpkh");
    const lie = payment(known.script, 999n, 77).bytes;
    // The library refuses this itself when it builds: so the bytes are changed afterwards.
    const honest = psbtOf([inputOf(known, 10_000n)], [shop(9_000n)]);
    const bytes = replace(honest, payment(known.script, 10_000n, 0).bytes, lie);
    expect(() => understandBytes(wallet, bytes)).toThrow(expect.objectContaining({ code: "AMOUNT_UNVERIFIED" }));
  });

  test("an output that the transaction does not have, and a word that contradicts it", () => {
    const known = key("p2wpkh");
    const { bytes, txid } = payment(known.script, 10_000n, 0);
    const input = { txid, nonWitnessUtxo: bytes, index: 1 };
    const one = psbtOf([{ ...input, witnessUtxo: { script: known.script, amount: 10_000n } }], [shop(9_000n)]);
    const amount = Buffer.alloc(8);
    amount.writeBigUInt64LE(10_000n);
    const output = Buffer.concat([amount, Uint8Array.of(known.script.length), known.script]);
    const last = Buffer.from(one).lastIndexOf(output);
    const contradicting = Buffer.from(one);
    contradicting[last] = 0x11;
    expect(() => understandBytes(wallet, contradicting)).toThrow(
      expect.objectContaining({ code: "AMOUNT_UNVERIFIED" }),
    );
    const outpoint = Buffer.concat([Buffer.from(txid).reverse(), Uint8Array.of(1, 0, 0, 0)]);
    const elsewhere = Buffer.from(psbtOf([input], [shop(9_000n)]));
    elsewhere[elsewhere.indexOf(outpoint) + 32] = 5;
    expect(() => understandBytes(wallet, elsewhere)).toThrow(expect.objectContaining({ code: "AMOUNT_UNVERIFIED" }));
  });

  test("nothing said at all", () => {
    const { txid } = payment(key("p2wpkh").script, 10_000n, 0);
    const bytes = psbtOf([{ txid, index: 1, ...derivationOf(key("p2wpkh")) }], [shop(9_000n)]);
    expect(() => understandBytes(wallet, bytes)).toThrow(expect.objectContaining({ code: "AMOUNT_UNVERIFIED" }));
  });

  describe("a word where BIP-341 covers it", () => {
    const foreign: InputParts = {
      txid: new Uint8Array(32).fill(3),
      index: 0,
      witnessUtxo: { script: foreignScript("them"), amount: 70_000n },
    };

    test("is enough where every signature is a taproot's", () => {
      const { facts } = understandBytes(wallet, psbtOf([unproven(key("p2tr"), 10_000n, 0), foreign], [shop(79_000n)]));
      expect(facts.feeSats).toBe(1_000n);
      expect(facts.inputs.map(({ isOwn }) => isOwn)).toEqual([true, false]);
    });

    test("is not, beside a signature that does not cover it", () => {
      const inputs = [unproven(key("p2tr"), 10_000n, 0), inputOf(key("p2wpkh"), 10_000n, 1), foreign];
      expect(() => understandBytes(wallet, psbtOf(inputs, [shop(89_000n)]))).toThrow(
        expect.objectContaining({ code: "AMOUNT_UNVERIFIED" }),
      );
    });

    test("nor under ANYONECANPAY, but for the input itself", () => {
      const own = unproven(key("p2tr"), 10_000n, 0, { sighashType: 0x81 });
      const options = { sighashTypes: ["ALL|ANYONECANPAY"] } as const;
      expect(() => understandBytes(wallet, psbtOf([own, foreign], [shop(79_000n)]), options)).toThrow(
        expect.objectContaining({ code: "AMOUNT_UNVERIFIED" }),
      );
      expect(understandBytes(wallet, psbtOf([own], [shop(9_000n)]), options).facts.feeSats).toBe(1_000n);
    });
  });
});

describe("change", () => {
  const input = inputOf(key("p2wpkh"), 100_000n);
  const isChange = (output: OutputParts) =>
    understandBytes(wallet, psbtOf([input], [output])).facts.outputs.map((one) => one.isChange)[0];

  test.each(["p2pkh", "p2sh-p2wpkh", "p2wpkh", "p2tr"] as const)(
    "of %s, at a path that wallet software knows",
    (kind) => {
      expect(isChange(outputOf(key(kind, 1_000_000, 1), 90_000n))).toBe(true);
      expect(isChange(outputOf(key(kind, 0, 0), 90_000n))).toBe(true);
    },
  );

  test("another's script under our key's derivation is none", () => {
    expect(isChange({ ...outputOf(key("p2wpkh", 0, 1), 90_000n), script: foreignScript("thief") })).toBe(false);
  });

  test("another's key under our fingerprint and path is none", () => {
    using thief = openHd([], 66);
    const theirs = keyAt(thief, "p2wpkh", standardPath("p2wpkh", 0, 1));
    expect(isChange(outputOf({ ...theirs, fingerprint: key("p2wpkh").fingerprint }, 90_000n))).toBe(false);
    expect(isChange(outputOf(theirs, 90_000n))).toBe(false);
  });

  test("our key under another's fingerprint is none", () => {
    expect(isChange(outputOf({ ...key("p2wpkh", 0, 1), fingerprint: 1 }, 90_000n))).toBe(false);
  });

  test("a taproot output that scripts could spend as well is none", () => {
    const known = key("p2tr", 0, 1);
    const tapTree = [{ depth: 0, version: 0xc0, script: Uint8Array.of(0x51) }];
    expect(isChange({ ...outputOf(known, 90_000n), tapTree } as OutputParts)).toBe(false);
    const root = tapLeafHash(Uint8Array.of(0x51));
    const output = taprootOutput(known.publicKey.subarray(1), root)?.xOnly ?? new Uint8Array(0);
    const script = Buffer.concat([Uint8Array.of(0x51, 32), output]);
    expect(isChange({ ...outputOf(known, 90_000n), script } as OutputParts)).toBe(false);
  });

  test.each([
    ["an index that nobody would look at", [84 + HARDENED, HARDENED, HARDENED, 1, 1_000_001]],
    ["an account that nobody would look at", [84 + HARDENED, HARDENED, 101 + HARDENED, 1, 0]],
    ["a third chain", [84 + HARDENED, HARDENED, HARDENED, 2, 0]],
    ["a hardened index", [84 + HARDENED, HARDENED, HARDENED, 1, HARDENED]],
    ["another purpose", [49 + HARDENED, HARDENED, HARDENED, 1, 0]],
    ["another coin", [84 + HARDENED, 1 + HARDENED, HARDENED, 1, 0]],
    ["a deeper path", [84 + HARDENED, HARDENED, HARDENED, 1, 0, 0]],
  ])("held to ransom at %s is none", (_name, path) => {
    expect(isChange(outputOf(keyAt(wallet, "p2wpkh", path), 90_000n))).toBe(false);
  });
});

describe("an own input that the PSBT does not own up to", () => {
  // Both are ours; 990,000 go to the shop. Asked for one at a time, each request counts the change as coming back.
  const inputs = [key("p2wpkh", 0), key("p2wpkh", 1)] as const;
  const outputs = [shop(990_000n), outputOf(key("p2wpkh", 0, 1), 1_000_000n)];
  const hiding = (at: 0 | 1) =>
    psbtOf(
      inputs.map((known, other) =>
        other === at ? hidden(known, 1_000_000n, other) : inputOf(known, 1_000_000n, other),
      ),
      outputs,
    );

  test("does not hide what leaves the wallet", () => {
    const spent = ([0, 1] as const).map((at) => understandBytes(wallet, hiding(at)).facts.spentSats);
    expect(spent.reduce((sum, one) => sum + one, 0n)).toBeGreaterThanOrEqual(1_000_000n);
    expect(
      understandBytes(
        wallet,
        psbtOf(
          inputs.map((known, at) => inputOf(known, 1_000_000n, at)),
          outputs,
        ),
      ).facts.spentSats,
    ).toBe(1_000_000n);
  });

  test("nor does one that others may still add", () => {
    const input = inputOf(inputs[0], 1_000_000n, 0, { sighashType: 0x81 });
    const { facts } = understandBytes(wallet, psbtOf([input], [outputOf(key("p2wpkh", 0, 1), 1_000_000n)]), {
      sighashTypes: ["ALL|ANYONECANPAY"],
    });
    expect(facts.spentSats).toBe(1_000_000n);
  });
});

describe("NOTHING_TO_SIGN", () => {
  test.each([
    ["another wallet's input", () => keyAt(openHd([], 66), "p2wpkh", standardPath("p2wpkh", 0))],
    [
      "another's key under our fingerprint",
      () => ({ ...keyAt(openHd([], 66), "p2tr", standardPath("p2tr", 0)), fingerprint: key("p2tr").fingerprint }),
    ],
    ["our key under another's fingerprint", () => ({ ...key("p2wpkh"), fingerprint: 5 })],
    ["our key at another path", () => ({ ...key("p2wpkh"), path: standardPath("p2wpkh", 1) })],
    ["a path that there cannot be", () => ({ ...key("p2wpkh"), path: Array.from({ length: 11 }, () => 0) })],
    ["no path", () => ({ ...key("p2wpkh"), path: [] })],
  ] as const)("%s", (_name, known) => {
    const bytes = psbtOf([inputOf(known() as Known, 10_000n)], [shop(9_000n)]);
    expect(() => understandBytes(wallet, bytes)).toThrow(expect.objectContaining({ code: "NOTHING_TO_SIGN" }));
  });

  test("what is finished already", () => {
    const bytes = psbtOf(
      [inputOf(key("p2wpkh"), 10_000n, 0, { finalScriptWitness: [Uint8Array.of(1)] })],
      [shop(9_000n)],
    );
    expect(() => understandBytes(wallet, bytes)).toThrow(expect.objectContaining({ code: "NOTHING_TO_SIGN" }));
  });
});

describe("signature hash types", () => {
  const withType = (kind: ScriptKind, sighashType: number, outputs = [shop(9_000n)]) =>
    psbtOf([inputOf(key("p2wpkh", 9), 1_000n, 9), inputOf(key(kind), 10_000n, 0, { sighashType })], outputs);

  test.each([
    [0x02, "NONE"],
    [0x03, "SINGLE"],
    [0x81, "ALL|ANYONECANPAY"],
    [0x82, "NONE|ANYONECANPAY"],
    [0x83, "SINGLE|ANYONECANPAY"],
  ] as const)("SIGHASH_NOT_ALLOWED for %d unless it is asked for as %s", (byte, type) => {
    const bytes = withType("p2wpkh", byte, [shop(4_000n), shop(4_000n)]);
    expect(() => understandBytes(wallet, bytes)).toThrow(expect.objectContaining({ code: "SIGHASH_NOT_ALLOWED" }));
    expect(understandBytes(wallet, bytes, { sighashTypes: [type] }).facts.sighashTypes).toEqual(["ALL", type]);
  });

  test("TRANSACTION_MALFORMED for types that there are not, and for SINGLE without an output", () => {
    const all = { sighashTypes: ["SINGLE", "NONE"] } as const;
    for (const bytes of [
      withType("p2wpkh", 0),
      withType("p2pkh", 0x04),
      withType("p2tr", 0x80),
      withType("p2pkh", 0x03),
    ]) {
      expect(() => understandBytes(wallet, bytes, all)).toThrow(
        expect.objectContaining({ code: "TRANSACTION_MALFORMED" }),
      );
    }
  });
});

describe("TRANSACTION_MALFORMED", () => {
  test("outputs that take more than inputs bring, and sums beyond all there is", () => {
    const negative = psbtOf([inputOf(key("p2wpkh"), 10_000n)], [shop(10_001n)]);
    const rich = 2_000_000_000_000_000n;
    const endless = psbtOf([inputOf(key("p2wpkh"), rich), inputOf(key("p2wpkh"), rich, 1)], [shop(1n)]);
    const much = psbtOf([inputOf(key("p2wpkh"), 2_100_000_000_000_001n)], [shop(1n)]);
    for (const bytes of [negative, endless, much]) {
      expect(() => understandBytes(wallet, bytes)).toThrow(expect.objectContaining({ code: "TRANSACTION_MALFORMED" }));
    }
  });

  test("scripts beside an own input that it is not spent by", () => {
    const script = Uint8Array.of(0x51);
    for (const [kind, more] of [
      ["p2wpkh", { redeemScript: script }],
      ["p2pkh", { redeemScript: script }],
      ["p2sh-p2wpkh", { redeemScript: script }],
      ["p2wpkh", { witnessScript: script }],
    ] as const) {
      const bytes = psbtOf([inputOf(key(kind), 10_000n, 0, more)], [shop(9_000n)]);
      expect(() => understandBytes(wallet, bytes)).toThrow(expect.objectContaining({ code: "TRANSACTION_MALFORMED" }));
    }
  });
});

describe("CHAIN_MISMATCH: a key of the main network under another's name", () => {
  const input = (path: readonly number[]) => psbtOf([inputOf(keyAt(wallet, "p2wpkh", path), 10_000n)], [shop(9_000n)]);

  test("by its path", () => {
    const testnet = { network: "bitcoin-testnet" } as const;
    expect(() => understandBytes(wallet, input(standardPath("p2wpkh", 0)), testnet)).toThrow(
      expect.objectContaining({ code: "CHAIN_MISMATCH" }),
    );
    const { facts } = understandBytes(wallet, input(standardPath("p2wpkh", 0, 0, 1)), testnet);
    expect(facts.network).toBe("bitcoin-testnet");
    expect(facts.inputs[0]?.address).toMatch(/^tb1q/);
  });

  test("by what the wallet keeps", () => {
    const options = { network: "bitcoin-testnet" } as const;
    using both = openSingleKey(new Uint8Array(32).fill(5), ["bitcoin-p2wpkh", "bitcoin-testnet-p2wpkh"]);
    using testnet = openSingleKey(new Uint8Array(32).fill(5), ["bitcoin-testnet-p2wpkh"]);
    const script = understandBytesScript(both, "p2wpkh");
    const bytes = psbtOf([hidden({ ...key("p2wpkh"), script }, 10_000n, 0)], [shop(9_000n)]);
    expect(() => understandBytes(both, bytes, options)).toThrow(expect.objectContaining({ code: "CHAIN_MISMATCH" }));
    expect(understandBytes(testnet, bytes, options).accounts).toHaveLength(1);
    // A path of the main network does not become another's by being kept as such.
    using renamed = openHd([{ format: "bitcoin-testnet-p2wpkh", path: "m/84'/0'/0'/0/0" }]);
    expect(() => understandBytes(renamed, input(standardPath("p2wpkh", 0)), options)).toThrow(
      expect.objectContaining({ code: "CHAIN_MISMATCH" }),
    );
  });
});

test("no key signs that was not authorised", () => {
  const bytes = psbtOf([inputOf(key("p2wpkh"), 10_000n)], [shop(9_000n)]);
  const spend = understandBytes(wallet, bytes);
  const others = { ...spend, accounts: [] };
  expect(() =>
    signPsbt(spend, (account, work) =>
      wallet.sign(allowed(wallet, others), account, (signer) => work(secp256k1(signer))),
    ),
  ).toThrow("another key was authorised");
  expect(signBytes(wallet, bytes).final).not.toBeNull();
});

function replace(bytes: Uint8Array, one: Uint8Array, other: Uint8Array): Uint8Array {
  const at = Buffer.from(bytes).indexOf(one);
  if (at < 0 || one.length !== other.length) throw new Error("nothing to replace");
  return Buffer.concat([bytes.subarray(0, at), other, bytes.subarray(at + one.length)]);
}
