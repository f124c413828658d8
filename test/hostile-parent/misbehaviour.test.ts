/** The language of misbehaviour does what it says, and the same again for the same seed. */
import { duplexPair } from "node:stream";
import { buffer } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { decodeCbor, encodeCbor, encodeFrame, FrameDecoder, z } from "../../protocol/index.ts";
import { Lane } from "../../simulator/hostile-parent/lane.ts";
import { Mischief, type Unit } from "../../simulator/hostile-parent/mischief.ts";
import type { Misdeed, Rule, Script } from "../../simulator/hostile-parent/script.ts";

const PORT = 5001;
const message = z.strictObject({ id: z.int(), text: z.string() });

interface Outcome {
  readonly bytes: Buffer;
  /** The units' writes as they were seen on the other side. */
  readonly chunks: number[];
  readonly mischief: Mischief;
  /** False if the stream was cut. */
  readonly isWhole: boolean;
}

const textOf = (id: number) => `message ${id}`;

function unit(id: number, text = textOf(id)): Unit {
  const fields = { id, text };
  return { of: "record", message: fields, bytes: encodeFrame(encodeCbor(fields)) };
}

async function carry(script: Script, units: readonly Unit[], isFramed = true): Promise<Outcome> {
  const [ours, theirs] = duplexPair({ highWaterMark: 1024 * 1024 });
  const mischief = new Mischief(() => script);
  const lane = new Lane(ours, { port: PORT, direction: "to-enclave", stream: 1 }, mischief, isFramed);
  const chunks: number[] = [];
  theirs.on("data", (chunk: Uint8Array) => chunks.push(chunk.length));
  const received = buffer(theirs);
  let isWhole = true;
  try {
    for (const one of units) await lane.pass(one);
    await lane.end();
  } catch {
    isWhole = false;
    if (!ours.writableEnded) ours.end();
  }
  return { bytes: await received, chunks, mischief, isWhole };
}

const once = (misdeed: Misdeed, more: Partial<Rule> = {}): Script => ({
  seed: 1,
  rules: [{ misdeed, times: 1, after: 1, ...more }],
});

function messagesOf(bytes: Uint8Array): { id: number; text: string }[] {
  return new FrameDecoder().push(bytes).map((payload) => decodeCbor(message, payload));
}
const idsOf = (bytes: Uint8Array) => messagesOf(bytes).map(({ id }) => id);

const four = [1, 2, 3, 4].map((id) => unit(id));
const untouched = Buffer.concat(four.map(({ bytes }) => bytes));

describe("done to the second of four messages", () => {
  test.each<[string, Misdeed, number[]]>([
    ["drop", { kind: "drop" }, [1, 3, 4]],
    ["delay keeps the order", { kind: "delay", ms: [1, 5] }, [1, 2, 3, 4]],
    ["duplicate", { kind: "duplicate", copies: 2 }, [1, 2, 2, 2, 3, 4]],
    ["reorder past one", { kind: "reorder", past: 1 }, [1, 3, 2, 4]],
    ["reorder past more than there are", { kind: "reorder", past: 9 }, [1, 3, 4, 2]],
    ["silence", { kind: "silence", ms: 60_000 }, [1]],
    ["replay in its place", { kind: "replay", place: "instead", id: "own" }, [1, 1, 3, 4]],
    ["replay before it", { kind: "replay", place: "before", id: "own" }, [1, 1, 2, 3, 4]],
    ["replace by a message", { kind: "replace", with: { message: { id: 9, text: "x" } } }, [1, 9, 3, 4]],
  ])("%s", async (_name, misdeed, ids) => {
    const { bytes, mischief } = await carry(once(misdeed), four);
    expect(idsOf(bytes)).toEqual(ids);
    expect(mischief.done).toMatchObject([{ port: PORT, direction: "to-enclave", stream: 1, unit: 2, of: "record" }]);
  });

  test("a replay under this one's id answers this one's caller with another's answer", async () => {
    const { bytes } = await carry(once({ kind: "replay", place: "instead", id: "adopted" }), four);
    expect(messagesOf(bytes)[1]).toEqual({ id: 2, text: "message 1" });
  });

  test("a replay may come from a recording", async () => {
    const recording = [{ port: PORT, direction: "to-enclave", payload: encodeCbor({ id: 7, text: "old" }) }] as const;
    const rules: Rule[] = [{ misdeed: { kind: "replay", place: "before", id: "own" }, times: 1 }];
    const { bytes } = await carry({ seed: 1, rules, recording }, four);
    expect(messagesOf(bytes)[0]).toEqual({ id: 7, text: "old" });
  });

  test("swapped ids give each of two answers to the other's caller", async () => {
    const { bytes } = await carry(once({ kind: "swap-ids" }), four);
    expect(messagesOf(bytes)).toEqual([
      { id: 1, text: "message 1" },
      { id: 3, text: "message 2" },
      { id: 2, text: "message 3" },
      { id: 4, text: "message 4" },
    ]);
  });

  test("an id that finds no other to be swapped with goes on as it was", async () => {
    const { bytes } = await carry(once({ kind: "swap-ids" }, { after: 3 }), four);
    expect(idsOf(bytes)).toEqual([1, 2, 3, 4]);
  });

  test("answer twice gives two of one id that differ", async () => {
    const fields = { id: 2, body: Uint8Array.of(1, 2, 3) };
    const answers = [{ of: "answer", message: fields, bytes: encodeFrame(encodeCbor(fields)) }];
    const { bytes } = await carry(once({ kind: "answer-twice" }, { after: 0 }), answers);
    const schema = z.strictObject({ id: z.int(), body: z.custom<Uint8Array>((value) => value instanceof Uint8Array) });
    const [first, second, ...more] = new FrameDecoder().push(bytes).map((payload) => decodeCbor(schema, payload));
    expect(more).toEqual([]);
    expect([first?.id, second?.id]).toEqual([2, 2]);
    expect(first?.body).not.toEqual(second?.body);
  });

  test.each(["end", "cut"] as const)("truncate ends the stream inside a frame: %s", async (by) => {
    const { bytes, isWhole } = await carry(once({ kind: "truncate", by }), four);
    expect(isWhole).toBe(false);
    const first = four[0]?.bytes.length ?? 0;
    expect(bytes.length).toBeGreaterThan(first);
    expect(bytes.length).toBeLessThan(first + (four[1]?.bytes.length ?? 0));
  });

  test("cut loses it and everything behind it", async () => {
    const { bytes, isWhole } = await carry(once({ kind: "cut" }), four);
    expect(isWhole).toBe(false);
    expect(idsOf(bytes)).toEqual([1]);
  });

  test("flip changes as many bits as it says, in the payload alone if it says so", async () => {
    const { bytes } = await carry(once({ kind: "flip", bits: 1, where: "payload" }), four);
    let flips = 0;
    for (const [at, byte] of bytes.entries()) {
      const changed = byte ^ (untouched[at] ?? 0);
      for (let bit = 0; bit < 8; bit += 1) flips += (changed >> bit) & 1;
    }
    expect(flips).toBe(1);
    expect(new FrameDecoder().push(bytes)).toHaveLength(4);
  });

  test.each([
    ["huge-length", "FRAME_TOO_LARGE"],
    ["zero-length", "FRAME_EMPTY"],
  ] as const)("replace by a frame of %s", async (what, code) => {
    const { bytes } = await carry(once({ kind: "replace", with: what }), four);
    expect(() => new FrameDecoder().push(bytes)).toThrow(expect.objectContaining({ code }));
  });

  test("replace by garbage keeps the length", async () => {
    const { bytes } = await carry(once({ kind: "replace", with: "garbage" }), four);
    expect(bytes).toHaveLength(untouched.length);
    expect(bytes).not.toEqual(untouched);
    expect(new FrameDecoder().push(bytes)).toHaveLength(4);
  });
});

describe("split changes no byte and", () => {
  const large = unit(1, "x".repeat(150_000));

  test("goes byte by byte", async () => {
    const { bytes, chunks } = await carry(once({ kind: "split", size: "one-byte" }, { after: 0 }), [unit(1)]);
    expect(bytes).toEqual(Buffer.from(unit(1).bytes));
    expect(new Set(chunks)).toEqual(new Set([1]));
  });

  test("goes in 31 to 33 KiB", async () => {
    const { bytes, chunks } = await carry(once({ kind: "split", size: "31-to-33-KiB" }, { after: 0 }), [large]);
    expect(bytes.equals(large.bytes)).toBe(true);
    expect(chunks.slice(0, -1).every((length) => length >= 31 * 1024 && length <= 33 * 1024)).toBe(true);
    expect(chunks.length).toBeGreaterThan(3);
  });

  test("goes in random pieces", async () => {
    const { bytes, chunks } = await carry(once({ kind: "split", size: "random" }, { after: 0 }), [large]);
    expect(bytes.equals(large.bytes)).toBe(true);
    expect(chunks.length).toBeGreaterThan(1);
  });
});

test("raw bytes are misused like frames, piece by piece", async () => {
  const raw = ["one", "two", "three"].map((text) => ({ of: "bytes", message: null, bytes: Buffer.from(text) }));
  expect(String((await carry(once({ kind: "drop" }), raw, false)).bytes)).toBe("onethree");
  const replay: Misdeed = { kind: "replay", place: "instead", id: "own" };
  expect(String((await carry(once(replay), raw, false)).bytes)).toBe("oneonethree");
  expect(String((await carry(once({ kind: "swap-ids" }), raw, false)).bytes)).toBe("onethreetwo");
});

describe("rules", () => {
  const many = Array.from({ length: 200 }, (_, at) => unit(at + 1));
  const rules: Rule[] = [
    { of: "nothing-like-this", misdeed: { kind: "cut" } },
    { port: 1, misdeed: { kind: "cut" } },
    { port: [1, 2], misdeed: { kind: "cut" } },
    { direction: "to-parent", misdeed: { kind: "cut" } },
    { probability: 0, misdeed: { kind: "cut" } },
    { times: 0, misdeed: { kind: "cut" } },
    { port: [PORT, 1], of: ["record", "x"], probability: 0.2, misdeed: { kind: "drop" } },
    { probability: 0.1, misdeed: { kind: "flip", bits: 1, where: "payload" } },
  ];

  test("fit by port, direction and name, and by chance; the same again for the same seed", async () => {
    const [first, again, other] = await Promise.all(
      ["seed", "seed", "another"].map((seed) => carry({ seed, rules }, many)),
    );
    const kinds = new Set(first?.mischief.done.map(({ misdeed }) => misdeed));
    expect(kinds).toEqual(new Set(["drop", "flip"]));
    expect(again?.bytes.equals(first?.bytes ?? Buffer.alloc(0))).toBe(true);
    expect(again?.mischief.done).toEqual(first?.mischief.done);
    expect(other?.mischief.done).not.toEqual(first?.mischief.done);
  });
});
