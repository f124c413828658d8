import { PassThrough } from "node:stream";
import { buffer } from "node:stream/consumers";
import { expect, test } from "vitest";
import { encodeFrame } from "../../protocol/index.ts";
import { readFirstFrame } from "../../vsock/index.ts";

const TIMEOUT = { timeoutMs: 5_000 };
const PAYLOAD = Uint8Array.of(1, 2, 3);

test.each([
  ["what looks like a frame", encodeFrame(Uint8Array.of(9))],
  ["a TLS record", Uint8Array.of(0x16, 0x03, 0x01, 0x02, 0x00, 0x01)],
  ["four zeros", new Uint8Array(4)],
  ["one byte", Uint8Array.of(7)],
  ["nothing", new Uint8Array(0)],
])("leaves %s behind the frame in the stream", async (_name, rest) => {
  const all = Buffer.concat([encodeFrame(PAYLOAD), rest]);
  const splits = [[all], [...all].map((byte) => Buffer.of(byte)), [all.subarray(0, 6), all.subarray(6)]];
  for (const pieces of splits) {
    const stream = new PassThrough();
    for (const piece of pieces) stream.write(piece);
    stream.end();
    expect(Buffer.from(await readFirstFrame(stream, TIMEOUT))).toEqual(Buffer.from(PAYLOAD));
    expect(await buffer(stream)).toEqual(Buffer.from(rest));
  }
});

test.each([
  ["an empty frame", new Uint8Array(4), "FRAME_EMPTY"],
  ["a frame over the limit", Uint8Array.of(0xff, 0xff, 0xff, 0xff), "FRAME_TOO_LARGE"],
  ["half a frame", Uint8Array.of(0, 0, 0, 5, 1), "FRAME_TRUNCATED"],
  ["nothing", new Uint8Array(0), "CONNECTION_LOST"],
])("%s is an error, and leaves no listener", async (_name, bytes, code) => {
  const stream = new PassThrough();
  const [before] = [stream.eventNames().length];
  stream.end(bytes);
  await expect(readFirstFrame(stream, TIMEOUT)).rejects.toMatchObject({ code });
  expect(stream.eventNames().length).toBeLessThanOrEqual(before);
});

test("silence is a timeout, and a destroyed stream is lost", async () => {
  await expect(readFirstFrame(new PassThrough(), { timeoutMs: 10 })).rejects.toMatchObject({ code: "CALL_TIMEOUT" });
  const stream = new PassThrough();
  const reading = readFirstFrame(stream, TIMEOUT);
  stream.destroy();
  await expect(reading).rejects.toMatchObject({ code: "CONNECTION_LOST" });
});
