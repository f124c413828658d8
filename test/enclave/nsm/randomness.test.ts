import { randomBytes } from "node:crypto";
import { encode } from "cborg";
import { describe, expect, test } from "vitest";
import { Nsm } from "../../../enclave/nsm/nsm.ts";
import { Randomness } from "../../../enclave/nsm/randomness.ts";
import { TrustedClock } from "../../../enclave/trusted-clock.ts";

/** An NSM that gives these answers to GetRandom, one after the other. */
function nsmGiving(...answers: readonly Uint8Array[]): Nsm {
  const left = [...answers];
  const device = {
    async process(): Promise<Uint8Array> {
      const random = left.shift();
      if (random === undefined) throw new Error("asked too often");
      return encode({ GetRandom: { random } });
    },
  };
  return new Nsm(device, new TrustedClock(() => 0));
}

/** Seven different bytes, over and over. */
const SEVEN = Uint8Array.from({ length: 256 }, (_, at) => at % 7);
const EIGHT = Uint8Array.from({ length: 256 }, (_, at) => at % 8);

describe("NSM_RANDOMNESS_BAD", () => {
  test.each<[string, Uint8Array, Uint8Array]>([
    ["zeros", new Uint8Array(256), new Uint8Array(256)],
    ["a constant first", new Uint8Array(256).fill(0xaa), randomBytes(256)],
    ["a constant second", randomBytes(256), new Uint8Array(256).fill(0xaa)],
    ["seven values only", SEVEN, randomBytes(256)],
    ["no bytes", new Uint8Array(0), randomBytes(256)],
    ["31 bytes", randomBytes(31), randomBytes(256)],
    ["31 bytes the second time", randomBytes(256), randomBytes(31)],
    ["the same bytes twice", EIGHT, EIGHT],
  ])("for %s", async (_what, first, second) => {
    await expect(Randomness.seed(nsmGiving(first, second))).rejects.toMatchObject({ code: "NSM_RANDOMNESS_BAD" });
  });
});

test("an NSM that fails is NSM_FAILED, not a source that was left out", async () => {
  await expect(Randomness.seed(nsmGiving(randomBytes(256)))).rejects.toMatchObject({ code: "NSM_FAILED" });
});

test("32 bytes with eight values are the least that is taken", async () => {
  const least = EIGHT.slice(0, 32);
  await expect(Randomness.seed(nsmGiving(least, randomBytes(32)))).resolves.toBeInstanceOf(Randomness);
});

describe("bytes", () => {
  test.each([0, 1, 16, 32, 63, 64, 65, 128, 200])("%d of them, and never the same", async (length) => {
    const random = await Randomness.seed(nsmGiving(randomBytes(256), randomBytes(256)));
    const [one, two] = [random.bytes(length), random.bytes(length)];
    expect([one.length, two.length]).toEqual([length, length]);
    if (length >= 16) expect(one.equals(two)).toBe(false);
  });

  test("differ between two boots whose NSM gave the same, because the kernel's go in", async () => {
    const [first, second] = [randomBytes(256), randomBytes(256)];
    const one = await Randomness.seed(nsmGiving(first, second));
    const two = await Randomness.seed(nsmGiving(first, second));
    expect(one.bytes(32).equals(two.bytes(32))).toBe(false);
  });

  test("fill every block: no tail of zeros, no block twice", async () => {
    const random = await Randomness.seed(nsmGiving(randomBytes(256), randomBytes(256)));
    const bytes = random.bytes(64 * 4 + 32);
    const blocks = [0, 64, 128, 192, 256].map((at) => bytes.toString("hex", at, at + 32));
    expect(new Set(blocks).size).toBe(5);
    expect(blocks).not.toContain("00".repeat(32));
  });
});
