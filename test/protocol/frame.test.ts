import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeFrame, FrameDecoder, MAX_FRAME_BYTES } from "../../protocol/index.ts";

const hi = Uint8Array.of(0, 0, 0, 2, 0x68, 0x69);

type Split = (bytes: Uint8Array) => Uint8Array[];
const splits: Record<string, Split> = {
  "in one piece": (bytes) => [bytes],
  "byte by byte": (bytes) => [...bytes].map((byte) => Uint8Array.of(byte)),
  "byte by byte among empty pieces": (bytes) => [...bytes].flatMap((byte) => [new Uint8Array(0), Uint8Array.of(byte)]),
  "in a pooled buffer, off its start": (bytes) => {
    const pool = new Uint8Array(bytes.length + 7).fill(0xee);
    pool.set(bytes, 5);
    return [pool.subarray(5, 5 + bytes.length)];
  },
};

function decodeAll(pieces: Uint8Array[]): number[][] {
  const decoder = new FrameDecoder();
  const payloads = pieces.flatMap((piece) => decoder.push(piece)).map((payload) => [...payload]);
  decoder.end();
  return payloads;
}

test("a frame is a big-endian length and that many bytes", () => {
  expect(encodeFrame(Uint8Array.of(0x68, 0x69))).toEqual(hi);
  const large = encodeFrame(new Uint8Array(0x01_02_03));
  expect([...large.subarray(0, 4)]).toEqual([0, 1, 2, 3]);
});

test("encodes up to the limit, and neither more nor nothing", () => {
  expect(encodeFrame(new Uint8Array(MAX_FRAME_BYTES))).toHaveLength(MAX_FRAME_BYTES + 4);
  expect(() => encodeFrame(new Uint8Array(MAX_FRAME_BYTES + 1))).toThrow(
    expect.objectContaining({ code: "FRAME_TOO_LARGE" }),
  );
  expect(() => encodeFrame(new Uint8Array(0))).toThrow(expect.objectContaining({ code: "FRAME_EMPTY" }));
});

describe.each(Object.entries(splits))("a stream %s", (_name, split) => {
  test("gives its frames in order", () => {
    const stream = Buffer.concat([hi, encodeFrame(new Uint8Array(300).fill(7)), hi]);
    expect(decodeAll(split(stream))).toEqual([[0x68, 0x69], Array(300).fill(7), [0x68, 0x69]]);
  });

  test("of no bytes has no frames", () => expect(decodeAll(split(new Uint8Array(0)))).toEqual([]));

  test.each([1, 3, 4, 5])("cut after %i bytes of a frame is truncated", (bytes) => {
    const stream = Buffer.concat([hi, hi.subarray(0, bytes)]);
    expect(() => decodeAll(split(stream))).toThrow(expect.objectContaining({ code: "FRAME_TRUNCATED" }));
  });

  test.each([
    ["empty", Uint8Array.of(0, 0, 0, 0), "FRAME_EMPTY"],
    ["one byte over the limit", Uint8Array.of(0, 0x10, 0, 1), "FRAME_TOO_LARGE"],
    ["4 GiB", Uint8Array.of(0xff, 0xff, 0xff, 0xff), "FRAME_TOO_LARGE"],
  ])("with a frame of %s is out of step from then on", (_frame, head, code) => {
    const decoder = new FrameDecoder();
    const refusal = expect.objectContaining({ name: "ProtocolError", code });
    expect(() => {
      for (const piece of split(Buffer.concat([hi, head]))) decoder.push(piece);
    }).toThrow(refusal);
    expect(() => decoder.push(hi)).toThrow(refusal);
    expect(() => decoder.end()).toThrow(refusal);
  });

  test("may go over to raw bytes, which are not read as frames", () => {
    const raw = Uint8Array.of(0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff);
    const decoder = new FrameDecoder();
    const payloads: number[][] = [];
    const rest: number[] = [];
    for (const piece of split(Buffer.concat([hi, raw]))) {
      if (payloads.length === 1) rest.push(...piece);
      else payloads.push(...decoder.push(piece, 1).map((payload) => [...payload]));
      rest.push(...(payloads.length === 1 ? decoder.takeRest() : []));
    }
    expect(payloads).toEqual([[0x68, 0x69]]);
    expect(rest).toEqual([...raw]);
  });
});

test("a frame at the limit passes", () => {
  const payload = new Uint8Array(MAX_FRAME_BYTES).fill(1);
  const decoder = new FrameDecoder();
  expect(decoder.push(encodeFrame(payload))[0]).toHaveLength(MAX_FRAME_BYTES);
});

test("frames over a cut limit stay held, and come with the next push", () => {
  const decoder = new FrameDecoder();
  expect(decoder.push(Buffer.concat([hi, hi, hi]), 2)).toHaveLength(2);
  expect(decoder.push(new Uint8Array(0), 0)).toHaveLength(0);
  expect(decoder.push(new Uint8Array(0))).toHaveLength(1);
  decoder.end();
});

test("any frames, split anywhere, come out as they went in", () => {
  const frames = fc.array(fc.uint8Array({ minLength: 1, maxLength: 400 }), { maxLength: 12 });
  fc.assert(
    fc.property(frames, fc.array(fc.nat(200), { maxLength: 60 }), (payloads, sizes) => {
      const stream = Buffer.concat(payloads.map((payload) => encodeFrame(payload)));
      const pieces: Uint8Array[] = [];
      let at = 0;
      for (const size of sizes) {
        pieces.push(stream.subarray(at, at + size));
        at = Math.min(stream.length, at + size);
      }
      pieces.push(stream.subarray(at));
      expect(decodeAll(pieces)).toEqual(payloads.map((payload) => [...payload]));
    }),
  );
});
