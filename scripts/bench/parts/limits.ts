/** What single operations cost, by whoever does them: below that no request can be. */
import { spawnSync } from "node:child_process";
import { createHash, generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto";
import { ed25519 } from "@noble/curves/ed25519.js";
import { p256 } from "@noble/curves/nist.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { SigningKey } from "ethers";
import { privateKeyToAccount } from "viem/accounts";
import { publicKeyOf, signRecoverable, verifyDer } from "../../../enclave/signing/secp256k1.ts";
import type { Section } from "../figures.ts";
import type { PartContext } from "../part.ts";
import { type Contestant, inTurns, rateOf, repeating } from "../rounds.ts";

const KEY = new Uint8Array(32).fill(0x46);
const MESSAGE = Buffer.alloc(400, 7);
const DIGEST = createHash("sha256").update(MESSAGE).digest();
const LIBRARIES = ["OpenSSL", "node:crypto", "libsecp256k1", "@noble/curves", "ethers", "viem"] as const;
type Library = (typeof LIBRARIES)[number];

/** One operation, by those libraries that have it. */
interface Operation {
  readonly name: string;
  /** Which figure of `openssl speed`: whose algorithm, and whether it is the signature's or the verification's. */
  readonly openssl: readonly [algorithm: string, at: number] | null;
  readonly by: Partial<Record<Exclude<Library, "OpenSSL">, () => unknown>>;
}

export async function limits({ isQuick }: PartContext): Promise<readonly Section[]> {
  const [rounds, forMs] = isQuick ? [1, 100] : [3, 200];
  const openssl = opensslSpeeds(rounds);
  const rows: Section["rows"] = [];
  for (const operation of operations()) {
    const contestants: Record<string, Contestant> = {};
    for (const [library, work] of Object.entries(operation.by)) contestants[library] = repeating(work, forMs);
    const rates = await inTurns(contestants, rounds);
    const spoken = operation.openssl === null ? undefined : openssl.get(operation.openssl.join());
    const cells = LIBRARIES.map((library) =>
      library === "OpenSSL" ? (spoken === undefined ? null : rateOf(spoken).best) : (rates[library]?.best ?? null),
    );
    rows.push({ name: operation.name, cells });
  }
  return [
    {
      name: "limits",
      title: "Single operations",
      method:
        `Operations a second of CPU time, keys at hand; the best of ${rounds} rounds of ${forMs} ms in turns after one of warm-up. ` +
        "OpenSSL is the machine's own `openssl speed` in its own process, which has no curve secp256k1; node:crypto is the " +
        "OpenSSL inside Node; libsecp256k1 is called through the enclave's binding. Stamps are over 400 bytes, hashed each time; " +
        "what is signed by secp256k1 is a digest.",
      columns: LIBRARIES.map((label) => ({ label, digits: 0 })),
      rows,
    },
  ];
}

function operations(): readonly Operation[] {
  const stamp = (pair: { privateKey: KeyObject; publicKey: KeyObject }, hash: string | null) => {
    const signature = sign(hash, MESSAGE, pair.privateKey);
    return {
      sign: () => sign(hash, MESSAGE, pair.privateKey),
      verify: () => expectTrue(verify(hash, MESSAGE, pair.publicKey, signature)),
    };
  };
  const byP256 = stamp(generateKeyPairSync("ec", { namedCurve: "P-256" }), "sha256");
  const byK256 = stamp(generateKeyPairSync("ec", { namedCurve: "secp256k1" }), "sha256");
  const byEd25519 = stamp(generateKeyPairSync("ed25519"), null);
  const [ethers, viem] = [new SigningKey(KEY), privateKeyToAccount(`0x${Buffer.from(KEY).toString("hex")}`)];
  const hash = `0x${DIGEST.toString("hex")}` as const;
  const raw = { prehash: false } as const;
  const p256Signed = p256.sign(DIGEST, KEY, raw);
  const k256Signed = secp256k1.sign(DIGEST, KEY, raw);
  const k256Der = secp256k1.Signature.fromBytes(k256Signed).toBytes("der");
  const edSigned = ed25519.sign(MESSAGE, KEY);
  const [p256Key, k256Key, edKey] = [p256.getPublicKey(KEY), publicKeyOf(KEY, true), ed25519.getPublicKey(KEY)];
  return [
    {
      ...{ name: "secp256k1: sign", openssl: null },
      by: {
        "node:crypto": byK256.sign,
        libsecp256k1: () => signRecoverable(DIGEST, KEY),
        "@noble/curves": () => secp256k1.sign(DIGEST, KEY, raw),
        ethers: () => ethers.sign(DIGEST),
        viem: () => viem.sign({ hash }),
      },
    },
    {
      ...{ name: "secp256k1: verify", openssl: null },
      by: {
        "node:crypto": byK256.verify,
        libsecp256k1: () => expectTrue(verifyDer(DIGEST, k256Der, k256Key)),
        "@noble/curves": () => expectTrue(secp256k1.verify(k256Signed, DIGEST, k256Key, raw)),
      },
    },
    {
      ...{ name: "P-256: sign", openssl: ["ecdsap256", 0] },
      by: { "node:crypto": byP256.sign, "@noble/curves": () => p256.sign(DIGEST, KEY, raw) },
    },
    {
      ...{ name: "P-256: verify", openssl: ["ecdsap256", 1] },
      by: {
        "node:crypto": byP256.verify,
        "@noble/curves": () => expectTrue(p256.verify(p256Signed, DIGEST, p256Key, { ...raw, lowS: false })),
      },
    },
    {
      ...{ name: "Ed25519: sign", openssl: ["ed25519", 0] },
      by: { "node:crypto": byEd25519.sign, "@noble/curves": () => ed25519.sign(MESSAGE, KEY) },
    },
    {
      ...{ name: "Ed25519: verify", openssl: ["ed25519", 1] },
      by: {
        "node:crypto": byEd25519.verify,
        "@noble/curves": () => expectTrue(ed25519.verify(edSigned, MESSAGE, edKey)),
      },
    },
  ];
}

/** By algorithm and place, round by round; empty where there is no `openssl`. */
function opensslSpeeds(rounds: number): ReadonlyMap<string, number[]> {
  const speeds = new Map<string, number[]>();
  for (let round = 0; round < rounds; round += 1) {
    for (const algorithm of ["ecdsap256", "ed25519"]) {
      const { stdout } = spawnSync("openssl", ["speed", "-seconds", "1", "-mr", algorithm], {
        encoding: "utf8",
      });
      // +F4 (ECDSA) and +F6 (EdDSA): index, bits, name for some, and a second: signed, verified.
      const found = /^\+F[46]:.*:([0-9.]+):([0-9.]+)$/m.exec(stdout ?? "");
      for (const [at, text] of (found ?? []).slice(1).entries()) {
        const key = `${algorithm},${at}`;
        speeds.set(key, [...(speeds.get(key) ?? []), Number(text)]);
      }
    }
  }
  return speeds;
}

function expectTrue(isGood: boolean): void {
  if (!isGood) throw new Error("what was measured refuses its own signature");
}
