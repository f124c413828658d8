/** Shamir's sharing against the definition and the library alone, and the checks that the library does not make. */
import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { combine, split } from "shamir-secret-sharing";
import { describe, expect, test } from "vitest";
import {
  combineShares,
  decodeShare,
  encodeBase64url,
  encodeHex,
  encodeShare,
  generateShareKey,
  makeShares,
  openSealedShare,
  openShares,
  type ProtocolErrorCode,
  type SecretKind,
  type Share,
  sealShare,
  shareDigest,
  sharePublicKeyOf,
  splitSecret,
} from "../../../protocol/index.ts";

const random = (length: number) => Uint8Array.from(randomBytes(length));
const WALLET = `wal_${"0123456789abcdef".repeat(2)}`;
const OTHER = `wal_${"f".repeat(32)}`;
const KEY: SecretKind = { kind: "single-key", curve: "secp256k1" };

/** FIPS 197, 4.2: the slow way, by the book. */
function times(a: number, b: number): number {
  let product = 0;
  for (let power = a, rest = b; rest > 0; rest >>= 1) {
    if ((rest & 1) === 1) product ^= power;
    power = power & 0x80 ? ((power << 1) ^ 0x11b) & 0xff : power << 1;
  }
  return product;
}

const pairs = <Value>([a, b, c]: readonly [Value, Value, Value]) =>
  [
    [a, b],
    [b, a],
    [a, c],
    [b, c],
  ] as const;
const secrets = fc.uint8Array({ minLength: 1, maxLength: 96 });

describe("a secret in three", () => {
  test("comes back from any two, by us and by the library alone", async () => {
    await fc.assert(
      fc.asyncProperty(secrets, async (secret) => {
        for (const [one, other] of pairs(await splitSecret(secret, random))) {
          expect(await combineShares(one, other, random)).toEqual(Uint8Array.from(secret));
          expect(await combine([one, other])).toEqual(Uint8Array.from(secret));
        }
      }),
      { numRuns: 40 },
    );
  });

  test("comes back from what the library alone has split", async () => {
    await fc.assert(
      fc.asyncProperty(secrets, async (secret) => {
        const [one, two, three] = await split(Uint8Array.from(secret), 3, 2);
        if (one === undefined || two === undefined || three === undefined) throw new Error("three shares");
        for (const [a, b] of pairs([one, two, three])) {
          expect(await combineShares(a, b, random)).toEqual(Uint8Array.from(secret));
        }
      }),
      { numRuns: 40 },
    );
  });

  test("lies on one line, whose slope is not the same twice", async () => {
    const secret = random(32);
    const slopes = new Set<string>();
    for (let run = 0; run < 20; run += 1) {
      const points = await splitSecret(secret, random);
      const [x1, x2, x3] = points.map((point) => point.at(-1) ?? 0);
      expect(new Set([0, x1, x2, x3]).size).toBe(4);
      const slope = secret.map((byte, at) => {
        const y = (points[0][at] ?? 0) ^ byte;
        return Array.from({ length: 256 }, (_, guess) => guess).find((guess) => times(guess, x1 ?? 0) === y) ?? 0;
      });
      for (const point of points) {
        const x = point.at(-1) ?? 0;
        expect([...point.subarray(0, -1)]).toEqual([...secret].map((byte, at) => byte ^ times(slope[at] ?? 0, x)));
      }
      slopes.add(encodeHex(slope));
    }
    expect(slopes.size).toBe(20);
  });

  test("does not depend on the library's randomness alone, nor on ours alone", async () => {
    const secret = random(32);
    const zeros = (length: number) => new Uint8Array(length);
    const [first] = await splitSecret(secret, zeros);
    const [again] = await splitSecret(secret, zeros);
    expect(first).not.toEqual(again);
    expect(first.subarray(0, -1)).not.toEqual(secret);
  });

  test("is never shown to the library: with the secret all zeros it sees the mask", async () => {
    // What the library gets to split is the secret and the mask's constant: with ones for a mask, ones.
    const ones = (length: number) => new Uint8Array(length).fill(1);
    const points = await splitSecret(new Uint8Array(32), ones);
    expect(await combineShares(points[0], points[1], random)).toEqual(new Uint8Array(32));
  });

  test("takes no point twice, and no two of different lengths", async () => {
    const [one, two] = await splitSecret(random(32), random);
    await expect(combineShares(one, one, random)).rejects.toThrow();
    await expect(combineShares(one, two.subarray(1), random)).rejects.toThrow();
  });
});

async function sharesOf(walletId = WALLET, secret = random(32)) {
  const { device, operator, recovery } = await makeShares(secret, { walletId, secret: KEY }, random);
  return { secret, device: decodeShare(device), operator: decodeShare(operator), recovery: decodeShare(recovery) };
}

const refused = (code: ProtocolErrorCode) => expect.objectContaining({ name: "ProtocolError", code });

describe("shares", () => {
  test("any two of a set open, and are of the very secret", async () => {
    const { secret, device, operator, recovery } = await sharesOf();
    for (const [one, other] of pairs([device, operator, recovery])) {
      expect(await openShares(one, other, random)).toEqual(secret);
    }
  });

  test("of two wallets, of two sets, and of one role do not open", async () => {
    const set = await sharesOf();
    const later = await sharesOf(WALLET, set.secret);
    const foreign = await sharesOf(OTHER, set.secret);
    const open = (one: Share, other: Share) => openShares(one, other, random);
    await expect(open(set.device, foreign.operator)).rejects.toEqual(refused("SHARES_OF_TWO_WALLETS"));
    await expect(open(set.device, later.operator)).rejects.toEqual(refused("SHARES_OF_TWO_SETS"));
    await expect(open(set.device, set.device)).rejects.toEqual(refused("SHARE_TWICE"));
    await expect(open(set.device, { ...set.device, role: "recovery" })).rejects.toEqual(refused("SHARE_TWICE"));
    // Under a false name: the secret that comes of it is not the one that both promise.
    const { setId, commitment } = set.device;
    const disguised = { ...later.operator, setId, commitment };
    await expect(open(set.device, disguised)).rejects.toEqual(refused("SHARES_DO_NOT_FIT"));
    const otherKind = { ...set.operator, secret: { kind: "single-key", curve: "p256" } as const };
    await expect(open(set.device, otherKind)).rejects.toEqual(refused("SHARES_DO_NOT_FIT"));
  });

  test("with any one bit changed do not open", async () => {
    const { device, operator } = await sharesOf();
    const bytes = encodeShare(device);
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const changed = bytes.map((byte, at) => (at === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
      const attempt = (async () => openShares(decodeShare(changed), operator, random))();
      // The role of a share that is not the operator's own changes nothing that two shares could tell by themselves.
      if (bit >> 3 === 1 && changed[1] === 3) await expect(attempt).resolves.toBeDefined();
      else await expect(attempt).rejects.toMatchObject({ name: "ProtocolError" });
      expect(await shareDigest(changed)).not.toEqual(await shareDigest(bytes));
    }
  });

  test("have one encoding, and nothing else decodes", async () => {
    const { device } = await sharesOf();
    const bytes = encodeShare(device);
    expect(encodeShare(decodeShare(bytes))).toEqual(bytes);
    expect(bytes.length).toBe(3 + 16 + 16 + 32 + 33);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (garbage) => {
        try {
          expect(encodeShare(decodeShare(garbage))).toEqual(Uint8Array.from(garbage));
        } catch (error) {
          expect(error).toEqual(refused("MALFORMED_SHARE"));
        }
      }),
    );
    for (const wrong of [bytes.subarray(0, -1), Uint8Array.of(...bytes, 1), new Uint8Array(0)]) {
      expect(() => decodeShare(wrong)).toThrow(refused("MALFORMED_SHARE"));
    }
    // At zero stands the secret itself: no share is there.
    expect(() => decodeShare(bytes.map((byte, at) => (at === bytes.length - 1 ? 0 : byte)))).toThrow(
      refused("MALFORMED_SHARE"),
    );
  });

  test("are laid out as the documents say", () => {
    const share: Share = {
      role: "recovery",
      secret: { kind: "single-key", curve: "ed25519" },
      walletId: WALLET,
      setId: new Uint8Array(16).fill(0xaa),
      commitment: new Uint8Array(32).fill(0xbb),
      point: new Uint8Array(33).fill(0xcc),
    };
    const text = `010303${WALLET.slice(4)}${"aa".repeat(16)}${"bb".repeat(32)}${"cc".repeat(33)}`;
    expect(encodeHex(encodeShare(share))).toBe(text);
  });
});

describe("a sealed share", () => {
  const address = { audience: "test/app", walletId: WALLET, role: "device" } as const;

  test("opens for its key, as what it was sealed as, and in no other way", async () => {
    const pair = await generateShareKey(false);
    const share = random(100);
    const sealed = await sealShare(await sharePublicKeyOf(pair), address, share);
    expect(await openSealedShare(pair, address, sealed)).toEqual(share);
    const other = await generateShareKey(false);
    const notOpened = refused("SHARE_NOT_OPENED");
    await expect(openSealedShare(other, address, sealed)).rejects.toEqual(notOpened);
    for (const change of [{ audience: "test/other" }, { walletId: OTHER }, { role: "recovery" as const }]) {
      await expect(openSealedShare(pair, { ...address, ...change }, sealed)).rejects.toEqual(notOpened);
    }
    for (const text of ["", "AA", `B${sealed.slice(1)}`, `${sealed}AAAA`, "!"]) {
      await expect(openSealedShare(pair, address, text)).rejects.toEqual(notOpened);
    }
  });

  test("is sealed to no key that hides nothing", async () => {
    for (const key of ["00".repeat(32), `01${"00".repeat(31)}`, "00", encodeBase64url(random(8))]) {
      await expect(sealShare(key, address, random(10))).rejects.toEqual(refused("MALFORMED_SHARE_KEY"));
    }
  });
});
