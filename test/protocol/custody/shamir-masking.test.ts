/** What the library gets to see, whose tables are looked up by it: never the secret, and never a share. */
import { beforeEach, expect, test, vi } from "vitest";
import { combineShares, splitSecret } from "../../../protocol/index.ts";

const seen: { split: Uint8Array[]; combine: Uint8Array[] } = { split: [], combine: [] };

vi.mock("shamir-secret-sharing", async (original) => {
  const library = await original<typeof import("shamir-secret-sharing")>();
  return {
    split: (secret: Uint8Array, ...rest: [number, number]) => {
      seen.split.push(Uint8Array.from(secret));
      return library.split(secret, ...rest);
    },
    combine: (shares: Uint8Array[]) => {
      seen.combine.push(...shares.map((share) => Uint8Array.from(share)));
      return library.combine(shares);
    },
  };
});

beforeEach(() => {
  seen.split = [];
  seen.combine = [];
});

const SECRET = Uint8Array.from({ length: 32 }, (_, at) => at);

/** First the line's constant, then its slope. */
function maskOf(constant: number, slope: number): (length: number) => Uint8Array {
  let drawn = 0;
  return (length) => {
    drawn += 1;
    return new Uint8Array(length).fill(drawn % 2 === 1 ? constant : slope);
  };
}

test("it splits the secret with the mask's constant added, and nothing else", async () => {
  await splitSecret(SECRET, maskOf(0x5a, 0xc3));
  expect(seen.split).toEqual([SECRET.map((byte) => byte ^ 0x5a)]);
});

test("it combines points moved by a mask of their own, of which neither is a share", async () => {
  const [one, two] = await splitSecret(SECRET, maskOf(0x5a, 0xc3));
  expect(await combineShares(one, two, maskOf(0x11, 0x01))).toEqual(SECRET);
  // With a slope of one the line's value at x is x and the constant.
  const moved = [one, two].map((point) => {
    const x = point.at(-1) ?? 0;
    return Uint8Array.from([...point.subarray(0, -1)].map((byte) => byte ^ 0x11 ^ x).concat(x));
  });
  expect(seen.combine).toEqual(moved);
});

test("a mask of nothing would show it everything: the mask is what hides it", async () => {
  const none = (length: number) => new Uint8Array(length);
  await splitSecret(SECRET, none);
  expect(seen.split).toEqual([SECRET]);
});
